/**
 * Counts what a limit refused and tells it: the first at once, those that follow once a window, so that a flood of refusals is no flood of
 * events.
 */

export const WINDOW_MS = 250

export interface Window {
  readonly refused: number
  /** Unix time of the first of them, and of the end. */
  readonly fromMs: number
  readonly toMs: number
}

export class LimitWindow {
  readonly #tell: (window: Window) => void
  #refused = 0
  #fromMs = 0
  #timer: NodeJS.Timeout | null = null

  constructor(tell: (window: Window) => void) {
    this.#tell = tell
  }

  add(): void {
    if (this.#refused++ === 0) this.#fromMs = Date.now()
    if (this.#timer !== null) return
    this.#flush()
    this.#wait()
  }

  /** What was not told yet is told now. */
  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#flush()
  }

  #wait(): void {
    this.#timer = setTimeout(() => {
      this.#timer = null
      if (this.#refused === 0) return
      this.#flush()
      this.#wait()
    }, WINDOW_MS)
  }

  #flush(): void {
    const refused = this.#refused
    this.#refused = 0
    if (refused > 0) this.#tell({ refused, fromMs: this.#fromMs, toMs: Date.now() })
  }
}

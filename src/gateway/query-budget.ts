/** How many queries a sandbox may make: a rate and a burst, kept as the one instant when the burst is whole again (GCRA). */

export interface QueryRate {
  readonly perSecond: number
  readonly burst: number
}

export class QueryBudget {
  readonly rate: QueryRate
  readonly #intervalMs: number
  readonly #toleranceMs: number
  readonly #nowMs: () => number
  #wholeAtMs = 0

  constructor(rate: QueryRate, nowMs: () => number) {
    this.rate = rate
    this.#intervalMs = 1000 / rate.perSecond
    this.#toleranceMs = this.#intervalMs * rate.burst
    this.#nowMs = nowMs
  }

  /** False: it has none left now. */
  spend(): boolean {
    const now = this.#nowMs()
    const wholeAt = Math.max(this.#wholeAtMs, now) + this.#intervalMs
    if (wholeAt - now > this.#toleranceMs) return false
    this.#wholeAtMs = wholeAt
    return true
  }
}

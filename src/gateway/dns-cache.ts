/**
 * Answers that one sandbox was given, until they expire. It guards its size: so many names a sandbox, so many bytes for all sandboxes
 * together; beyond that the one that was not used for longest goes. A sandbox that fills it takes room from itself alone.
 */

export const NAMES_MAX = 10_000
/** Of one sandbox, and of all. */
export const SANDBOX_BYTES_MAX = 8 * 1024 * 1024
export const ALL_BYTES_MAX = 32 * 1024 * 1024

export interface CacheBudget {
  bytes: number
}

interface Entry<T> {
  readonly value: T
  readonly bytes: number
  readonly expiresMs: number
}

export class DnsCache<T> {
  readonly #budget: CacheBudget
  readonly #nowMs: () => number
  /** Oldest use first. */
  readonly #entries = new Map<string, Entry<T>>()
  #bytes = 0

  constructor(options: { budget: CacheBudget; nowMs(): number }) {
    this.#budget = options.budget
    this.#nowMs = options.nowMs
  }

  get size(): number {
    return this.#entries.size
  }

  /** With the whole seconds that it is still good for, at least 1. */
  get(key: string): { value: T; ttl: number } | null {
    const entry = this.#entries.get(key)
    if (entry === undefined) return null
    const ttl = Math.floor((entry.expiresMs - this.#nowMs()) / 1000)
    this.#entries.delete(key)
    if (ttl < 1) {
      this.#shrink(entry)
      return null
    }
    this.#entries.set(key, entry)
    return { value: entry.value, ttl }
  }

  set(key: string, { value, bytes, ttl }: { value: T; bytes: number; ttl: number }): void {
    this.#remove(key)
    const entry = { value, bytes, expiresMs: this.#nowMs() + ttl * 1000 }
    const hasRoom = () =>
      this.#entries.size < NAMES_MAX &&
      this.#bytes + bytes <= SANDBOX_BYTES_MAX &&
      this.#budget.bytes + bytes <= ALL_BYTES_MAX
    while (!hasRoom()) {
      const [oldest] = this.#entries.keys()
      if (oldest === undefined) return
      this.#remove(oldest)
    }
    this.#entries.set(key, entry)
    this.#bytes += bytes
    this.#budget.bytes += bytes
  }

  clear(): void {
    for (const key of [...this.#entries.keys()]) this.#remove(key)
  }

  #remove(key: string): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#entries.delete(key)
    this.#shrink(entry)
  }

  #shrink({ bytes }: Entry<T>): void {
    this.#bytes -= bytes
    this.#budget.bytes -= bytes
  }
}

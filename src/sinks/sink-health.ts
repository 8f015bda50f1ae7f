/**
 * How one sink does: what it counts, and how long it waits after a failure. Guards that a receiver which fails is asked ever more slowly, never by all
 * nodes at once, and that the log says it once.
 */
import type { Log } from '../base/log.js'

const RETRY_MIN_MS = 500
const RETRY_MAX_MS = 60_000
/** A receiver may ask for no more. */
const AFTER_MAX_MS = 3_600_000
const REASON_CHARS_MAX = 500

export interface SinkCounts {
  /** Events that arrived. */
  delivered: number
  batches: number
  /** Attempts that failed. */
  failures: number
  dead: number
  /** That were not for it. */
  filtered: number
  lastError: string | null
  lastDelivery: string | null
  isFailing: boolean
}

export interface SinkHealthOptions {
  readonly name: string
  readonly log: Log
  /** Of the first wait after a failure. */
  readonly retryMinMs?: number | undefined
  random?(): number
}

export class SinkHealth {
  readonly counts: SinkCounts = {
    ...{ delivered: 0, batches: 0, failures: 0, dead: 0, filtered: 0 },
    ...{ lastError: null, lastDelivery: null, isFailing: false },
  }
  private readonly options: SinkHealthOptions
  private attempts = 0

  constructor(options: SinkHealthOptions) {
    this.options = options
  }

  well(): void {
    this.counts.batches++
    this.counts.lastDelivery = new Date().toISOString()
    this.attempts = 0
    if (this.counts.isFailing) this.options.log.info({ sink: this.options.name }, 'the sink delivers again')
    this.counts.isFailing = false
  }

  /** @returns how long to wait; `afterMs`: the receiver said so */
  failed(reason: string, afterMs = 0): number {
    const told = reason.slice(0, REASON_CHARS_MAX)
    this.attempts++
    this.counts.failures++
    this.counts.lastError = told
    const { name, log } = this.options
    if (!this.counts.isFailing) log.warn({ sink: name, reason: told }, 'the sink does not deliver')
    this.counts.isFailing = true
    return Math.max(this.backoffMs(), Math.min(afterMs, AFTER_MAX_MS))
  }

  /** Twice as long each time, and never the same for two nodes. */
  private backoffMs(): number {
    const { retryMinMs = RETRY_MIN_MS, random = Math.random } = this.options
    return Math.min(RETRY_MAX_MS, retryMinMs * 2 ** Math.min(this.attempts - 1, 16)) * (0.5 + random() / 2)
  }
}

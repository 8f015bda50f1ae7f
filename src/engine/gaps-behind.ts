/**
 * What is missing from before everything that a new sensor reads, until it is known when that begins: the gap ends there. Guards that it
 * comes before the events that follow it. Not here: what is missing (missing.ts).
 */
import type { Missing } from './missing.js'

export class GapsBehind {
  private waiting: Missing[] = []
  private earliestNs = Number.POSITIVE_INFINITY

  add(missing: Missing): void {
    this.waiting.push(missing)
  }

  /** An event of a later batch; CLOCK_BOOTTIME. */
  saw(timeNs: number): void {
    if (this.waiting.length > 0 && timeNs < this.earliestNs) this.earliestNs = timeNs
  }

  /** All of them, at the end of a pass, and when what follows them began. */
  take(watermarkNs: bigint): { missing: Missing[]; untilNs: bigint } {
    const missing = this.waiting
    // Of the same time they would come behind it.
    const untilNs = this.earliestNs < Number(watermarkNs) ? BigInt(this.earliestNs) - 1n : watermarkNs
    this.waiting = []
    this.earliestNs = Number.POSITIVE_INFINITY
    return { missing, untilNs }
  }
}

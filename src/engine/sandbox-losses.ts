/**
 * Turns what a sensor counted as dropped of each sandbox, cumulative, into what was dropped since the last report, so that each loss is
 * told once, and to the sandbox's own session. Guards that counters that go backwards make nothing up, and how many are remembered.
 * Not here: losses of the whole node (loss-ledger.ts).
 */
import type { SandboxCounters } from './frame-walk.js'
import { KINDS_MAX } from './loss-ledger.js'

/** As many as the kernel side counts by themselves; SL_SHARES_MAX of bpf/map_abi.h. */
export const SANDBOXES_COUNTED_MAX = 4_096

export interface SandboxLossReport {
  /** As in a LossReport: whose counters they are; then all that are not zero are there. */
  readonly counters: string
  readonly losses: readonly SandboxCounters[]
}

export interface SandboxLossState {
  readonly counters: string
  /** What was dropped as of the last report, by kind, by sandbox. */
  readonly seen: ReadonlyMap<number, ReadonlyMap<number, bigint>>
}

export class SandboxLosses {
  private counters: string
  private readonly seen: Map<number, Map<number, bigint>>
  /** Reports that were not believed. */
  refused = 0

  constructor({ counters, seen }: SandboxLossState = { counters: '', seen: new Map() }) {
    this.counters = counters
    this.seen = new Map([...seen].map(([sandbox, kinds]) => [sandbox, new Map(kinds)]))
  }

  get state(): SandboxLossState {
    return { counters: this.counters, seen: this.seen }
  }

  /** What of each sandbox was dropped since the last report. What counters that were never seen here counted before is not ours to tell. */
  report({ counters, losses }: SandboxLossReport): SandboxCounters[] {
    if (counters === '' || counters === this.counters) return this.since(losses)
    this.counters = counters
    this.seen.clear()
    this.since(losses)
    return []
  }

  private since(counters: readonly SandboxCounters[]): SandboxCounters[] {
    const losses: SandboxCounters[] = []
    for (const { sandbox, kind, dropped } of counters) {
      const kinds = this.seen.get(sandbox) ?? new Map<number, bigint>()
      const last = kinds.get(kind) ?? 0n
      const isNew = !this.seen.has(sandbox)
      if (dropped < last || kind >= KINDS_MAX || (isNew && this.seen.size >= SANDBOXES_COUNTED_MAX)) {
        this.refused++
        continue
      }
      kinds.set(kind, dropped)
      this.seen.set(sandbox, kinds)
      if (dropped > last) losses.push({ sandbox, kind, dropped: dropped - last })
    }
    return losses
  }

  /** Its session is over: whoever has this id later counts from nothing. */
  forget(sandbox: number): void {
    this.seen.delete(sandbox)
  }
}

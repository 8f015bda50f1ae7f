/**
 * Turns a sensor's cumulative counters into what was lost since the last report, so that each loss is told once: in the kernel, and on the
 * way here, where more was taken from the rings than has arrived. Guards against counters that go backwards (nothing is made up), and
 * that what is not known exactly comes with its bounds. Not here: to whom it is told.
 */
import type { EventSlice, KindCounters } from './frame-walk.js'

/** Kinds whose counters are kept; SL_KINDS_MAX of bpf/map_abi.h. */
export const KINDS_MAX = 32

export interface Loss {
  readonly kind: number
  /** The ring was full. */
  readonly dropped: bigint
  /** The kernel skipped our program. */
  readonly missed: bigint
  /** Taken from a ring by a sensor that did not get to send it: at least so much. */
  readonly undelivered: bigint
  readonly undeliveredMost: bigint
}

export interface LossReport {
  /** Whose counters they are; then all that are not zero are there. Empty: only those that changed, of the same as before. */
  readonly counters: string
  readonly losses: readonly KindCounters[]
}

/** What was reported so far. */
export interface LedgerState {
  readonly counters: string
  readonly seen: ReadonlyMap<number, { readonly dropped: bigint; readonly missed: bigint }>
  /** By kind: what arrived, or was told to be missing on the way; null: that is not known. */
  readonly arrived: ReadonlyMap<number, bigint> | null
  /** By kind: by how much more than the least that was told it may be. */
  readonly doubts: ReadonlyMap<number, bigint>
  /** Why batches are missing; the next whole report says what was in them. */
  readonly hole: string | null
}

const BEGINNING: LedgerState = { counters: '', seen: new Map(), arrived: null, doubts: new Map(), hole: null }

export class LossLedger {
  private readonly seen: Map<number, { dropped: bigint; missed: bigint }>
  private readonly doubts: Map<number, bigint>
  private counters: string
  private arrived: Map<number, bigint> | null
  private openHole: string | null
  /** Reports that were not believed: a counter went backwards, or too many kinds. */
  refused = 0

  constructor(state: LedgerState = BEGINNING) {
    this.counters = state.counters
    this.seen = new Map(state.seen)
    this.arrived = state.arrived && new Map(state.arrived)
    this.doubts = new Map(state.doubts)
    this.openHole = state.hole
  }

  get hole(): string | null {
    return this.openHole
  }

  /** @param held arrived and not given out yet: another engine would have to get it again */
  state(held: readonly Pick<EventSlice, 'kind' | 'happened'>[]): LedgerState {
    const arrived = this.arrived && new Map(this.arrived)
    for (const { kind, happened } of held) arrived?.set(kind, (arrived.get(kind) ?? 0n) - BigInt(happened))
    const { counters, seen, doubts, openHole } = this
    return { counters, arrived, seen: new Map(seen), doubts: new Map(doubts), hole: openHole }
  }

  /** Something arrived, or was told by kind and number. */
  add(kind: number, count: bigint): void {
    if (kind < KINDS_MAX) this.arrived?.set(kind, (this.arrived.get(kind) ?? 0n) + count)
  }

  /** Batches are missing. False: nothing will say what was in them. */
  foundHole(cause: string): boolean {
    if (this.arrived === null) return false
    this.openHole ??= cause
    return true
  }

  /** Something is missing and was told, but not by kind: what arrived is not known until the next whole report. */
  loseCount(): void {
    this.arrived = null
  }

  /** Only kinds that lost something since their last report; and the hole, if nobody can say any more what was in it. */
  report(report: LossReport): { losses: Loss[]; unknown: string | null; cause: string | null } {
    const isWhole = report.counters !== ''
    const cause = isWhole ? this.openHole : null
    if (isWhole) this.openHole = null
    if (isWhole && this.counters !== report.counters) {
      this.begin(report)
      return { losses: [], unknown: cause, cause: null }
    }
    const unknown = this.arrived === null ? cause : null
    if (isWhole) this.arrived ??= takenOf(report.losses)
    const losses = report.losses.flatMap((counted) => this.since(counted, isWhole) ?? [])
    return { losses, unknown, cause }
  }

  /** Counters that were never seen here: what they counted before is not ours to tell. */
  private begin({ counters, losses }: LossReport): void {
    this.counters = counters
    this.seen.clear()
    this.doubts.clear()
    for (const { kind, dropped, missed } of losses.slice(0, KINDS_MAX)) this.seen.set(kind, { dropped, missed })
    this.arrived = takenOf(losses)
  }

  private since(counted: KindCounters, isWhole: boolean): Loss | null {
    const { kind, dropped, missed } = counted
    const last = this.seen.get(kind) ?? { dropped: 0n, missed: 0n }
    if (dropped < last.dropped || missed < last.missed || (this.seen.size >= KINDS_MAX && !this.seen.has(kind))) {
      this.refused++
      return null
    }
    this.seen.set(kind, { dropped, missed })
    const loss = { kind, dropped: dropped - last.dropped, missed: missed - last.missed }
    const whole = { ...loss, ...this.undelivered(counted, isWhole) }
    return whole.dropped > 0n || whole.missed > 0n || whole.undeliveredMost > 0n ? whole : null
  }

  /** A whole report may be of another sensor, which knows more or less exactly what the one before it took. */
  private undelivered({ kind, taken, takenMoreAtMost }: KindCounters, isWhole: boolean) {
    const { arrived, doubts } = this
    if (arrived === null) return { undelivered: 0n, undeliveredMost: 0n }
    const more = taken - (arrived.get(kind) ?? 0n)
    const doubt = isWhole ? (doubts.get(kind) ?? 0n) : 0n
    const most = atLeastZero(more + (isWhole ? takenMoreAtMost : 0n))
    const least = atLeastZero(more - doubt)
    if (most > 0n) {
      if (more > 0n) arrived.set(kind, taken)
      if (isWhole) doubts.set(kind, takenMoreAtMost)
    }
    return { undelivered: least, undeliveredMost: most }
  }
}

function takenOf(losses: readonly KindCounters[]): Map<number, bigint> {
  return new Map(losses.slice(0, KINDS_MAX).map(({ kind, taken }) => [kind, taken]))
}

function atLeastZero(value: bigint): bigint {
  return value > 0n ? value : 0n
}

/**
 * What the kernel side could not hand over, and how much was taken from it, by exact counters: cumulative for as long as the rings live;
 * where sandboxes share the rings, of each what it lost. Only what changed since the last report is reported, so that a quiet system
 * sends nothing.
 */
import { fromBigInt, type IKindLoss } from '../proto/codec.js'
import { plannedOf } from './attach-plan.js'
import type { KernelSide } from './kernel-side.js'
import { type Counters, readCounters } from './kind-counters.js'
import { sandboxKey } from './map-values.js'
import { OTHERS, readShare, removeShare, sandboxesWithShare } from './ring-shares.js'

/** A program that was skipped, or a record that was not understood, can't say what kind it would have been. */
const KIND_UNKNOWN = 0

export interface LossReport {
  readonly losses: IKindLoss[]
  /** Whose counters they are, where all that are not zero are there. Else empty. */
  readonly counters: string
}

export interface LossReader {
  changed(): LossReport
  /** The next report has all kinds: an earlier one may not have arrived. */
  repeat(): void
  /** The sandbox is over and its last losses were reported: what it does after that is counted with the others. */
  forget(sandbox: bigint): void
}

interface Totals {
  readonly attempted: bigint
  readonly dropped: bigint
  readonly missed: bigint
  readonly taken: bigint
}

export function createLossReader(kernel: KernelSide): LossReader {
  const reported = new Map<number, Totals>()
  const sandboxes = new SandboxLosses(kernel)
  // Of the first report; those that follow count from it.
  let { doubts } = kernel.takenBefore
  let isWhole = true
  const changed = (): LossReport => {
    const losses: IKindLoss[] = []
    const node = readCounters(kernel.object)
    for (const [kind, now] of readTotals(kernel, node)) {
      const before = reported.get(kind)
      if (before === undefined ? isZero(now) : isSame(before, now)) continue
      reported.set(kind, now)
      losses.push({
        kind,
        attempted: fromBigInt(now.attempted),
        dropped: fromBigInt(now.dropped),
        missed: fromBigInt(now.missed),
        taken: fromBigInt(now.taken),
        takenMoreAtMost: fromBigInt(doubts.get(kind) ?? 0n),
      })
    }
    const counters = isWhole ? kernel.countersId : ''
    isWhole = false
    doubts = new Map()
    return { losses: [...losses, ...sandboxes.changed(node)], counters }
  }
  const repeat = () => {
    isWhole = true
    reported.clear()
    sandboxes.repeat()
  }
  return { changed, repeat, forget: (sandbox) => sandboxes.forget(sandbox) }
}

function readTotals(kernel: KernelSide, { kinds, identityFailures }: Counters): Map<number, Totals> {
  const { object, takenBefore, missedBefore, shared } = kernel
  const totals = new Map<number, Totals>()
  const others = shared ? readShare(object, OTHERS) : null
  const taken = [kernel.priority.taken(), kernel.bulk.taken()]
  for (const [kind, counts] of kinds) {
    const dropped = others === null ? counts.dropped : (others.get(kind)?.dropped ?? 0n)
    const now = taken.reduce((sum, ring) => sum + (ring[kind] ?? 0), 0)
    const before = takenBefore.counts.get(kind) ?? 0n
    totals.set(kind, { attempted: counts.attempted, dropped, missed: 0n, taken: before + BigInt(now) })
  }
  // Those of a kind that is known are missing by it: they were taken and are not sent.
  const unknown = taken.reduce((sum, ring) => sum + (ring[KIND_UNKNOWN] ?? 0), 0)
  let skipped = unknown + kernel.uring.skipped()
  for (const planned of plannedOf(object)) skipped += object.programInfo(planned.program).recursionMisses
  const missed = missedBefore + identityFailures + BigInt(skipped)
  totals.set(KIND_UNKNOWN, { attempted: 0n, dropped: 0n, missed, taken: 0n })
  return totals
}

/** Of each sandbox what was dropped. Looked at one by one only when the node's counters say that something was. */
class SandboxLosses {
  readonly #kernel: KernelSide
  /** By sandbox, by kind: what was dropped as of the last report. */
  readonly #reported = new Map<bigint, Map<number, bigint>>()
  #droppedOfAll = 0n
  /** Sandboxes that ended when no sensor was there: reported once. */
  readonly #over: bigint[]

  constructor(kernel: KernelSide) {
    this.#kernel = kernel
    const { object } = kernel
    this.#over = sandboxesWithShare(object).filter((id) => object.lookup('sl_sandboxes', sandboxKey(id)) === null)
  }

  repeat(): void {
    this.#reported.clear()
    this.#droppedOfAll = 0n
  }

  forget(sandbox: bigint): void {
    removeShare(this.#kernel.object, sandbox)
    this.#reported.delete(sandbox)
  }

  /** The kernel side counts a drop with its sandbox first: all that the node's counters have is found. */
  changed({ kinds }: Counters): IKindLoss[] {
    const droppedOfAll = [...kinds.values()].reduce((sum, { dropped }) => sum + dropped, 0n)
    if (!this.#kernel.shared || droppedOfAll === this.#droppedOfAll) return []
    this.#droppedOfAll = droppedOfAll
    const losses = sandboxesWithShare(this.#kernel.object).flatMap((sandbox) => this.#changedOf(sandbox))
    for (const sandbox of this.#over.splice(0)) this.forget(sandbox)
    return losses
  }

  #changedOf(sandbox: bigint): IKindLoss[] {
    const reported = this.#reported.get(sandbox) ?? new Map<number, bigint>()
    const losses: IKindLoss[] = []
    for (const [kind, { attempted, dropped }] of readShare(this.#kernel.object, sandbox)) {
      if (dropped === (reported.get(kind) ?? 0n)) continue
      reported.set(kind, dropped)
      losses.push({
        ...{ kind, sandbox: fromBigInt(sandbox) },
        ...{ attempted: fromBigInt(attempted), dropped: fromBigInt(dropped) },
      })
    }
    if (losses.length > 0) this.#reported.set(sandbox, reported)
    return losses
  }
}

function isZero({ attempted, dropped, missed, taken }: Totals): boolean {
  return attempted === 0n && dropped === 0n && missed === 0n && taken === 0n
}

function isSame(a: Totals, b: Totals): boolean {
  return a.attempted === b.attempted && a.dropped === b.dropped && a.missed === b.missed && a.taken === b.taken
}

/**
 * The process that a fact names, as events tell it. What a thread does next it mostly does as the same process: the same object is given
 * again then, which also spares encoding it again. Guards that an object that was given never changes. Bounded by SLOTS.
 */
import { fromBigInt, type IKernelEvent, type IProcess, type Long, toBigInt } from '../proto/codec.js'
import type { ProcessRef, ProcessTree } from './process-tree.js'

/** Threads that are remembered, by their ids. */
const SLOTS = 256
const NO_BYTES = new Uint8Array(0)
const NO_ARGS: readonly Uint8Array[] = Object.freeze([])

interface Slot {
  readonly process: IProcess
  readonly start: Long | null | undefined
  readonly execCount: number | null | undefined
  /** Of the tree: it has learnt something since, or not. */
  readonly version: number
  readonly bootToUnixNs: bigint
}

export class ProcessViews {
  private readonly tree: ProcessTree
  private readonly slots = new Array<Slot | null>(SLOTS).fill(null)

  constructor(tree: ProcessTree) {
    this.tree = tree
  }

  of(fact: IKernelEvent, bootToUnixNs: bigint): IProcess {
    const at = (fact.tid ?? 0) % SLOTS
    const slot = this.slots[at] ?? null
    if (slot !== null && slot.bootToUnixNs === bootToUnixNs && slot.version === this.tree.version && isOf(slot, fact)) {
      return slot.process
    }
    const process = this.look(fact, bootToUnixNs)
    // After the look: what it changes in the tree is known to it.
    const { version } = this.tree
    this.slots[at] = { process, start: fact.startTimeNs, execCount: fact.execCount, version, bootToUnixNs }
    return process
  }

  private look(fact: IKernelEvent, bootToUnixNs: bigint): IProcess {
    const ref = refOf(fact)
    const { execId, parentExecId, spawnerExecId, image } = this.tree.look(ref)
    return Object.freeze({
      execId,
      pid: ref.pid,
      tid: fact.tid ?? 0,
      ppid: fact.ppid ?? 0,
      parentExecId,
      exe: image?.exe ?? NO_BYTES,
      // The codec's types know no readonly arrays; nothing writes to an event's args.
      args: (image?.args ?? NO_ARGS) as Uint8Array[],
      argsBytes: fromBigInt(BigInt(image?.argsBytes ?? 0)),
      argsTruncated: image?.argsTruncated ?? false,
      cwd: image?.cwd ?? NO_BYTES,
      uid: fact.uid ?? 0,
      gid: fact.gid ?? 0,
      startTimeUnixNs: fromBigInt(ref.startTimeNs + bootToUnixNs),
      spawnerExecId,
    })
  }
}

export function refOf(fact: IKernelEvent): ProcessRef {
  return {
    pid: fact.pid ?? 0,
    startTimeNs: toBigInt(fact.startTimeNs),
    execCount: fact.execCount ?? 0,
    sandbox: toBigInt(fact.sandbox),
  }
}

function isOf({ process, start, execCount }: Slot, fact: IKernelEvent): boolean {
  return (
    process.tid === fact.tid &&
    process.pid === fact.pid &&
    process.ppid === (fact.ppid ?? 0) &&
    process.uid === (fact.uid ?? 0) &&
    process.gid === (fact.gid ?? 0) &&
    execCount === fact.execCount &&
    isSame(start, fact.startTimeNs)
  )
}

function isSame(a: Long | null | undefined, b: Long | null | undefined): boolean {
  return a?.low === b?.low && a?.high === b?.high
}

/**
 * The share of each ring that every sandbox has (bpf/share.bpf.h), as user space sees it: how large the rings are, an entry for each
 * sandbox, and what each put into the rings and lost. Guards that there is an entry for all that have none of their own, so that no loss
 * goes uncounted. Not here: to whom a loss is told (losses.ts).
 */
import type { BpfObject, NativeError } from '../native/addon.js'
import { ABI } from '../native/generated/abi.js'
import { sandboxKey } from './map-values.js'

const SHARES = 'sl_shares'
const E2BIG = 7
const ENOMEM = 12
const RINGS = [
  ['sl_ring_priority', ABI.enums.SL_RING_PRIORITY],
  ['sl_ring_bulk', ABI.enums.SL_RING_BULK],
] as const
/** What sandboxes without an entry did is counted by this id, which no cgroup has. */
export const OTHERS = BigInt(ABI.limits.SL_SHARE_OTHERS)

export interface ShareCounts {
  readonly attempted: bigint
  readonly submitted: bigint
  readonly dropped: bigint
}

/** From here on no sandbox has more of a ring than its share. Called before anything is attached, for rings that several will use. */
export function shareRings(object: BpfObject): void {
  addShare(object, OTHERS)
  const { size, fields } = ABI.structs.sl_ring_size
  for (const [ring, index] of RINGS) {
    const bytes = object.mapSize(ring)
    const key = Buffer.alloc(4)
    const value = Buffer.alloc(size)
    key.writeUInt32LE(index)
    value.writeBigUInt64LE(BigInt(bytes), fields.bytes)
    value.writeUInt32LE(Math.log2(bytes / ABI.limits.SL_SPANS_OF_RING), fields.span_shift)
    object.update('sl_ring_sizes', key, value)
  }
}

/** Gives the sandbox a share of its own, if it has none. Where there is no room for one more it is one of the others. */
export function addShare(object: BpfObject, sandbox: bigint): void {
  const key = sandboxKey(sandbox)
  if (object.lookup(SHARES, key) !== null) return
  try {
    object.update(SHARES, key, Buffer.alloc(ABI.structs.sl_share.size))
  } catch (error) {
    const { errno } = error as NativeError
    if (sandbox === OTHERS || (errno !== E2BIG && errno !== ENOMEM)) throw error
  }
}

/** What it does after that is counted with the others. */
export function removeShare(object: BpfObject, sandbox: bigint): void {
  if (sandbox !== OTHERS) object.delete(SHARES, sandboxKey(sandbox))
}

/** Ids of the sandboxes that have one, the others' left out. */
export function sandboxesWithShare(object: BpfObject): bigint[] {
  return object
    .keys(SHARES)
    .map((key) => key.readBigUInt64LE())
    .filter((sandbox) => sandbox !== OTHERS)
}

/** By kind; only those that are not zero. Empty if the sandbox has no share. */
export function readShare(object: BpfObject, sandbox: bigint): Map<number, ShareCounts> {
  const value = object.lookup(SHARES, sandboxKey(sandbox))
  const counts = new Map<number, ShareCounts>()
  if (value === null) return counts
  const { size, fields } = ABI.structs.sl_share_counters
  for (let kind = 1; kind < ABI.enums.SL_KIND_END; kind += 1) {
    const at = ABI.structs.sl_share.fields.kinds + kind * size
    const submitted = value.readBigUInt64LE(at + fields.submitted)
    const folded = value.readBigUInt64LE(at + fields.folded)
    const dropped = value.readBigUInt64LE(at + fields.dropped)
    const attempted = submitted + folded + dropped
    if (attempted > 0n) counts.set(kind, { attempted, submitted, dropped })
  }
  return counts
}

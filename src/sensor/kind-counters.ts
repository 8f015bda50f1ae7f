/** The kernel side's counters (sl_counters), kept per CPU and summed here. Cumulative for as long as the maps live. */
import type { BpfObject } from '../native/addon.js'
import { ABI } from '../native/generated/abi.js'

export interface KindCounts {
  readonly attempted: bigint
  readonly submitted: bigint
  readonly folded: bigint
  readonly dropped: bigint
}

export interface Counters {
  /** By kind, from 1 on. */
  readonly kinds: ReadonlyMap<number, KindCounts>
  /** Processes that could not be tagged: what they did is missing, however much that was. */
  readonly identityFailures: bigint
}

export function readCounters(object: BpfObject): Counters {
  const value = object.lookup('sl_counters', Buffer.alloc(4))
  if (value === null) throw new Error('sl_counters has no entry')
  const { fields } = ABI.structs.sl_counters
  const kindLayout = ABI.structs.sl_kind_counters
  const kinds = new Map<number, KindCounts>()
  for (let kind = 1; kind < ABI.enums.SL_KIND_END; kind += 1) {
    const at = fields.kinds + kind * kindLayout.size
    kinds.set(kind, {
      attempted: sum(value, at + kindLayout.fields.attempted),
      submitted: sum(value, at + kindLayout.fields.submitted),
      folded: sum(value, at + kindLayout.fields.folded),
      dropped: sum(value, at + kindLayout.fields.dropped),
    })
  }
  return { kinds, identityFailures: sum(value, fields.identity_failures) }
}

/** Of the 64-bit field at `offset` of each CPU's entry. */
function sum(value: Buffer, offset: number): bigint {
  let total = 0n
  for (let at = offset; at < value.length; at += ABI.structs.sl_counters.size) total += value.readBigUInt64LE(at)
  return total
}

/**
 * The outbox with its spool and its stream, as an earlier sensor may have left them. Guards that what nobody can know any more, because
 * a sensor died with it in its memory, has its place in the row of batches and is told. Not here: how any of them works.
 */
import type { Log } from '../base/log.js'
import type { Addon } from '../native/addon.js'
import { encodeBatchRequest, fromBigInt } from '../proto/codec.js'
import { Outbox } from './outbox.js'
import { type DroppedBatches, Spool } from './spool.js'
import { KINDS_MAX } from './spool-record.js'
import { forgetOtherBoots, Stream } from './stream.js'

const NO_EVENTS = new Uint8Array(0)

export interface OutboxParts {
  readonly dir: string
  readonly bytesMax: number
  readonly addon: Pick<Addon, 'bootToUnixNs'>
  readonly bootId: string
  readonly keepsAll: boolean
  readonly log: Log
  onRoom(): void
}

export function openOutbox(parts: OutboxParts): { outbox: Outbox; stream: Stream } {
  const { dir, bytesMax, addon, bootId, keepsAll, log, onRoom } = parts
  if (forgetOtherBoots(dir, bootId)) log.warn({ dir }, 'the spool was of another boot and is begun anew')
  const spool = new Spool({ dir, bytesMax, log })
  const stream = new Stream(dir, { bootId, bootToUnixNs: addon.bootToUnixNs(), lastSpooled: spool.last })
  const { unknown } = stream
  if (unknown !== null) {
    const kinds = new Uint32Array(KINDS_MAX)
    const cause = 'a sensor died with batches that it had not delivered'
    spool.append({ seq: unknown.last, kinds, bytes: standIn({ ...unknown, kinds, cause }, { unknown: true }) })
  }
  const told = (dropped: DroppedBatches) => standIn(dropped, { unknown: false })
  return { stream, outbox: new Outbox({ spool, keepsAll, hole: unknown, standIn: told, onRoom }) }
}

/** A batch in the place of those that are gone. */
function standIn({ first, last, kinds, cause }: DroppedBatches, { unknown }: { unknown: boolean }): Buffer {
  const events = [...kinds].flatMap((count, kind) => (count > 0 ? [{ kind, count: fromBigInt(BigInt(count)) }] : []))
  const dropped = { firstBatchSeq: fromBigInt(BigInt(first)), events, unknown, cause }
  return encodeBatchRequest({ batchSeq: fromBigInt(BigInt(last)), dropped }, NO_EVENTS)
}

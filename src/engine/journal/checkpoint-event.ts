/**
 * A signed checkpoint as an event of the node, for the sinks: what a receiver elsewhere keeps of it is a witness. Guards that it is what was signed, to
 * the byte, and the same event however often it is told. Not here: who is told.
 */
import { derivedUuid } from '../../base/uuid.js'
import { fromBigInt, type IEvent } from '../../proto/codec.js'
import type { Checkpoint } from '../../proto/journal/checkpoint.js'
import { bodyHash, type SignedText } from '../../proto/journal/signed-text.js'

const NS_PER_MS = 1_000_000n

/** @param said what is signed */
export function checkpointEvent(
  said: Pick<Checkpoint, 'sessionId' | 'number' | 'records' | 'isSeal' | 'keyId' | 'timeUnixNs' | 'node'>,
  signed: SignedText,
): IEvent {
  const { sessionId, number, records, isSeal, keyId, timeUnixNs, node } = said
  return {
    ...{ schema: 1, source: 'journal', node: { ...node }, sandbox: null, sessionId: '', toolCallId: '' },
    uid: derivedUuid({ unixMs: timeUnixNs / NS_PER_MS, parts: [sessionId, 'checkpoint', bodyHash(signed.body)] }),
    ...{ timeUnixNs: fromBigInt(timeUnixNs), seq: fromBigInt(0n) },
    checkpoint: {
      ...{ sessionId, number: fromBigInt(BigInt(number)), records: fromBigInt(records), isSeal, keyId },
      ...{ text: signed.body.toString(), signature: signed.signature },
    },
  }
}

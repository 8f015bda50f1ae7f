/** What a sink is sent in the place of events that the spool no longer had for it. Guards that it has the same uid whenever it is sent. */
import { derivedUuid } from '../base/uuid.js'
import { fromBigInt, type IEvent, Stage } from '../proto/codec.js'
import type { ChunkPart } from '../proto/spool/spool-form.js'

const NS_PER_MS = 1_000_000n
const SCHEMA = 1

export interface SpoolGap {
  readonly spoolId: string
  /** Of the first that is missing. */
  readonly position: number
  readonly count: number
  /** False: nobody knows how many. */
  readonly exact: boolean
  readonly cause: string
}

/** Of one session, in the place of the first of its events. */
export function sessionGap(gap: SpoolGap, part: ChunkPart): IEvent {
  const { node, sandbox, sessionId, count, firstSeq } = part
  const times = { from: BigInt(part.fromUnixNs), to: BigInt(part.toUnixNs) }
  return { ...gapEvent({ ...gap, count }, sessionId, times), node, sandbox, seq: fromBigInt(BigInt(firstSeq)) }
}

/** Of whatever session. */
export function nodeGap(gap: SpoolGap, nowUnixNs: bigint): IEvent {
  return gapEvent(gap, '', { from: 0n, to: nowUnixNs })
}

function gapEvent(gap: SpoolGap, sessionId: string, { from, to }: { from: bigint; to: bigint }): IEvent {
  const { spoolId, position, count, exact, cause } = gap
  const last = to > from ? to : from
  return {
    ...{ schema: SCHEMA, source: 'spool', node: null, sandbox: null, sessionId, toolCallId: '', seq: fromBigInt(0n) },
    uid: derivedUuid({ unixMs: last / NS_PER_MS, parts: [spoolId, String(position), sessionId, 'spool'] }),
    timeUnixNs: fromBigInt(last),
    gap: {
      ...{ stage: Stage.STAGE_SPOOL, kind: '', count: fromBigInt(BigInt(count)), exact, cause },
      ...{ countMax: fromBigInt(exact ? BigInt(count) : 0n), fromUnixNs: fromBigInt(from), toUnixNs: fromBigInt(last) },
    },
  }
}

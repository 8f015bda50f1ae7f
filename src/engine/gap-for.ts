/**
 * The event that stands, in the stream of one reader, for events of a session which that reader was too slow for. Guards that it takes
 * the place of the first of them: `seq` goes on, and the hole behind it is as long as its count says. The session itself has them all.
 */
import { derivedUuid } from '../base/uuid.js'
import { fromBigInt, type IEvent, Stage, toBigInt } from '../proto/codec.js'
import type { LeftOut } from './bounded-stream.js'

const NS_PER_MS = 1_000_000n

export function gapFor({ first, last, count }: LeftOut): IEvent {
  const { schema, node, seq, sandbox, sessionId } = first
  const fromUnixNs = toBigInt(first.timeUnixNs)
  const lastUnixNs = toBigInt(last.timeUnixNs)
  const toUnixNs = lastUnixNs > fromUnixNs ? lastUnixNs : fromUnixNs
  const parts = [sessionId ?? '', String(toBigInt(seq)), 'left-out']
  return {
    ...{ schema: schema ?? 1, node: node ?? null, seq: seq ?? null, sandbox: sandbox ?? null, toolCallId: '' },
    sessionId: sessionId ?? '',
    source: 'engine',
    uid: derivedUuid({ unixMs: toUnixNs / NS_PER_MS, parts }),
    timeUnixNs: fromBigInt(fromUnixNs),
    gap: {
      stage: Stage.STAGE_SINK,
      kind: '',
      count: fromBigInt(count),
      exact: true,
      countMax: fromBigInt(count),
      fromUnixNs: fromBigInt(fromUnixNs),
      toUnixNs: fromBigInt(toUnixNs),
      cause: 'whoever reads this stream was too slow; other readers of the session were not held up',
    },
  }
}

/** The session's last event for a reader who did not get all: the summary is of the session, but not all of it is here. */
export function incomplete(ended: IEvent, lost: bigint): IEvent {
  const summary = ended.sandboxEnded?.summary
  if (summary === null || summary === undefined) return ended
  const total = fromBigInt(toBigInt(summary.lost) + lost)
  return { ...ended, sandboxEnded: { summary: { ...summary, lost: total, complete: false } } }
}

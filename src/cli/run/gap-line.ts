/**
 * The event that stands at the end of a record for all that should have come after some place in it. Guards that it continues `seq`
 * and time of what is there. Where it is written is not its business.
 */
import { derivedUuid } from '../../base/uuid.js'
import { fromBigInt, type IEvent, type ISandbox, Stage, toBigInt } from '../../proto/codec.js'
import { type EventJson, eventToJson } from '../../proto/event-json.js'
import { parseTime } from '../events/event-filter.js'

const NS_PER_MS = 1_000_000n
const SCHEMA = 1

/** In a record: behind the event `seq`; 0 is the beginning. */
export interface Place {
  readonly schema: number
  readonly node: IEvent['node']
  readonly sandbox: ISandbox | null
  readonly sessionId: string
  readonly seq: bigint
  /** Null where there was no event yet. */
  readonly timeUnixNs: bigint | null
}

/** Of an event, or of a session that has none yet. */
export function placeOf(event: IEvent): Place {
  return {
    schema: event.schema ?? SCHEMA,
    node: event.node ?? null,
    sandbox: event.sandbox ?? null,
    sessionId: event.sessionId ?? '',
    seq: toBigInt(event.seq),
    timeUnixNs: event.timeUnixNs === undefined || event.timeUnixNs === null ? null : toBigInt(event.timeUnixNs),
  }
}

/** Of a line that we wrote into the record of the session that `session` is a place in; null for one that is not of that kind. */
export function placeOfLine(session: Place, line: string): Place | null {
  try {
    const { seq, time, sessionId } = JSON.parse(line) as { seq?: unknown; time?: unknown; sessionId?: unknown }
    if (typeof seq !== 'string' || typeof time !== 'string' || sessionId !== session.sessionId) return null
    return { ...session, seq: BigInt(seq), timeUnixNs: parseTime('time', time, 0) }
  } catch {
    return null
  }
}

/**
 * `missing`: 'unknown' is the end of a stream that broke; `inRecord`: so many events came and are not in the record, null if nobody
 * knows how many.
 */
export function gapAfter(
  place: Place,
  at: { cause: string; nowUnixMs: number; missing: 'unknown' | { inRecord: number | null } },
): EventJson {
  const seq = place.seq + 1n
  const now = BigInt(at.nowUnixMs) * NS_PER_MS
  const from = place.timeUnixNs ?? now
  const time = now > from ? now : from
  const count = at.missing === 'unknown' ? null : at.missing.inRecord
  return eventToJson({
    schema: place.schema,
    source: 'cli',
    node: place.node ?? null,
    uid: derivedUuid({ unixMs: time / NS_PER_MS, parts: ['gap', place.sessionId, String(seq)] }),
    timeUnixNs: fromBigInt(time),
    seq: fromBigInt(seq),
    sandbox: place.sandbox,
    sessionId: place.sessionId,
    gap: {
      stage: at.missing === 'unknown' ? Stage.STAGE_UPLINK : Stage.STAGE_SINK,
      kind: '',
      count: fromBigInt(BigInt(count ?? 0)),
      exact: count !== null,
      countMax: fromBigInt(BigInt(count ?? 0)),
      fromUnixNs: fromBigInt(from),
      toUnixNs: fromBigInt(time),
      cause: at.cause,
    },
  })
}

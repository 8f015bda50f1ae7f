/**
 * What a run does with its events as they come: the record, the live view, the count of refusals, the summary. Guards that the record
 * has every event that came, in the order of `seq`, and that what is missing at the end is said in the record itself.
 */
import { Event, type IRunStarted } from '../../proto/codec.js'
import { eventToJson } from '../../proto/event-json.js'
import { EventLines } from '../../proto/event-lines.js'
import type { ShownEvent, ShownSummary } from '../shown-event.js'
import { gapAfter, type Place, placeOf, placeOfLine } from './gap-line.js'
import type { RecordFile } from './record-file.js'

/** Room that a gap line gets on a full disk besides its own length: file systems give back whole blocks. */
const ROOM_BYTES = 16 * 1024
/** Somebody else may take the room first. */
const GAP_TRIES_MAX = 3

export interface EventConsumer {
  /** Of the session, before its first event. */
  begin(started: IRunStarted): void
  /** Encoded events in the order of the stream. Resolves when the record has them. */
  consume(events: readonly Buffer[]): Promise<void>
  /** Events whose verdict was DENY or WOULD_DENY. */
  denied(): number
  /** Detections that are more than facts to know. */
  detected(): number
  /** The session's own summary; null until its last event came. */
  summary(): ShownSummary | null
  /**
   * Says in the record that events are missing, if there is a record and the session began: behind `lost`, the end of a stream that
   * broke; behind a disk that was full, how many lines are missing. True if the record says it now.
   */
  writeGap(cause: string, nowUnixMs: number): Promise<boolean>
}

export function consumeEvents(record: RecordFile | null, show: ((event: ShownEvent) => void) | null): EventConsumer {
  let denied = 0
  let detected = 0
  /** Of the session, and of the last event in the record. */
  let first: Place | null = null
  let last: Place | null = null
  let summary: ShownSummary | null = null

  const lines = new EventLines()

  function look(event: Buffer): void {
    if (lines.denied) denied += 1
    if (lines.detected) detected += 1
    if (show === null && !lines.ended) return
    const json = eventToJson(Event.decode(event))
    show?.(json)
    if ('sandboxEnded' in json) summary = json.sandboxEnded.summary
  }

  return {
    begin({ sandbox, sessionId }) {
      first = placeOf({ sandbox: sandbox ?? null, sessionId: sessionId ?? '' })
    },
    async consume(events) {
      for (const event of events) {
        lines.append(event)
        look(event)
      }
      const bytes = lines.take()
      if (record === null) return
      const lastWritten = events[(await record.write(bytes, events.length)) - 1]
      if (lastWritten !== undefined) last = placeOf(Event.decode(lastWritten))
      first ??= last
    },
    denied: () => denied,
    detected: () => detected,
    summary: () => summary,
    async writeGap(cause, nowUnixMs) {
      if (record === null) return false
      for (let tries = 0; tries < GAP_TRIES_MAX; tries += 1) {
        const after = last ?? first
        if (after === null) return false
        const failure = record.failure()
        const missing = failure === null ? 'unknown' : { inRecord: failure.missing }
        const line = JSON.stringify(gapAfter(after, { cause, nowUnixMs, missing }))
        if (await record.writeLast(line)) return true
        const left = await record.cutBack(Buffer.byteLength(line) + ROOM_BYTES)
        if (left === null) return false
        last = left === '' || first === null ? null : placeOfLine(first, left)
      }
      return false
    },
  }
}

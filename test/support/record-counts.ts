/** Counts a record that is too large to hold: events by kind, and by kind what its gaps say is missing. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { EVENT_KINDS, type EventKind } from '../../src/proto/event-json.js'
import { parseEventLine } from '../../src/proto/event-line.js'

export interface RecordCounts {
  /** Of file opens: what they stand for. */
  readonly events: Partial<Record<EventKind, number>>
  /** '' is any kind. */
  readonly lost: Readonly<Record<string, number>>
  readonly lines: number
  /** Lines whose `seq` is not the next one. */
  readonly holes: number
  readonly allExact: boolean
}

/** A kind's key comes last in a line, and its value is an object; no name in quotes before it has these two characters behind it. */
const KIND = new RegExp(`"(${EVENT_KINDS.join('|')})":\\{`)
const SEQ = /"seq":"(\d+)"/
const COUNT = /"count":"(\d+)"/

export async function countRecord(path: string): Promise<RecordCounts> {
  const events: Partial<Record<EventKind, number>> = {}
  const lost: Record<string, number> = {}
  let [lines, holes, allExact] = [0, 0, true]
  for await (const line of createInterface({ input: createReadStream(path, 'latin1') })) {
    lines++
    if (SEQ.exec(line)?.[1] !== String(lines)) holes++
    const kind = KIND.exec(line)?.[1] as EventKind
    events[kind] = (events[kind] ?? 0) + (kind === 'fileOpen' ? Number(COUNT.exec(line)?.[1]) : 1)
    if (kind !== 'gap') continue
    const event = parseEventLine(Buffer.from(line, 'latin1').toString())
    if (!('gap' in event)) throw new Error(`not a gap: ${line}`)
    lost[event.gap.kind] = (lost[event.gap.kind] ?? 0) + Number(event.gap.count)
    allExact &&= event.gap.exact
  }
  return { events, lost, lines, holes, allExact }
}

/**
 * Events as the spool has them. What every sink asks for (which kind, how severe, the line of our own JSON) is worked out once, from the bytes; the event itself
 * only for a sink that has to look into it. Guards that what one event is worked out for serves all sinks, as long as the reader keeps it.
 */
import { Event, encodeBuffer, type IEvent } from '../proto/codec.js'
import { type EventJson, type EventKind, eventKind, eventToJson } from '../proto/event-json.js'
import { EventLines } from '../proto/event-lines.js'
import { readRunResponse } from '../proto/run-response.js'
import { WireReader } from '../proto/wire-reader.js'
import type { SinkSeverity } from '../schema/sink-settings.js'
import { severityOf, severityOfDecision } from './severity.js'

/** Number of a field of an Event in proto/sluice/v1. */
const UID = 4

export class SpooledEvent {
  readonly kind: EventKind
  readonly severity: SinkSeverity
  /** As `eventLine` has it. */
  readonly line: string
  private readonly bytes: Buffer
  private decoded: EventJson | null = null
  private texts: Map<string, string> | null = null

  constructor(bytes: Buffer, { kind, severity, line }: Pick<SpooledEvent, 'kind' | 'severity' | 'line'>) {
    this.bytes = bytes
    this.kind = kind
    this.severity = severity
    this.line = line
  }

  get uid(): string {
    const reader = new WireReader(this.bytes)
    while (reader.next()) if (reader.field === UID) return reader.bytes.toString()
    return ''
  }

  get json(): EventJson {
    this.decoded ??= eventToJson(Event.decode(this.bytes))
    return this.decoded
  }

  /** In another form, which is worked out once by its name. */
  text(form: string, write: (event: EventJson) => string): string {
    this.texts ??= new Map()
    const text = this.texts.get(form) ?? write(this.json)
    this.texts.set(form, text)
    return text
  }
}

type Told = Pick<SpooledEvent, 'kind' | 'severity'>

export class SpooledEvents {
  private readonly lines = new EventLines()

  /** Of a chunk's body, which must stay as it is. @param instead of an event that this version does not know. Throws for what is no chunk. */
  of(body: Buffer, instead: (index: number) => IEvent): SpooledEvent[] {
    const events = [...(readRunResponse(body).events ?? [])]
    return this.read(events, instead)
  }

  /** What was not in the spool. Throws PROTOCOL for an event without a kind. */
  one(event: IEvent): SpooledEvent[] {
    return this.read([encodeBuffer(Event, event)], null)
  }

  private read(events: Buffer[], instead: ((index: number) => IEvent) | null): SpooledEvent[] {
    const told = events.map((bytes, index) => {
      try {
        return this.told(bytes)
      } catch (error) {
        if (instead === null) throw error
        const other = encodeBuffer(Event, instead(index))
        events[index] = other
        return this.told(other)
      }
    })
    // JSON has no newline inside a line.
    const lines = this.lines.take().toString().split('\n')
    return told.map((each, index) => {
      return new SpooledEvent(events[index] ?? NOTHING, { ...each, line: lines[index] ?? '' })
    })
  }

  private told(bytes: Buffer): Told {
    const { lines } = this
    lines.append(bytes)
    const { last, decision } = lines
    if (last === null) return { kind: 'fileOpen', severity: severityOfDecision(decision) }
    return { kind: eventKind(last), severity: severityOf(last) }
  }
}

const NOTHING = Buffer.alloc(0)

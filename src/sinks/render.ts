/**
 * Events as a sink sends them: which of them, how severe, and in which schema. Guards that one event is worked out once for all sinks that are sent it while
 * the reader still has it. Not here: how they travel.
 */
import type { IEvent } from '../proto/codec.js'
import { type EventJson, type EventKind, eventKind, eventToJson, verdictOf } from '../proto/event-json.js'
import { schemaLine } from '../schema/schemas.js'
import { type EventSinkSettings, SINK_SEVERITIES, type SinkSeverity } from '../schema/sink-settings.js'
import type { Item } from './transport.js'

interface Rendered {
  readonly event: EventJson
  readonly kind: EventKind
  readonly severity: SinkSeverity
  /** By schema. */
  readonly texts: Map<string, string>
}

/** Of all sinks, as long as the reader keeps the event. */
export type RenderedEvents = WeakMap<IEvent, Rendered>

export class Renderer {
  private readonly kinds: ReadonlySet<EventKind> | null
  private readonly least: number
  private readonly write: (event: EventJson) => string
  /** Schema and version. */
  private readonly form: string
  private readonly known: RenderedEvents

  /** @param version ours */
  constructor(
    { kinds, minSeverity = 'INFO', schema = 'native' }: EventSinkSettings,
    version: string,
    known: RenderedEvents = new WeakMap(),
  ) {
    this.known = known
    this.kinds = kinds === undefined ? null : new Set(kinds)
    this.least = SINK_SEVERITIES.indexOf(minSeverity)
    this.form = `${schema} ${version}`
    this.write = (event) => schemaLine(schema === 'native' ? 'json' : schema, event, version)
  }

  /** Null: not for this sink. Throws PROTOCOL for an event that this version does not know. */
  item(event: IEvent): Item | null {
    const rendered = this.known.get(event) ?? rendering(event)
    this.known.set(event, rendered)
    const { kind, severity, texts } = rendered
    if (this.kinds !== null && !this.kinds.has(kind)) return null
    if (SINK_SEVERITIES.indexOf(severity) < this.least) return null
    const text = texts.get(this.form) ?? this.write(rendered.event)
    texts.set(this.form, text)
    return { event: rendered.event, kind, severity, text }
  }

  /** Of one that was chosen before. */
  rendered(event: EventJson): Item {
    return { event, kind: eventKind(event), severity: severityOf(event), text: this.write(event) }
  }
}

function rendering(event: IEvent): Rendered {
  const json = eventToJson(event)
  return { event: json, kind: eventKind(json), severity: severityOf(json), texts: new Map() }
}

export function severityOf(event: EventJson): SinkSeverity {
  if ('detection' in event) return SINK_SEVERITIES.find((known) => known === event.detection.severity) ?? 'INFO'
  if ('quarantine' in event) return 'HIGH'
  if ('response' in event) return event.response.state === 'FAILED' ? 'HIGH' : 'MEDIUM'
  if ('gap' in event) return 'MEDIUM'
  if ('cgroupChange' in event) return event.cgroupChange.op === 'ESCAPE' ? 'HIGH' : 'INFO'
  const decision = verdictOf(event)?.decision
  if (decision === 'DENY') return 'MEDIUM'
  return decision === 'WOULD_DENY' ? 'LOW' : 'INFO'
}

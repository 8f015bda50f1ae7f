/** Events as a sink sends them: which of them, and in which schema. Not here: how they travel. */
import { type EventJson, type EventKind, eventKind } from '../proto/event-json.js'
import { schemaLine } from '../schema/schemas.js'
import { type EventSinkSettings, SINK_SEVERITIES, type SinkSeverity } from '../schema/sink-settings.js'
import { severityOf } from './severity.js'
import type { SpooledEvent } from './spooled-event.js'
import type { Item } from './transport.js'

export class Renderer {
  private readonly kinds: ReadonlySet<EventKind> | null
  private readonly least: number
  private readonly write: (event: EventJson) => string
  /** Schema and version; null: our own JSON. */
  private readonly form: string | null

  /** @param version ours */
  constructor({ kinds, minSeverity = 'INFO', schema = 'native' }: EventSinkSettings, version: string) {
    this.kinds = kinds === undefined ? null : new Set(kinds)
    this.least = SINK_SEVERITIES.indexOf(minSeverity)
    this.form = schema === 'native' ? null : `${schema} ${version}`
    this.write = (event) => schemaLine(schema === 'native' ? 'json' : schema, event, version)
  }

  /** Null: not for this sink. */
  item(event: SpooledEvent): Item | null {
    if (this.kinds !== null && !this.kinds.has(event.kind)) return null
    if (SINK_SEVERITIES.indexOf(event.severity) < this.least) return null
    return new SpooledItem(event, this.form === null ? event.line : event.text(this.form, this.write))
  }

  /** Of one that was chosen before. */
  rendered(event: EventJson): Item {
    return { uid: event.uid, event, kind: eventKind(event), severity: severityOf(event), text: this.write(event) }
  }
}

/** Most transports send the text, and never ask for the event. */
class SpooledItem implements Item {
  readonly text: string
  private readonly spooled: SpooledEvent

  constructor(spooled: SpooledEvent, text: string) {
    this.spooled = spooled
    this.text = text
  }

  get uid(): string {
    return this.spooled.uid
  }

  get event(): EventJson {
    return this.spooled.json
  }

  get kind(): EventKind {
    return this.spooled.kind
  }

  get severity(): SinkSeverity {
    return this.spooled.severity
  }
}

/**
 * Encoded events to lines of a recording, from bytes to bytes: the same lines as `eventLine` gives of the decoded events (a test compares
 * them), at a fraction of the cost. What is the same in many events (node, sandbox, session, process, verdict) becomes JSON once and is
 * found again by its bytes; file opens, of which there are the most, are read field by field, all other kinds by the generated code. What
 * does not look as the engine writes it is decoded whole. Throws PROTOCOL for bytes that are no event.
 */
import { Event, FileOpen } from './codec.js'
import { ACCESSES, type EventJson, eventToJson, type VerdictJson, verdictOf } from './event-json.js'
import { LineBuffer } from './line-buffer.js'
import { bytesToText } from './text.js'
import { isFault } from './tool-call-json.js'
import { UnixSeconds } from './unix-seconds.js'
import { WireReader } from './wire-reader.js'

/** Numbers of fields in proto/sluice/v1. Up to `node`, and from `sandbox` to `process`, lie the ones that are kept. */
const EVENT = { node: 3, uid: 4, time: 5, seq: 6, sandbox: 7, process: 10, firstKind: 20, fileOpen: 24 }
const OPEN = {
  ...{ path: 1, userPath: 2, resolved: 3, access: 4, flags: 5, created: 6, dev: 7, inode: 8, errno: 9, verdict: 10 },
  ...{ count: 11, lastTime: 12 },
}

const BYTES_FIRST = 1024 * 1024
/** Processes whose JSON is kept, and the bytes of one that tell it from others: they hold its ids. */
const PROCESSES_KEPT = 64
const PROCESS_ID_BYTES = 48
/** What an event's JSON begins with that has nothing but its kind. */
const NO_COMMON_CHARS = JSON.stringify(eventToJson({ gap: {} })).indexOf('"gap"')

const QUOTE = Buffer.from('"')
const COMMA = Buffer.from(',')
const UID_END = Buffer.from('","time":"')
const TIME_END = Buffer.from('Z","seq":"')
const SEQ_END = Buffer.from('",')
const OPEN_END = Buffer.from('Z"}}\n')
const TRUE = Buffer.from('true')
const FALSE = Buffer.from('false')
const ACCESS_TEXTS = ACCESSES.map((name) => Buffer.from(name))
/** A file open's JSON: what stands in front of each field's value, by its number, and the value where the field is not there. */
const OPEN_KEYS = [
  ...[
    '',
    '"fileOpen":{"path":',
    ',"userPath":',
    ',"resolved":',
    ',"access":"',
    '","flags":[',
    '],"created":',
    ',"dev":"',
  ],
  ...['","inode":"', '","errno":', ',"verdict":', ',"count":"', '","lastTime":"'],
].map((text) => Buffer.from(text))
const OPEN_DEFAULTS = ['', '""', '""', 'false', 'UNSPECIFIED', '', 'false', '0', '0', '0', '', '0', ''].map((text) =>
  Buffer.from(text),
)

export class EventLines {
  private readonly out = new LineBuffer(BYTES_FIRST)
  private readonly seconds = new UnixSeconds()
  private readonly head = new Kept((bytes) => Buffer.from(headJson(bytes)))
  private readonly places = Array.from(
    { length: PROCESSES_KEPT },
    () => new Kept((bytes) => Buffer.from(placeJson(bytes))),
  )
  private readonly verdict = new Kept((bytes) => {
    const verdict = verdictOf(eventToJson({ fileOpen: FileOpen.decode(bytes) }))
    return { json: Buffer.from(JSON.stringify(verdict)), decision: verdict?.decision ?? null }
  })
  /** Of the last event's verdict; null: it has none. */
  decision: VerdictJson['decision'] | null = null
  /** The last event, whose common fields may be missing; null: a file open, of which no more is known than the decision. */
  last: EventJson | null = null

  /** Since the last `take`. */
  get bytes(): number {
    return this.out.length
  }

  /** The lines, each with its newline: a view, good until the next `append`. */
  take(): Buffer {
    return this.out.take()
  }

  /** Of the last event: its verdict was DENY or WOULD_DENY. */
  get denied(): boolean {
    return this.decision === 'DENY' || this.decision === 'WOULD_DENY'
  }

  /** The last event ended its session. */
  get ended(): boolean {
    return this.last !== null && 'sandboxEnded' in this.last
  }

  /** The last event is a detection that is more than a fact to know. */
  get detected(): boolean {
    return this.last !== null && 'detection' in this.last && isFault(this.last.detection)
  }

  /** Where it throws, nothing was written. @param event one encoded Event */
  append(event: Buffer): void {
    this.decision = null
    this.last = null
    const start = this.out.length
    try {
      if (this.asUsual(event)) return
      this.out.cut(start)
      this.out.text(`${this.decoded(event)}\n`)
    } catch (error) {
      this.out.cut(start)
      throw error
    }
  }

  /** False for an event that lacks something or has it in another order than the engine writes it; then what was written is void. */
  private asUsual(event: Buffer): boolean {
    const reader = new WireReader(event)
    if (!this.untilSeq(event, reader)) return false
    const placeAt = reader.at
    let process = 0
    let last = EVENT.sandbox - 1
    while (reader.next()) {
      if (reader.field <= last) return false
      last = reader.field
      if (last === EVENT.process) process = reader.sum(PROCESS_ID_BYTES)
      if (last < EVENT.firstKind) continue
      const place = this.places[process % PROCESSES_KEPT]
      this.out.raw(place?.of(event, placeAt, reader.tagAt) ?? COMMA)
      if (last === EVENT.fileOpen ? !this.fileOpen(event, reader) : !this.otherKind(reader)) return false
      return !reader.next()
    }
    return false
  }

  /** Node, uid, time and seq. */
  private untilSeq(event: Buffer, reader: WireReader): boolean {
    const { out, seconds } = this
    for (let last = 0; reader.next() && reader.field <= EVENT.node; last = reader.field) {
      if (reader.field <= last) return false
    }
    if (reader.field !== EVENT.uid) return false
    out.raw(this.head.of(event, 0, reader.tagAt))
    if (!out.plain(event, reader.start, reader.at) || !reader.next() || reader.field !== EVENT.time) return false
    out.raw(UID_END)
    seconds.put(out, reader.low, reader.high)
    if (!reader.next() || reader.field !== EVENT.seq) return false
    out.raw(TIME_END)
    out.uint64(reader.low, reader.high)
    out.raw(SEQ_END)
    return true
  }

  private fileOpen(event: Buffer, outer: WireReader): boolean {
    const { out } = this
    const reader = outer.inside()
    let last = 0
    while (reader.next()) {
      const { field } = reader
      if (field > OPEN.lastTime) continue
      if (field < last) return false
      if (field === last) {
        if (field !== OPEN.flags) return false
        out.raw(COMMA)
      }
      // The fields come in the order of the keys.
      for (let key = last + 1; key < field; key++) this.openDefault(key)
      if (field > last) out.raw(OPEN_KEYS[field] ?? COMMA)
      this.openField(event, reader)
      if (last < OPEN.verdict && field > OPEN.verdict) return false
      last = field
    }
    out.raw(OPEN_END)
    return last === OPEN.lastTime
  }

  private openDefault(key: number): void {
    this.out.raw(OPEN_KEYS[key] ?? COMMA)
    this.out.raw(OPEN_DEFAULTS[key] ?? COMMA)
  }

  private openField(event: Buffer, reader: WireReader): void {
    const { out } = this
    const { low, high, start, at } = reader
    switch (reader.field) {
      case OPEN.path:
      case OPEN.userPath:
      case OPEN.flags:
        out.raw(QUOTE)
        if (out.plain(event, start, at)) out.raw(QUOTE)
        else this.escaped(reader)
        return
      case OPEN.resolved:
      case OPEN.created:
        out.raw(low === 0 ? FALSE : TRUE)
        return
      case OPEN.access:
        out.raw(ACCESS_TEXTS[low] ?? ACCESS_TEXTS[0] ?? QUOTE)
        return
      case OPEN.verdict: {
        const { json, decision } = this.verdict.of(event, reader.tagAt, at)
        this.decision = decision
        out.raw(json)
        return
      }
      case OPEN.lastTime:
        this.seconds.put(out, low, high)
        return
      default:
        out.uint64(low, high)
    }
  }

  /** The rest of a string of which the first quote is written. */
  private escaped(reader: WireReader): void {
    const text = reader.field === OPEN.flags ? reader.bytes.toString() : bytesToText(reader.bytes)
    this.out.text(JSON.stringify(text).slice(1))
  }

  private otherKind(reader: WireReader): boolean {
    this.out.text(`${this.decoded(reader.whole).slice(NO_COMMON_CHARS)}\n`)
    return true
  }

  private decoded(event: Buffer): string {
    const json = eventToJson(Event.decode(event))
    this.decision = verdictOf(json)?.decision ?? null
    this.last = json
    return JSON.stringify(json)
  }
}

/** What was made of some bytes, for as long as the same bytes come again. */
class Kept<T> {
  private readonly make: (bytes: Buffer) => T
  private bytes = Buffer.alloc(0)
  private made: T | null = null

  constructor(make: (bytes: Buffer) => T) {
    this.make = make
  }

  of(event: Buffer, start: number, end: number): T {
    const { bytes, made } = this
    if (made !== null && bytes.length === end - start && bytes.compare(event, start, end) === 0) return made
    this.bytes = Buffer.from(event.subarray(start, end))
    this.made = this.make(this.bytes)
    return this.made
  }
}

/** Up to and with the first quote of the uid. */
function headJson(fields: Buffer): string {
  const { schema, source, node } = jsonOf(fields)
  return `${JSON.stringify({ schema, source, node }).slice(0, -1)},"uid":"`
}

/** What stands between seq and kind, with the comma in front of the kind. */
function placeJson(fields: Buffer): string {
  const { sandbox, sessionId, toolCallId, process } = jsonOf(fields)
  return `${JSON.stringify({ sandbox, sessionId, toolCallId, process }).slice(1, -1)},`
}

/** Of an event of which only some of the common fields are there. */
function jsonOf(fields: Buffer): EventJson {
  return eventToJson({ ...Event.decode(fields), gap: {} })
}

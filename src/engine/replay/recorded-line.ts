/**
 * Lines of our own recordings read without reading all of them as JSON: what every line of a session repeats is known by its text, and what is
 * left is little. Guards that a line is taken only where that comes to the same as reading it whole: common fields in our order and form, one
 * kind, nothing besides it. Anything else is null, and read whole (derive.ts).
 */
import { EVENT_KINDS, type EventKind, type KindJson, type ProcessJson } from '../../proto/event-json.js'
import { textToUnixNs } from '../../proto/time-text.js'
import type { ProcessFact } from '../detect/fact.js'
import { type OpenFacts, processFactOf } from '../detect/fact-of.js'
import { hash32 } from '../detect/hash.js'
import { problemOf } from './recorded-process.js'

export interface RecordedLine {
  readonly sessionId: string
  readonly uid: string
  readonly time: string
  readonly seq: string
  readonly process: ProcessFact | null
  readonly sandbox: Sandbox
  readonly kind: EventKind
  readonly body: KindJson
  /** The text around what is numbered anew: in front of `seq`, up to the value of `toolCallId`, behind it up to the last brace. */
  readonly front: string
  readonly middle: string
  readonly rest: string
  /** As text: schema and node. */
  readonly schema: string
  readonly node: string
}

interface Sandbox {
  readonly id?: string
  readonly agent?: string
  readonly task?: string
}

/** What all lines of a session say in the same words: `{…},"sessionId":"…","toolCallId":"`. */
interface Place {
  readonly text: string
  readonly sandbox: Sandbox
  readonly sessionId: string
}

interface ReadProcess {
  readonly text: string
  readonly process: ProcessFact
}

const PLAIN = String.raw`[^"\\\0-\x1f]`
const HEAD = new RegExp(
  String.raw`^\{"schema":(0|[1-9]\d{0,8}),"source":"${PLAIN}{0,64}","node":(\{"name":"${PLAIN}{0,256}","bootId":"${PLAIN}{0,64}"\}),` +
    String.raw`"uid":"([\w-]{1,64})","time":"(\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{9}Z)","seq":"(\d{1,20})","sandbox":`,
)
const OPEN_KEY = '"fileOpen":{'
const VERDICT = String.raw`null|\{"decision":"(\w*)","rule":"(${PLAIN}*)","policy":"${PLAIN}*","reason":"${PLAIN}*","enforcedBy":"${PLAIN}*"\}`
/** As we write it, up to the line's end. */
const OPENED = new RegExp(
  String.raw`^"fileOpen":\{"path":"(${PLAIN}*)","userPath":"(${PLAIN}*)","resolved":(?:true|false),"access":"(\w*)",` +
    String.raw`"flags":\[(?:"\w+"(?:,"\w+")*)?\],"created":(?:true|false),"dev":"(\d+)","inode":"(\d+)","errno":(0|[1-9]\d{0,8}),` +
    String.raw`"verdict":(?:${VERDICT}),"count":"\d+","lastTime":"[\w:.-]*"\}\}$`,
)
const SESSION = '"sessionId":"'
const CALL = '","toolCallId":"'
const PROCESS = ',"process":'
const STARTED = '"startTime":"'
const SPAWNER = '","spawnerExecId":"'
const TIME_CHARS = '2006-01-02T15:04:05.000000000Z'.length
const DAY_CHARS = '2006-01-02'.length
/** Never in a part that is passed on: they would be there twice. */
const OWN_KEYS = /"(?:recordedSeq|toolCallId|seq|schema|sessionId|__proto__)":/
const KINDS: ReadonlySet<string> = new Set(EVENT_KINDS)
/** As many as there may be sessions, each with some hundred characters. */
const KEPT_MAX = 10_000
const KEPT_CHARS_MAX = 8 * 1024 * 1024
/** Longer ones are few. */
const TEXT_CHARS_MAX = 32 * 1024
const BEHIND_SEQ = '","sandbox":'.length
const SLOTS = 512
/** Of a process, what tells it from others. */
const ID_CHARS = 64
/** An event's uid, or its time. */
const PLAIN_CHARS_MAX = 64
const PLAIN_ROOM = Buffer.alloc(PLAIN_CHARS_MAX)

export class RecordedLines {
  private readonly places = new Kept<Place>()
  private readonly processes: (ReadProcess | undefined)[] = Array(SLOTS).fill(undefined)
  private day = ''

  read(text: string): RecordedLine | null {
    if (text.length > TEXT_CHARS_MAX || !text.endsWith('}}')) return null
    const head = HEAD.exec(text)
    if (head === null) return null
    const [{ length: placeAt }, schema = '', node = '', uid = '', time = '', seq = ''] = head
    const place = this.placeAt(text, placeAt)
    if (place === null || !this.isDay(time.slice(0, DAY_CHARS))) return null
    const callAt = placeAt + place.text.length
    const callEnd = text.indexOf('"', callAt)
    const isProcess = text.startsWith(PROCESS, callEnd + 1)
    const from = isProcess ? callEnd + 1 + PROCESS.length : callEnd + 1
    const by = isProcess ? this.processIn(text, from) : null
    if (isProcess && by === null) return null
    const bodyAt = by === null ? from : from + by.text.length
    if (text[bodyAt] !== ',') return null
    const said = bodyOf(text.slice(bodyAt + 1))
    if (said === null) return null
    const seqAt = placeAt - seq.length - BEHIND_SEQ
    return {
      sessionId: place.sessionId,
      uid: ownPlain(uid),
      time: ownPlain(time),
      seq,
      process: by?.process ?? null,
      sandbox: place.sandbox,
      kind: said.kind,
      body: said.body,
      front: text.slice(0, seqAt),
      middle: text.slice(seqAt + seq.length, callAt),
      rest: text.slice(callEnd, -1),
      schema,
      node,
    }
  }

  /** One is like the one before, mostly. */
  private isDay(day: string): boolean {
    if (day === this.day) return true
    try {
      textToUnixNs(`${day}T00:00:00.000000000Z`)
    } catch {
      return false
    }
    this.day = own(day)
    return true
  }

  private placeAt(text: string, at: number): Place | null {
    const { last } = this.places
    if (last !== null && isAt(text, at, last.text)) return last
    const sessionAt = text.indexOf(SESSION, at)
    const callAt = sessionAt === -1 ? -1 : text.indexOf(CALL, sessionAt)
    if (callAt === -1) return null
    const found = text.slice(at, callAt + CALL.length)
    return this.places.of(found, () => placeOf(found))
  }

  /** The latest of each of some hundred places that its id may stand for. */
  private processIn(text: string, from: number): ReadProcess | null {
    const at = (hash32(text.slice(from, from + ID_CHARS)) & (SLOTS - 1)) >>> 0
    const slot = this.processes[at]
    if (slot !== undefined && isAt(text, from, slot.text)) return slot
    const end = processEnd(text, from)
    if (end === -1) return null
    const own = text.slice(from, end)
    const value = parsed(own)
    if (!isObject(value) || problemOf(value) !== null) return null
    const read = { text: own, process: processFactOf(value as unknown as ProcessJson) }
    this.processes[at] = read
    return read
  }
}

/** What was made of a text, for a bounded number of them; the oldest go. */
class Kept<T> {
  private readonly made = new Map<string, T>()
  private chars = 0
  last: T | null = null

  of(text: string, make: () => T | null): T | null {
    const known = this.made.get(text)
    if (known !== undefined) {
      this.last = known
      return known
    }
    const made = make()
    if (made === null) return null
    this.last = made
    this.made.set(own(text), made)
    this.chars += text.length
    for (const oldest of this.made.keys()) {
      if (this.made.size <= KEPT_MAX && this.chars <= KEPT_CHARS_MAX) break
      this.made.delete(oldest)
      this.chars -= oldest.length
    }
    return made
  }
}

/** As `startsWith`, which takes ten times as long with texts of some length. */
function isAt(text: string, at: number, part: string): boolean {
  return text.slice(at, at + part.length) === part
}

function placeOf(found: string): Place | null {
  const value = parsed(`{"sandbox":${found}"}`)
  if (!isObject(value) || Object.keys(value).join() !== 'sandbox,sessionId,toolCallId') return null
  const { sandbox, sessionId } = value
  if (!isObject(sandbox) || typeof sessionId !== 'string') return null
  const isPlain = [sandbox.id, sandbox.agent, sandbox.task].every((said) =>
    ['undefined', 'string'].includes(typeof said),
  )
  return isPlain ? { text: own(found), sandbox: sandbox as Sandbox, sessionId } : null
}

/**
 * Behind the object; unescaped quotes around a name are a key. The last one that we write is `spawnerExecId`; in recordings of before it was
 * `startTime`.
 */
function processEnd(text: string, from: number): number {
  const at = text.indexOf(STARTED, from)
  if (at === -1) return -1
  const end = at + STARTED.length + TIME_CHARS
  const last = text.startsWith(SPAWNER, end) ? text.indexOf('"', end + SPAWNER.length) : end
  return text.startsWith('"}', last) && text[last - 1] !== '\\' ? last + 2 : -1
}

/** `rest`: without the brace in front. */
function bodyOf(rest: string): { kind: EventKind; body: KindJson } | null {
  const opened = openedIn(rest)
  if (opened !== null) return { kind: 'fileOpen', body: { fileOpen: opened } as KindJson }
  if (OWN_KEYS.test(rest)) return null
  const body = parsed(`{${rest}`)
  if (!isObject(body)) return null
  const keys = Object.keys(body)
  const [kind = ''] = keys
  if (keys.length !== 1 || !KINDS.has(kind) || !isObject(body[kind])) return null
  return { kind: kind as EventKind, body: body as unknown as KindJson }
}

/** Of an open, which most events are, no more than what detection asks for. Null: one of another form. */
function openedIn(rest: string): OpenFacts | null {
  const match = rest.startsWith(OPEN_KEY) ? OPENED.exec(rest) : null
  if (match === null) return null
  const [, path = '', userPath = '', access = '', dev, inode, errno, decision, rule] = match
  const verdict = decision === undefined ? null : { decision, ...(rule === undefined ? {} : { rule }) }
  const ids = dev === undefined || inode === undefined ? {} : { dev, inode }
  return { path, userPath, access, ...ids, errno: Number(errno), verdict } as OpenFacts
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The same for at most PLAIN_CHARS_MAX characters of ASCII. */
function ownPlain(text: string): string {
  return PLAIN_ROOM.toString('latin1', 0, PLAIN_ROOM.write(text, 'latin1'))
}

/** Not a view into the line, which would keep all of it. */
function own(text: string): string {
  return Buffer.from(text).toString()
}

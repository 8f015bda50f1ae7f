/**
 * A recording with what detection derives from it: every line as it was, renumbered, with the tool call that it belongs to, and behind it the
 * calls that it ended and what it made detectors notice. Guards that the same lines give the same lines, that what the recording had derived
 * before is made anew, that nothing follows a session's end, and that the sessions that are remembered have a limit. No clock, no I/O.
 */
import { messageOf, SluiceError } from '../../base/error.js'
import { derivedUuid } from '../../base/uuid.js'
import { type ILadder, ResponseAction } from '../../proto/codec.js'
import { type EventJson, type KindJson, kindToJson } from '../../proto/event-json.js'
import { parseEventLine } from '../../proto/event-line.js'
import { RESPONSE_ACTIONS } from '../../proto/response-json.js'
import { isFault } from '../../proto/tool-call-json.js'
import { factFrom, factOf, timeMsOf } from '../detect/fact-of.js'
import type { SessionDetection } from '../detect/session-detection.js'
import { Ladders } from '../respond/ladders.js'
import { HOLD_MS, OPERATOR } from '../respond/responder.js'
import { type Derivation, type DerivedEvent, SessionDerivation } from '../session-derivation.js'
import { type RecordedLine, RecordedLines } from './recorded-line.js'
import { checkProcess } from './recorded-process.js'

export const SESSIONS_MAX = 10_000
const DERIVED_KINDS: readonly string[] = ['toolCall', 'detection', 'response']
const NO_RESPONSE = { state: '', action: RESPONSE_ACTIONS[0], undoneBy: '' } as const
const SOURCE = 'engine'
const SESSION_ID_CHARS_MAX = 256

export interface ReplayOptions {
  /** @param agent that its first event names */
  openSession(agent: string): SessionDetection
  /** What detections lead to, by the policy that is asked about; of it only the requests are made. */
  readonly ladders?: readonly ILadder[]
}

interface Session {
  readonly derivation: SessionDerivation
  readonly ladders: Ladders
  seq: number
  /** The event before this one, of which a gap is told; of one that is too long the one before that. */
  last: string
}

interface SessionOf {
  readonly sessionId: string
  readonly sandbox?: { readonly agent?: string }
}

/** Of a line that is remembered. */
const LAST_CHARS_MAX = 64 * 1024

/** Everything that a line of JSON may hold, kept. */
type Line = EventJson & { recordedSeq?: string }

export class Replay {
  private readonly options: ReplayOptions
  private readonly lines = new RecordedLines()
  private readonly sessions = new Map<string, Session>()
  private latest: Session | null = null
  /** That are more than facts to know. */
  detections = 0
  /** Sessions that were forgotten while they may have gone on. */
  forgotten = 0
  /** Ended sessions of which not everything had room. */
  shed = 0

  constructor(options: ReplayOptions) {
    this.options = options
  }

  /** The lines in the place of this one, without line ends. Throws PROTOCOL for one that is no event. */
  take(text: string): string[] {
    const line = this.lines.read(text)
    // Its summary counts events.
    if (line === null || line.kind === 'sandboxEnded') return this.takeWhole(text)
    if (DERIVED_KINDS.includes(line.kind)) return this.derivedBefore(line.sessionId, line.time, line.body)
    const session = this.sessionOf(line, text)
    const derived = session.derivation.take(factFrom(line, line.body))
    session.seq += 1
    const own = `${line.front}${session.seq}${line.middle}${derived.toolCallId}${line.rest},"recordedSeq":"${line.seq}"}`
    if (text.length <= LAST_CHARS_MAX) session.last = text
    return derived.events.length === 0
      ? [own]
      : [own, ...derived.events.map((each) => this.behind(session, line, each))]
  }

  /** Made anew; but an operator who undid something is a fact, and has the last word here as well. */
  private derivedBefore(sessionId: string, time: string, body: KindJson): string[] {
    const session = this.sessions.get(sessionId)
    const { state, action, undoneBy } = 'response' in body ? body.response : NO_RESPONSE
    const undone = RESPONSE_ACTIONS.indexOf(action)
    if (session === undefined || state !== 'REVERTED' || undone <= ResponseAction.RESPONSE_ACTION_ALERT) return []
    if (String(undoneBy).startsWith(`${OPERATOR}:`)) session.ladders.hold(undone, timeMsOf(time) + HOLD_MS)
    return []
  }

  /** The same as `derivedLines` gives, of a line whose text is known to be ours. */
  private behind(session: Session, line: RecordedLine, { uid, toolCallId, kind }: DerivedEvent): string {
    session.seq += 1
    const { schema, node, time, middle } = line
    const body = kindToJson(kind)
    if ('detection' in body && isFault(body.detection)) this.detections += 1
    const front = `{"schema":${schema},"source":"${SOURCE}","node":${node},"uid":"${uid}","time":"${time}","seq":"`
    return `${front}${session.seq}${middle}${toolCallId}",${JSON.stringify(body).slice(1)}`
  }

  private takeWhole(text: string): string[] {
    const kind = kindOf(text)
    const event = parseEventLine(text) as Line
    if (kind !== null) return this.derivedBefore(event.sessionId, event.time, event)
    if (event.sessionId.length > SESSION_ID_CHARS_MAX)
      throw new SluiceError('PROTOCOL', 'not an event: sessionId is too long')
    if (event.process) checkProcess(event.process)
    const session = this.sessionOf(event, text)
    const derived = session.derivation.take(factOf(event))
    const lines = this.linesOf(session, event, derived)
    if (text.length <= LAST_CHARS_MAX) session.last = text
    if ('sandboxEnded' in event) this.close(session, event.sessionId)
    return lines
  }

  /** A line that could not be read, as a gap of the session that goes on; nothing where none has begun. */
  unreadable(problem: unknown): string[] {
    const session = this.latest
    if (session === null) return []
    const last = parseEventLine(session.last)
    if (this.sessions.get(last.sessionId) !== session) return []
    const { time } = last
    const gap = {
      ...{ stage: 'DECODE', kind: '', count: '1', exact: true, from: time, to: time },
      ...{ cause: `a line of the recording could not be read: ${messageOf(problem)}`, countMax: '1' },
    }
    const uid = uidOf(last, ['gap', String(session.seq + 1)])
    return [this.numbered(session, { ...common(last, uid), gap } as unknown as Line)]
  }

  private close(session: Session, sessionId: string): void {
    this.sessions.delete(sessionId)
    if (this.latest === session) this.latest = null
    const { processes, characters, met } = session.derivation.shed
    this.shed += processes + characters + met > 0 ? 1 : 0
  }

  private linesOf(session: Session, event: Line, { toolCallId, events }: Derivation): string[] {
    const own = { ...event, recordedSeq: event.seq, toolCallId }
    if (!('sandboxEnded' in event)) {
      return [this.numbered(session, own), ...this.derivedLines(session, event, { toolCallId, events })]
    }
    return [...this.derivedLines(session, event, { toolCallId, events }), this.numbered(session, own)]
  }

  private derivedLines(session: Session, cause: EventJson, { events }: Derivation): string[] {
    const found = events.map(
      (each) => ({ ...common(cause, each.uid), toolCallId: each.toolCallId, ...kindToJson(each.kind) }) as Line,
    )
    this.detections += found.filter((each) => 'detection' in each && isFault(each.detection)).length
    return found.map((each) => this.numbered(session, each))
  }

  private numbered(session: Session, line: Line): string {
    session.seq += 1
    const seq = String(session.seq)
    if (!('sandboxEnded' in line)) return JSON.stringify({ ...line, seq })
    const summary = { ...line.sandboxEnded.summary, events: seq }
    return JSON.stringify({ ...line, seq, sandboxEnded: { ...line.sandboxEnded, summary } })
  }

  private sessionOf({ sessionId, sandbox }: SessionOf, line: string): Session {
    const known = this.latest?.derivation.sessionId === sessionId ? this.latest : this.sessions.get(sessionId)
    if (known !== undefined) {
      this.latest = known
      return known
    }
    const ladders = new Ladders()
    const respond = () => this.options.ladders ?? []
    const detection = this.options.openSession(String(sandbox?.agent ?? ''))
    const derivation = new SessionDerivation({ sessionId, detection, ladders, respond })
    const session = { derivation, ladders, seq: 0, last: line }
    this.sessions.set(sessionId, session)
    if (this.sessions.size > SESSIONS_MAX) {
      this.forgotten += 1
      const [oldest] = this.sessions.keys()
      if (oldest !== undefined) this.sessions.delete(oldest)
    }
    this.latest = session
    return session
  }
}

/** Of what is made anew; null for everything else. A recording of another version may have derived kinds that we would not take. */
function kindOf(text: string): string | null {
  return DERIVED_KINDS.find((kind) => text.includes(`"${kind}":{`) && isOwnKey(text, kind)) ?? null
}

/** The name may stand in an argument, too. */
function isOwnKey(text: string, kind: string): boolean {
  const value: unknown = JSON.parse(text)
  return typeof value === 'object' && value !== null && Object.hasOwn(value, kind)
}

function common(cause: EventJson, uid: string) {
  const { schema, node, time, seq, sandbox, sessionId } = cause
  return { schema, source: SOURCE, node, uid, time, seq, sandbox, sessionId, toolCallId: '' }
}

function uidOf(cause: EventJson, parts: readonly string[]): string {
  return derivedUuid({ unixMs: BigInt(Math.floor(timeMsOf(cause.time))), parts: [cause.sessionId, ...parts] })
}

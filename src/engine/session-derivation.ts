/**
 * What is derived from one session's events, as events: live and in a replay this very object. Guards that the same facts give the same
 * events with the same uids, whoever asks, and that each stands behind what caused it and has its time. Not here: where the facts come
 * from, and the numbers of the events (session.ts, replay/derive.ts).
 */
import { derivedUuid } from '../base/uuid.js'
import {
  CallClass,
  fromBigInt,
  type IDetection,
  type IEvent,
  type ILadder,
  type IToolCall,
  type Long,
  ResponseState,
  SeenBy,
  Severity,
} from '../proto/codec.js'
import { LIMITS_LADDER } from '../proto/response-json.js'
import { anyTextToBytes } from '../proto/text.js'
import { textToUnixNs } from '../proto/time-text.js'
import type { EventTime, Fact } from './detect/fact.js'
import type { Finding, Severity as SeverityName } from './detect/finding.js'
import type { Learned } from './detect/history.js'
import type { SessionDetection, Shed } from './detect/session-detection.js'
import type { CallClass as ClassName, ToolCall } from './detect/tool-call.js'
import type { ToolCallsState } from './detect/tool-calls.js'
import { Ladders, type LaddersState } from './respond/ladders.js'
import type { ResponseRequest } from './respond/responder.js'

const NS_PER_MS = 1_000_000n

export interface DerivedEvent {
  readonly uid: string
  readonly toolCallId: string
  readonly kind: Pick<IEvent, 'toolCall' | 'detection' | 'response'>
  /** Of a response: what is to be done. */
  readonly request?: Omit<ResponseRequest, 'sandboxId'>
}

export interface Derivation {
  /** Of the call that the event itself belongs to; empty: to none. */
  readonly toolCallId: string
  /** Behind it, in this order, with its time. */
  readonly events: readonly DerivedEvent[]
}

/** Limits that are no fault: what has less CPU than it likes is slow, and what is over is over. */
const WAITED_FOR: ReadonlySet<string> = new Set(['cpu', 'wall_clock'])
const NOTHING: Derivation = Object.freeze({ toolCallId: '', events: Object.freeze([]) })
const NONE: readonly DerivedEvent[] = NOTHING.events

/** What another engine goes on with. */
export interface DerivationState {
  readonly calls: ToolCallsState
  readonly ladders: LaddersState
}

export interface DerivationOptions {
  readonly sessionId: string
  readonly detection: SessionDetection
  /** What detections lead to just now; absent: to nothing. */
  respond?(): readonly ILadder[]
  readonly ladders?: Ladders
}

export class SessionDerivation {
  private readonly options: DerivationOptions
  private readonly ladders: Ladders
  /** Asked for with every event of the call. */
  private readonly ids = new WeakMap<ToolCall, string>()

  constructor(options: DerivationOptions) {
    this.options = options
    this.ladders = options.ladders ?? new Ladders()
  }

  get sessionId(): string {
    return this.options.sessionId
  }

  get state(): DerivationState {
    return { calls: this.options.detection.state, ladders: this.ladders.state }
  }

  /** When the session is over. */
  learned(): Learned {
    return this.options.detection.learned()
  }

  get shed(): Shed {
    return this.options.detection.shed
  }

  /** `fact` null: of an event that says nothing to detection. */
  take(fact: Fact | null): Derivation {
    if (fact === null) return NOTHING
    if (fact.kind === 'limit') return this.limited(fact)
    const { call, ended, findings } = this.options.detection.take(fact)
    const toolCallId = call === null ? '' : this.idOf(call)
    if (ended.length === 0 && findings.length === 0) return toolCallId === '' ? NOTHING : { toolCallId, events: NONE }
    const calls = ended.map((over) => this.called(over, fact))
    const found = findings.flatMap((finding, index) => {
      const detection = this.found(finding, { fact, toolCallId, before: findings.slice(0, index) })
      const response = this.request(finding.detector, fact, detection)
      return response === null ? [detection] : [detection, response]
    })
    return { toolCallId, events: [...calls, ...found] }
  }

  /** The kernel's own detection. What a throttle refuses goes on with a ladder, and begins none: it is not the policy's limit. */
  private limited(fact: Fact & { readonly kind: 'limit' }): Derivation {
    const isOver = fact.throttled ? this.ladders.isUnderWay(LIMITS_LADDER, fact.timeMs) : !WAITED_FOR.has(fact.what)
    const response = isOver ? this.request(LIMITS_LADDER, fact, { uid: fact.uid, toolCallId: '' }) : null
    return response === null ? NOTHING : { toolCallId: '', events: [response] }
  }

  private called(call: ToolCall, cause: Fact): DerivedEvent {
    const uid = this.uidOf(cause, ['toolCall', call.uid])
    return { uid, toolCallId: this.idOf(call), kind: { toolCall: toolCallOf(call) } }
  }

  private found(
    finding: Finding,
    { fact, toolCallId, before }: { fact: Fact; toolCallId: string; before: readonly Finding[] },
  ): DerivedEvent {
    const { detector, evidence } = finding
    // One event may make a detector say two things, with the same evidence.
    const same = before.filter((other) => other.detector === detector).length
    const parts = ['detection', detector, ...evidence, ...(same === 0 ? [] : [String(same)])]
    return { uid: this.uidOf(fact, parts), toolCallId, kind: { detection: detectionOf(finding) } }
  }

  /** The next step, if there is more to do than to alert. */
  private request(
    detector: string,
    fact: Fact,
    detection: Pick<DerivedEvent, 'uid' | 'toolCallId'>,
  ): DerivedEvent | null {
    const step = this.ladders.next(detector, fact.timeMs, this.options.respond?.() ?? [])
    if (step === null) return null
    const { action, ttlMs, number } = step
    const untilUnixNs = fromBigInt(ttlMs === 0 ? 0n : wholeMs(fact.timeMs + ttlMs) * NS_PER_MS)
    const state = ResponseState.RESPONSE_STATE_REQUESTED
    const response = { action, trigger: detection.uid, state, observed: '', undoneBy: '', untilUnixNs, step: number }
    const uid = this.uidOf(fact, ['response', detection.uid, String(action)])
    const request = { action, trigger: detection.uid, ttlMs, step: number }
    return { uid, toolCallId: detection.toolCallId, kind: { response }, request }
  }

  /** The same for every event of the call, and known when it begins. */
  private idOf(call: ToolCall): string {
    const known = this.ids.get(call)
    if (known !== undefined) return known
    const id = derivedUuid({ unixMs: wholeMs(call.startMs), parts: ['toolCall', this.options.sessionId, call.uid] })
    this.ids.set(call, id)
    return id
  }

  private uidOf(cause: Fact, parts: readonly string[]): string {
    return derivedUuid({ unixMs: wholeMs(cause.timeMs), parts: [this.options.sessionId, ...parts] })
  }
}

/** What is no time, of a recording that somebody made up, counts as the first one. */
function wholeMs(timeMs: number): bigint {
  return BigInt(Math.max(0, Math.floor(timeMs)) || 0)
}

const CLASSES: Readonly<Record<ClassName, CallClass>> = {
  ...{ shell: CallClass.CALL_CLASS_SHELL, 'inline-code': CallClass.CALL_CLASS_INLINE_CODE },
  ...{ program: CallClass.CALL_CLASS_PROGRAM, mcp: CallClass.CALL_CLASS_MCP },
}
const SEVERITIES: Readonly<Record<SeverityName, Severity>> = {
  ...{ info: Severity.SEVERITY_INFO, low: Severity.SEVERITY_LOW },
  ...{ medium: Severity.SEVERITY_MEDIUM, high: Severity.SEVERITY_HIGH },
}

function toolCallOf(call: ToolCall): IToolCall {
  const { exit, processes, unlisted } = call
  return {
    ...{ class: CLASSES[call.class], command: anyTextToBytes(call.command), processes, unlisted },
    ...{ startTimeUnixNs: unixNsOf(call.startTime), endTimeUnixNs: unixNsOf(call.endTime), ended: exit !== null },
    ...{ exitCode: exit?.code ?? 0, signal: exit?.signal ?? 0, seenBy: SeenBy.SEEN_BY_KERNEL },
    ...{ filesChanged: [...call.changed].map(anyTextToBytes), hosts: [...call.hosts].map(wellFormed) },
  }
}

function unixNsOf(time: EventTime): Long {
  return typeof time === 'string' ? fromBigInt(textToUnixNs(time)) : time
}

function detectionOf(finding: Finding): IDetection {
  const { detector, severity, title, reason, evidence, measured, threshold, baseline, windowMs = 0 } = finding
  return {
    ...{ detector, severity: SEVERITIES[severity], title, reason: wellFormed(reason), measured, threshold },
    evidence: [...evidence],
    ...(baseline === null ? {} : { baseline }),
    ...(windowMs === 0 ? {} : { windowMs: fromBigInt(BigInt(windowMs)) }),
  }
}

/** A sentence that quotes may cut a character in two, which has no bytes. */
function wellFormed(text: string): string {
  return Buffer.from(text).toString()
}

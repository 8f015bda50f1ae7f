/**
 * One task's run in one sandbox: gives every event its place (seq from 1 without a hole, sandbox, session), adds the events that the
 * engine itself knows of (started, gap, ended), and hands them on in that order. Guards that nothing follows the end, that nothing of
 * the engine's is earlier than what came before it, and that no runtime begins before the session. Not here:
 * how facts become events, and who reads them.
 */
import { randomBytes } from 'node:crypto'
import { derivedUuid } from '../base/uuid.js'
import {
  fromBigInt,
  type IEvent,
  type IGap,
  type INode,
  type IPolicyChanged,
  type ISandbox,
  type ISandboxStarted,
  type ISummary,
  type Stage,
  toBigInt,
} from '../proto/codec.js'

const NS_PER_MS = 1_000_000n

/** How the command ended and what it left behind. */
export interface SessionEnd {
  readonly exitCode: number
  /** 0 = it exited by itself */
  readonly signal: number
  /** Processes that outlived the command. */
  readonly killed: number
}

/** Events that no record of the kernel makes. */
type OwnKind = Pick<
  IEvent,
  'dns' | 'limitHit' | 'gap' | 'policyChanged' | 'sandboxStarted' | 'sandboxEnded' | 'response' | 'detection'
>

export interface SummaryBook {
  /** How many events the gaps that were added said are missing. */
  readonly lost: bigint
  readonly state: unknown
  add(event: IEvent): void
  close(end: SessionEnd & { durationMs: bigint; events: number; processes: number }): ISummary
}

/** Makes events out of the session's own. */
export interface Deriver {
  /** For an engine that goes on with the session. */
  readonly state: unknown
  /** Null: nothing comes of it, and it belongs to no tool call. */
  take(event: IEvent): SessionDerived | null
}

export interface SessionDerived {
  readonly toolCallId: string
  /** That stand behind the event, in this order. */
  readonly events: readonly {
    readonly uid: string
    readonly toolCallId: string
    readonly kind: Pick<IEvent, 'toolCall' | 'detection' | 'response'>
  }[]
}

export interface GapReport {
  readonly stage: Stage
  /** Of the events missing; empty: of any kind. */
  readonly kind: string
  readonly count: bigint
  readonly exact: boolean
  /** At most so many, where `count` is not exact; left out where nobody knows. */
  readonly countMax?: bigint
  readonly fromUnixNs: bigint
  readonly toUnixNs: bigint
  /** One sentence. */
  readonly cause: string
}

/** Where a session stands: another engine goes on with it behind `seq`. */
export interface SessionState {
  readonly id: string
  readonly sandbox: ISandbox
  /** Whose it is. */
  readonly ownerUid: number
  readonly startUnixNs: bigint
  readonly seq: bigint
  /** Given out so far. */
  readonly events: number
  readonly lastUnixNs: bigint
  readonly processes: number
  readonly exits: number
  /** Its last event was given out. */
  readonly ended: boolean
  /** Of the SummaryBook. */
  readonly summary: unknown
  /** Of the Deriver. */
  readonly derived: unknown
}

export interface SessionOptions {
  readonly schema: number
  readonly node: INode
  readonly summary: SummaryBook
  /** Null: nothing is derived. */
  readonly deriver: Deriver | null
  /** Called with every event, in order. */
  publish(event: IEvent): void
  /** A new session, or one that another engine began. */
  readonly begin:
    | {
        readonly id: string
        readonly sandbox: ISandbox
        readonly started: ISandboxStarted
        readonly ownerUid: number
        readonly startUnixNs: bigint
      }
    | { readonly goOn: SessionState }
}

/** Unique; sorts by when it begins. */
export function newSessionId(startUnixNs: bigint): string {
  return derivedUuid({ unixMs: startUnixNs / NS_PER_MS, parts: [randomBytes(16)] })
}

export class Session {
  readonly id: string
  readonly sandbox: ISandbox
  readonly ownerUid: number
  readonly startUnixNs: bigint
  private readonly options: SessionOptions
  private seq: bigint
  /** Events. As many as `seq` says, if none of them was lost with an engine. */
  private given: number
  private readonly begunAt: { readonly seq: bigint; readonly events: number }
  /** The last gap, and how many in turns said the same. */
  private sameGaps = { what: '', count: 0 }
  private readerHas: (event: IEvent) => boolean = () => false
  private lastUnixNs: bigint
  private ended: boolean
  /** Forks that were seen, and the first process. */
  private processes: number
  private exits: number

  constructor(options: SessionOptions) {
    this.options = options
    const { begin } = options
    const state = 'goOn' in begin ? begin.goOn : firstState(begin)
    this.id = state.id
    this.sandbox = state.sandbox
    this.ownerUid = state.ownerUid
    this.startUnixNs = state.startUnixNs
    this.seq = state.seq
    this.given = state.events
    this.begunAt = { seq: state.seq, events: state.events }
    this.lastUnixNs = state.lastUnixNs
    this.processes = state.processes
    this.exits = state.exits
    this.ended = state.ended
    if ('started' in begin) this.publish(this.own({ sandboxStarted: begin.started }, begin.startUnixNs))
  }

  get state(): SessionState {
    const { id, sandbox, ownerUid, startUnixNs, seq, given: events, lastUnixNs, processes, exits, ended } = this
    const { state: summary } = this.options.summary
    const derived = this.options.deriver?.state ?? null
    const counts = { seq, events, lastUnixNs, processes, exits }
    return { id, sandbox, ownerUid, startUnixNs, ...counts, ended, summary, derived }
  }

  get isOver(): boolean {
    return this.ended
  }

  /** Number of the last event. */
  get lastSeq(): bigint {
    return this.seq
  }

  /**
   * It has a reader again, which may have more than the engine knew that began it.
   *
   * @param has whether it has this event: then it is not given again
   */
  readBehind(lastSeq: bigint, has: (event: IEvent) => boolean): void {
    const { begunAt } = this
    this.given = begunAt.events + Number(lastSeq - begunAt.seq)
    // Numbers that were given are not given again.
    this.seq = lastSeq > begunAt.seq ? lastSeq : begunAt.seq
    this.readerHas = has
  }

  /** An event that was made before there was a reader, in its turn. False: the reader has it. */
  placeAgain(event: IEvent): boolean {
    if (this.readerHas(event)) return false
    this.number(event)
    return true
  }

  /** An event of the kernel, without place. */
  observe(event: IEvent): void {
    if (event.exit) {
      this.exits++
      this.clampRuntime(event)
    }
    this.publish(event)
  }

  /** As of now. `processes`: seen and not ended; too many where an exit was lost. */
  get counts(): { events: number; lost: bigint; processes: number } {
    return { events: this.given, lost: this.options.summary.lost, processes: Math.max(0, this.processes - this.exits) }
  }

  /** What somebody beside the kernel saw happen in this session. `parts` name it: the same again is the same event. */
  told(kind: Pick<IEvent, 'dns' | 'limitHit'>, of: { source: string; unixNs: bigint; parts: readonly string[] }): void {
    const event = this.own(kind, of.unixNs)
    const uid = derivedUuid({ unixMs: of.unixNs / NS_PER_MS, parts: [this.id, ...of.parts] })
    this.publish({ ...event, source: of.source, uid })
  }

  forked(): void {
    this.processes++
  }

  /** @param nowUnixNs when the gap was noticed */
  gap(report: GapReport, nowUnixNs: bigint): void {
    const gap: IGap = {
      stage: report.stage,
      kind: report.kind,
      count: fromBigInt(report.count),
      exact: report.exact,
      countMax: fromBigInt(report.exact ? report.count : (report.countMax ?? 0n)),
      fromUnixNs: fromBigInt(report.fromUnixNs),
      toUnixNs: fromBigInt(later(report.toUnixNs, report.fromUnixNs)),
      cause: report.cause,
    }
    const event = this.own({ gap }, later(nowUnixNs, this.lastUnixNs))
    this.publish({ ...event, uid: this.uidOfGap(report) })
  }

  /** An engine that goes on finds the same gap among the same facts, whatever its number is then. */
  private uidOfGap({ stage, kind, count, cause, fromUnixNs, toUnixNs }: GapReport): string {
    const parts = [this.id, 'gap', String(stage), kind, String(count), cause, String(fromUnixNs)]
    this.sameGaps = { what: parts.join(), count: parts.join() === this.sameGaps.what ? this.sameGaps.count + 1 : 0 }
    return derivedUuid({ unixMs: toUnixNs / NS_PER_MS, parts: [...parts, String(this.sameGaps.count)] })
  }

  /** The kernel holds the sandbox to it already. */
  policyChanged(change: IPolicyChanged, nowUnixNs: bigint): void {
    this.publish(this.own({ policyChanged: change }, later(nowUnixNs, this.lastUnixNs)))
  }

  /** What was done about it, or should have been. The event's uid; empty: the session is over. */
  responded(kind: Pick<IEvent, 'response' | 'detection'>, nowUnixNs: bigint): string {
    if (this.ended) return ''
    const event = this.own(kind, later(nowUnixNs, this.lastUnixNs))
    this.publish(event)
    return event.uid ?? ''
  }

  /** The last event. What comes after it is dropped. */
  end(end: SessionEnd, nowUnixNs: bigint): void {
    if (this.ended) return
    const at = later(nowUnixNs, this.lastUnixNs)
    const durationMs = (at - this.startUnixNs) / NS_PER_MS
    const ended = this.own({ sandboxEnded: {} }, at)
    // Calls end with the session at the latest, and it has the last word.
    const derived = this.options.deriver?.take(ended)
    this.giveDerived(ended, derived?.events ?? [])
    const events = this.given + 1
    const summary = this.options.summary.close({ ...end, durationMs, events, processes: this.processes })
    this.give({ ...ended, sandboxEnded: { summary } }, '')
    this.ended = true
  }

  /** The session's first process waited for it: that time is the launcher's, not the command's. */
  private clampRuntime(event: IEvent): void {
    if (!event.exit || toBigInt(event.process?.startTimeUnixNs) >= this.startUnixNs) return
    const runtimeNs = toBigInt(event.timeUnixNs) - this.startUnixNs
    event.exit.runtimeMs = fromBigInt(runtimeNs > 0n ? runtimeNs / NS_PER_MS : 0n)
  }

  private own(kind: OwnKind, unixNs: bigint): IEvent {
    // There is one end, whatever comes before it.
    const parts = [this.id, kind.sandboxEnded ? '' : String(this.seq + 1n), Object.keys(kind).join()]
    return {
      schema: this.options.schema,
      source: 'engine',
      node: this.options.node,
      uid: derivedUuid({ unixMs: unixNs / NS_PER_MS, parts }),
      timeUnixNs: fromBigInt(unixNs),
      ...kind,
    }
  }

  private publish(event: IEvent): void {
    if (this.ended) return
    const derived = this.options.deriver?.take(event) ?? null
    this.give(event, derived?.toolCallId ?? '')
    if (derived !== null) this.giveDerived(event, derived.events)
  }

  /** Each has its cause's time. */
  private giveDerived({ schema, node, timeUnixNs }: IEvent, events: SessionDerived['events']): void {
    for (const { uid, toolCallId, kind } of events) {
      const common = { schema: schema ?? 0, node: node ?? null, timeUnixNs: timeUnixNs ?? null }
      this.give({ ...common, source: 'engine', uid, ...kind }, toolCallId)
    }
  }

  private give(event: IEvent, toolCallId: string): void {
    const isNew = !this.readerHas(event)
    if (isNew) this.number(event)
    event.sandbox = this.sandbox
    event.sessionId = this.id
    event.toolCallId = toolCallId
    const at = toBigInt(event.timeUnixNs)
    if (at > this.lastUnixNs) this.lastUnixNs = at
    this.options.summary.add(event)
    if (isNew) this.options.publish(event)
  }

  private number(event: IEvent): void {
    this.seq++
    this.given++
    event.seq = fromBigInt(this.seq)
  }
}

function firstState(begin: { id: string; sandbox: ISandbox; ownerUid: number; startUnixNs: bigint }): SessionState {
  const { id, sandbox, ownerUid, startUnixNs } = begin
  return {
    id,
    sandbox,
    ownerUid,
    startUnixNs,
    seq: 0n,
    events: 0,
    lastUnixNs: startUnixNs,
    processes: 1,
    exits: 0,
    ended: false,
    summary: null,
    derived: null,
  }
}

/** Math.max takes no bigint. */
function later(a: bigint, b: bigint): bigint {
  return a < b ? b : a
}

/**
 * The way of a fact: batch → time order → process tree and enrichment → its session → whoever reads the session. No I/O and no clock
 * of its own, so that the same object can run on a recording, and one engine can go on where another one was. Guards that everything
 * that did not make it becomes a gap event in the sessions it may belong to. Not here: sockets (ingest.ts, control-api.ts), decisions.
 */
import {
  type IEvent,
  type IKernelEvent,
  type IRunResume,
  type ISandbox,
  type ISandboxStarted,
  type ISandboxState,
  KernelEvent,
  Stage,
  toBigInt,
} from '../proto/codec.js'
import { decodeDescriptor, encodeDescriptor } from './descriptor.js'
import { Enricher, EVENT_SCHEMA, type SensorIdentity } from './enrich.js'
import type { EventSlice, WalkedBatch } from './frame-walk.js'
import { GapsBehind } from './gaps-behind.js'
import { KIND_FORK, kindName } from './kernel-facts.js'
import type { SessionOf } from './live-detection.js'
import { LossLedger } from './loss-ledger.js'
import { type Missing, missingOf, partOf, sandboxGap, unknownGap } from './missing.js'
import type { PendingGap, PipelineState } from './pipeline-state.js'
import { PolicyVerdicts } from './policy-verdicts.js'
import type { Redactor } from './redact.js'
import { ReopenedSession } from './reopened-session.js'
import { Reorder } from './reorder.js'
import { SandboxLosses } from './sandbox-losses.js'
import { type Deriver, newSessionId, Session, type SessionEnd, type SessionState } from './session.js'
import { BEGINNING, StreamPosition } from './stream-position.js'
import { RunningSummary, type SummaryState } from './summary.js'

/** Everything that belongs to one stream of one sensor. */
interface Feed {
  readonly sensor: SensorIdentity
  readonly enricher: Enricher
  readonly losses: LossLedger
  readonly behind: GapsBehind
  readonly sandboxLosses: SandboxLosses
  readonly position: StreamPosition
}

export interface PipelineOptions {
  readonly redactor: Redactor
  nowUnixNs(): bigint
  readonly earlier?: PipelineState | null
  /** Makes what each session is looked at by, anew or with the state of one before; absent: nothing is derived. */
  readonly detection?: { deriver(of: SessionOf, goOn: unknown): Deriver }
}

export interface OpenSession {
  /** What the kernel calls the sandbox: the id of its root cgroup. */
  readonly cgroupId: bigint
  readonly sandbox: ISandbox
  readonly started: ISandboxStarted
  /** New if none is given. */
  readonly id?: string
  /** Root if none is given. */
  readonly ownerUid?: number
  publish(event: IEvent): void
}

export class Pipeline {
  readonly verdicts = new PolicyVerdicts()
  private readonly options: PipelineOptions
  private reorder: Reorder<EventSlice | PendingGap>
  /** By the cgroup id of the sandbox's root: a number, because every event is looked up here. */
  private readonly sessions = new Map<number, Session>()
  /** By session id: begun by an earlier engine, and their reader is not back yet. */
  private readonly reopened = new Map<string, ReopenedSession>()
  private feed: Feed | null = null
  /** Why the sensor is not connected, when it was. */
  private away: string | null = null
  /** Of an earlier engine, until its sensor is here. */
  private earlier: PipelineState | null
  /** Facts of sandboxes that have no session. */
  stray = 0
  /** Facts that could not be read. */
  undecodable = 0

  constructor(options: PipelineOptions) {
    this.options = options
    this.earlier = options.earlier ?? null
    this.reorder = this.newReorder()
  }

  /**
   * A sensor is here: the one that was, with the same stream, or another. Returns the number of the last batch that need not be sent
   * again. Sessions of `sandboxes` that nobody here knows are opened again.
   *
   * @param holds what the sensor has: its sandboxes, and batches from this one on
   */
  connected(sensor: SensorIdentity, holds: { sandboxes: readonly ISandboxState[]; firstBatchSeq: bigint }): bigint {
    this.away = null
    const { stream } = sensor
    if (this.feed !== null && stream !== '' && this.feed.sensor.stream === stream) return this.feed.position.committed
    if (this.feed !== null) this.lostSensor('another sensor has come, and does not know what the one before it saw')
    const earlier = stream !== '' && this.earlier?.position.stream === stream ? this.earlier : null
    this.earlier = null
    // Another boot has another clock.
    this.reorder = this.newReorder()
    this.feed = {
      sensor,
      enricher: new Enricher(sensor, this.options.redactor, this.verdicts),
      losses: new LossLedger(earlier?.losses),
      behind: new GapsBehind(),
      sandboxLosses: new SandboxLosses(earlier?.sandboxLosses),
      position: new StreamPosition(earlier?.position ?? { ...BEGINNING, stream }),
    }
    if (earlier !== null) this.goOn(earlier)
    const { committed } = this.feed.position
    for (const sandbox of holds.sandboxes) this.reopenDescribed(sandbox, holds.firstBatchSeq > committed + 1n)
    return committed
  }

  /** Ids of sessions that an earlier engine began and nobody reads yet. */
  get unread(): readonly string[] {
    return [...this.reopened.keys()]
  }

  /** The session of an earlier engine that nobody reads yet; null if there is no such. */
  reopenedSession(id: string): Session | null {
    const reopened = this.reopened.get(id)
    return (reopened && this.sessions.get(Number(reopened.cgroupId))) ?? null
  }

  /** As `reopenedSession`, by the sandbox. */
  reopenedIn(cgroupId: bigint): Session | null {
    const session = this.sessions.get(Number(cgroupId))
    return session !== undefined && this.reopened.has(session.id) ? session : null
  }

  /**
   * A session that an earlier engine began has a reader again. Null if there is no such session.
   *
   * @param has what it says that it has; null: it wants what was not given out yet
   */
  resume(
    id: string,
    has: IRunResume | null,
    publish: (event: IEvent) => void,
  ): { cgroupId: bigint; session: Session } | null {
    const reopened = this.reopened.get(id)
    const session = this.reopenedSession(id)
    if (session === null || reopened === undefined) return null
    this.reopened.delete(id)
    reopened.attach(session, has, this.options.nowUnixNs(), publish)
    return { cgroupId: reopened.cgroupId, session }
  }

  /** Whoever read this session does not come back. */
  giveUp(id: string): void {
    const reopened = this.reopened.get(id)
    const session = this.reopenedSession(id)
    this.reopened.delete(id)
    if (reopened !== undefined && session !== null) this.drop(reopened.cgroupId, session)
  }

  /** The sensor may come back with what it holds; sessions that end before that say what they may lack. */
  disconnected(why: string): void {
    this.away = why
  }

  /** Number of the last batch all of which was given to its sessions. */
  get committed(): bigint {
    return this.feed?.position.committed ?? 0n
  }

  /** Where this engine stands; null in the middle of a pass, or without a sensor. To be kept or sent at once. */
  get state(): PipelineState | null {
    const { feed } = this
    if (feed === null || !feed.position.settled) return null
    const held = this.reorder.items().flatMap((item) => ('gap' in item ? [] : [item]))
    return {
      position: feed.position.state(this.reorder.releasedNs),
      losses: feed.losses.state(held),
      sandboxLosses: feed.sandboxLosses.state,
      gaps: this.reorder.items().flatMap((item) => ('gap' in item ? [item] : [])),
      sessions: new Map([...this.sessions].map(([cgroupId, session]) => [cgroupId, session.state])),
    }
  }

  /** Processes whose begin may not have been seen here. */
  runs(processes: readonly IKernelEvent[]): void {
    for (const fact of processes) {
      if (this.sessions.has(Number(toBigInt(fact.sandbox)))) this.feed?.enricher.runs(fact)
    }
  }

  push(batch: WalkedBatch): void {
    const { feed } = this
    if (feed === null) return
    const { position } = feed
    if (batch.batchSeq <= position.batchSeq && position.stream !== '') {
      position.again++
      return
    }
    if (batch.bootToUnixNs !== 0n) position.bootToUnixNs = batch.bootToUnixNs
    if (position.wasTaken(batch.batchSeq)) {
      this.takeAgain(feed, batch)
      return
    }
    for (const missing of missingOf(batch, { last: position.batchSeq, losses: feed.losses })) {
      if (missing.isBehindUs) feed.behind.add(missing)
      else this.gapForAll(feed, batch.watermarkNs, missing)
    }
    this.gapsOfSandboxes(feed, batch)
    this.undecodable += batch.unreadable
    let newestNs = 0
    for (const event of batch.events) {
      if (event.timeNs > newestNs) newestNs = event.timeNs
      feed.behind.saw(event.timeNs)
      this.reorder.add(event)
    }
    position.took(batch.batchSeq, newestNs)
    // A batch without a watermark moves none.
    if (batch.watermarkNs <= position.watermarkNs) return
    this.tellBehind(feed, batch.watermarkNs)
    this.reorder.watermark(Number(batch.watermarkNs))
    position.passed(batch.watermarkNs, this.reorder.releasedNs)
  }

  /** A frame of which not even the kind could be read. */
  unreadable(reason: string): void {
    if (this.feed === null) return
    this.feed.losses.loseCount()
    this.gapForAll(this.feed, 0n, { stage: Stage.STAGE_DECODE, kind: '', count: 1n, exact: false, cause: reason })
  }

  private tellBehind(feed: Feed, watermarkNs: bigint): void {
    const { missing, untilNs } = feed.behind.take(watermarkNs)
    for (const each of missing) this.gapForAll(feed, untilNs, each)
  }

  /** The id of a session to be, and what the sensor is to keep of it for an engine that is started again. */
  plan(sandbox: ISandbox, ownerUid: number): { id: string; descriptor: Uint8Array } {
    const startUnixNs = this.options.nowUnixNs()
    const id = newSessionId(startUnixNs)
    return { id, descriptor: encodeDescriptor({ sessionId: id, startUnixNs, ownerUid, sandbox }) }
  }

  /** The sandbox is tagged, nothing has run in it yet. Null when no sensor is connected, or the id is taken or not exact as a number. */
  open(options: OpenSession): Session | null {
    const key = Number(options.cgroupId)
    if (this.feed === null || this.sessions.has(key) || !Number.isSafeInteger(key)) return null
    const { sandbox, started, publish, ownerUid = 0 } = options
    const startUnixNs = this.options.nowUnixNs()
    const id = options.id ?? newSessionId(startUnixNs)
    const session = new Session({
      ...{ schema: EVENT_SCHEMA, node: this.feed.enricher.node, summary: new RunningSummary(), publish },
      deriver: this.options.detection?.deriver(sessionOf(id, sandbox, ownerUid), null) ?? null,
      begin: {
        ...{ id, sandbox, ownerUid, startUnixNs },
        started: { ...started, command: this.options.redactor.redactArgs(started.command ?? []) },
      },
    })
    this.sessions.set(key, session)
    return session
  }

  /**
   * Everything of the sandbox has arrived: what is held comes out, then the end. Also for a session whose sensor is gone. It stays here
   * until it is dropped, so that an engine in our place would know it as long as its reader may come back.
   */
  close(cgroupId: bigint, session: Session, end: SessionEnd): void {
    const key = Number(cgroupId)
    if (this.sessions.get(key) === session) {
      this.reorder.flush(key)
      const hole = this.feed?.losses.hole ?? null
      if (hole !== null) this.gap(session, { ...unknownGap(hole) })
      if (this.away !== null) this.gapOfLostSensor(session, this.away)
    }
    session.end(end, this.options.nowUnixNs())
  }

  /** Nobody reads the session any more. */
  drop(cgroupId: bigint, session: Session): void {
    const key = Number(cgroupId)
    if (this.sessions.get(key) !== session) return
    this.sessions.delete(key)
    this.feed?.enricher.tree.forget(cgroupId)
    this.feed?.sandboxLosses.forget(key)
    this.verdicts.names.forget(cgroupId)
  }

  /** A part of what this sandbox did may be missing, for a reason that the sensor did not report. */
  gap(session: Session, missing: Pick<Missing, 'cause'> & Partial<Missing>): void {
    const toUnixNs = this.options.nowUnixNs()
    const fromUnixNs = this.lastSeenUnixNs(session)
    const stage = Stage.STAGE_UPLINK
    session.gap({ stage, kind: '', count: 1n, exact: false, ...missing, fromUnixNs, toUnixNs }, toUnixNs)
  }

  private newReorder(): Reorder<EventSlice | PendingGap> {
    return new Reorder((item) => this.place(item))
  }

  private goOn(earlier: PipelineState): void {
    this.reorder.goOnFrom(earlier.position.releasedNs)
    for (const [cgroupId, state] of earlier.sessions) this.reopen(BigInt(cgroupId), state, false)
    for (const gap of earlier.gaps) this.reorder.add(gap)
  }

  /** What the sensor was given to keep with a sandbox says whose it is. */
  private reopenDescribed(state: ISandboxState, uncertain: boolean): void {
    const cgroupId = toBigInt(state.cgroupId)
    if (this.sessions.has(Number(cgroupId))) return
    const described = decodeDescriptor(state.descriptor, { cgroupId, cgroupPath: state.cgroupPath ?? '' })
    if (described === null) return
    const { sessionId: id, startUnixNs, ownerUid, sandbox } = described
    // Its start was told; all else of it comes again, if it is not `uncertain`.
    const begun = {
      ...{ id, sandbox, ownerUid, startUnixNs, seq: 1n, lastUnixNs: startUnixNs },
      ...{ events: 1, processes: 1, exits: 0, ended: false },
    }
    this.reopen(cgroupId, { ...begun, summary: new RunningSummary().state, derived: null }, uncertain)
  }

  private reopen(cgroupId: bigint, goOn: SessionState, uncertain: boolean): void {
    const { feed } = this
    if (feed === null || !Number.isSafeInteger(Number(cgroupId))) return
    const reopened = new ReopenedSession({ cgroupId, uncertain, givenSeq: goOn.seq })
    const session = new Session({
      ...{ schema: EVENT_SCHEMA, node: feed.enricher.node, begin: { goOn } },
      // Ours, from our own state: whatever it is, it was a summary's.
      summary: new RunningSummary(goOn.summary as SummaryState),
      deriver: this.options.detection?.deriver(sessionOf(goOn.id, goOn.sandbox, goOn.ownerUid), goOn.derived) ?? null,
      publish: (event) => reopened.publish(event),
    })
    this.sessions.set(Number(cgroupId), session)
    this.reopened.set(goOn.id, reopened)
  }

  /** An earlier engine took this batch and gave out the older facts in it: these are only remembered. */
  private takeAgain(feed: Feed, batch: WalkedBatch): void {
    let newestNs = 0
    for (const event of batch.events) {
      if (event.timeNs > newestNs) newestNs = event.timeNs
      if (event.timeNs <= feed.position.givenOutNs) {
        this.remember(feed, event)
        continue
      }
      feed.losses.add(event.kind, BigInt(event.happened))
      this.reorder.add(event)
    }
    feed.position.took(batch.batchSeq, newestNs)
  }

  private remember(feed: Feed, slice: EventSlice): void {
    try {
      feed.enricher.event(KernelEvent.decode(slice.bytes), feed.position.bootToUnixNs)
    } catch {
      // It was told as a gap when it was taken for the first time.
    }
  }

  /** The sensor that knew of the open sessions does not come back. */
  private lostSensor(why: string): void {
    this.reorder.flushAll()
    for (const session of this.sessions.values()) this.gapOfLostSensor(session, why)
  }

  /** At least the end of each session's command is missing. */
  private gapOfLostSensor(session: Session, why: string): void {
    this.gap(session, { cause: `${why}; what happened after the last event, and all that follows, is not seen` })
  }

  private lastSeenUnixNs(session: Session): bigint {
    const position = this.feed?.position
    const last =
      position === undefined || position.watermarkNs === 0n ? 0n : position.watermarkNs + position.bootToUnixNs
    return later(last, session.startUnixNs)
  }

  /**
   * What is counted for the whole node: with several sandboxes nobody can say whose it is.
   *
   * @param untilNs CLOCK_BOOTTIME by which all of it had happened
   */
  private gapForAll(feed: Feed, untilNs: bigint, missing: Missing): void {
    const open = [...this.sessions].filter(([, session]) => !session.isOver)
    const shared = open.length > 1
    const cause = shared ? `${missing.cause}; counted for all ${open.length} sandboxes of this node` : missing.cause
    const gap = { ...(shared ? partOf(missing) : missing), cause }
    for (const [sandbox] of open) this.gapFor(feed, untilNs, sandbox, gap)
  }

  /** What the kernel counted for a sandbox is its own. */
  private gapsOfSandboxes(feed: Feed, { counters, sandboxLosses: losses, watermarkNs }: WalkedBatch): void {
    const lost = feed.sandboxLosses.report({ counters, losses })
    for (const loss of lost) this.gapFor(feed, watermarkNs, loss.sandbox, sandboxGap(loss))
  }

  private gapFor(feed: Feed, untilNs: bigint, sandbox: number, missing: Missing): void {
    const session = this.sessions.get(sandbox)
    if (session === undefined) return
    const timeNs = later(untilNs, feed.position.watermarkNs)
    const fromUnixNs = this.lastSeenUnixNs(session)
    const toUnixNs = later(timeNs + feed.position.bootToUnixNs, fromUnixNs)
    this.reorder.add({ timeNs: Number(timeNs), sandbox, gap: { ...missing, fromUnixNs, toUnixNs } })
  }

  private place(item: EventSlice | PendingGap): void {
    const session = this.sessions.get(item.sandbox)
    if (this.feed === null || session === undefined) {
      this.stray++
    } else if ('gap' in item) {
      session.gap(item.gap, item.gap.toUnixNs)
    } else {
      this.enrich(this.feed, session, item)
    }
  }

  private enrich(feed: Feed, session: Session, slice: EventSlice): void {
    const { bootToUnixNs } = feed.position
    let event: IEvent | null = null
    let problem = 'the fact is of a kind that this engine does not know'
    try {
      const fact = KernelEvent.decode(slice.bytes)
      for (const answer of feed.enricher.answers(fact, bootToUnixNs)) session.observe(answer)
      if (fact.dns) return
      event = feed.enricher.event(fact, bootToUnixNs)
      if (slice.kind === KIND_FORK) {
        session.forked()
        return
      }
    } catch (error) {
      problem = `the fact could not be decoded: ${error instanceof Error ? error.message : 'unknown'}`
    }
    if (event !== null) return void session.observe(event)
    this.undecodable++
    const at = BigInt(slice.timeNs) + bootToUnixNs
    const kind = kindName(slice.kind)
    const stage = Stage.STAGE_DECODE
    session.gap({ stage, kind, count: 1n, exact: true, fromUnixNs: at, toUnixNs: at, cause: problem }, at)
  }
}

/** Math.max takes no bigint. */
function later(a: bigint, b: bigint): bigint {
  return a < b ? b : a
}

function sessionOf(sessionId: string, sandbox: ISandbox, ownerUid: number): SessionOf {
  return { sessionId, sandboxId: sandbox.id ?? '', agent: sandbox.agent ?? '', ownerUid }
}

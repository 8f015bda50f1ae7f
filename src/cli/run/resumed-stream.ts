/**
 * The events of one session, over as many engines as it takes. Guards that the engine hears what has arrived, so that it may forget it,
 * and that the next engine goes on behind that. Not here: deadlines.
 */
import { messageOf } from '../../base/error.js'
import { fromBigInt, type IRunEnd, type IRunStart, type IRunStarted } from '../../proto/codec.js'
import type { RunCall } from '../../proto/rpc.js'
import { StreamPlace } from './stream-place.js'

/** How long the engine may go without hearing what has arrived: it keeps all that until then. */
const SEEN_MS = 20
/** Engines in a row that may not take the session up before it is given up. */
const RESUMES_MAX = 5

/** `lost`: the engine went away or went silent, so that its own word on what is missing is missing too. */
export interface StreamProblem {
  readonly cause: string
  readonly lost: boolean
}

export interface StreamParts {
  readonly call: RunCall
  readonly start: IRunStart
  /** Gets encoded events in the order of the stream and holds the stream back while it works; must not reject. */
  consume(events: readonly Buffer[]): Promise<void>
  /** The engine is gone: a call to the one in its place, or null if there is none. Must not reject. */
  reconnect?(): Promise<RunCall | null>
}

export class ResumedStream {
  /** Resolves when no more will come: null, or what is missing. Never rejects. */
  readonly over: Promise<StreamProblem | null>
  lastMessageAt = performance.now()
  private readonly parts: StreamParts
  private readonly onStarted: (started: IRunStarted) => void
  private call: RunCall
  /** `call` has said that it has the session: an engine takes an end once, and only then. */
  private isTaken = false
  private sessionId: string | null = null
  private readonly place = new StreamPlace()
  private ending: IRunEnd | null = null
  private seenTimer: NodeJS.Timeout | null = null

  constructor(parts: StreamParts, onStarted: (started: IRunStarted) => void) {
    this.parts = parts
    this.onStarted = onStarted
    this.call = parts.call
    this.over = this.pumpAll()
    this.call.send({ start: parts.start })
  }

  end(end: IRunEnd): void {
    this.ending = end
    this.lastMessageAt = performance.now()
    if (this.isTaken) this.call.send({ end })
  }

  cancel(): void {
    this.call.cancel()
  }

  private async pumpAll(): Promise<StreamProblem | null> {
    for (let left = RESUMES_MAX; ; left -= 1) {
      const problem = await this.pump()
      if (this.isTaken) left = RESUMES_MAX
      const next = problem?.lost && left > 0 ? await this.nextCall() : null
      if (next === null) {
        if (this.seenTimer !== null) clearTimeout(this.seenTimer)
        return problem
      }
      this.call = next
      this.isTaken = false
      next.send({ resume: { sessionId: this.sessionId ?? '', ...this.place.resume } })
    }
  }

  /** Only a session that has begun can go on. */
  private async nextCall(): Promise<RunCall | null> {
    return this.sessionId === null ? null : ((await this.parts.reconnect?.()) ?? null)
  }

  /** One engine's part. */
  private async pump(): Promise<StreamProblem | null> {
    let ended: { problem: StreamProblem | null } | null = null
    try {
      for await (const message of this.call.messages) {
        this.lastMessageAt = performance.now()
        if (message.started) this.started(message.started)
        if (message.events) await this.take(message.events)
        this.lastMessageAt = performance.now()
        if (!message.ended) continue
        // The engine waits for this, and our side closes when the loop goes on.
        this.saySeen()
        const cause = message.ended.problem ?? ''
        ended = { problem: cause === '' ? null : { cause, lost: false } }
      }
    } catch (error) {
      ended ??= { problem: { cause: `the engine is gone (${messageOf(error)})`, lost: true } }
    }
    return ended === null ? { cause: 'the engine ended the stream early', lost: true } : ended.problem
  }

  private started(started: IRunStarted): void {
    this.isTaken = true
    // What the engine before this one may not have heard.
    if (this.ending !== null) this.call.send({ end: this.ending })
    this.sessionId = started.sessionId ?? ''
    this.onStarted(started)
  }

  private async take(events: readonly Buffer[]): Promise<void> {
    await this.parts.consume(events)
    this.place.has(events)
    this.seenTimer ??= setTimeout(() => this.saySeen(), SEEN_MS)
  }

  private saySeen(): void {
    if (this.seenTimer !== null) clearTimeout(this.seenTimer)
    this.seenTimer = null
    this.call.send({ seen: { seq: fromBigInt(this.place.lastSeq) } })
  }
}

/**
 * The journals of an engine's sessions. Guards that what a sensor may forget is in them, that they never hold up what they record, and that
 * only what is settled is vouched for: events that the next engine would give out again are not. Not here: one session's journal.
 */

import { join } from 'node:path'
import type { Log } from '../../base/log.js'
import type { IEvent } from '../../proto/codec.js'
import type { Checkpoint, SignedCheckpoint } from '../../proto/journal/checkpoint.js'
import { isSessionId } from '../../proto/journal/journal-format.js'
import type { JournalKey } from './journal-keys.js'
import { RecordEncoder } from './journal-record.js'
import { JournaledSession } from './journaled-session.js'
import type { NodeIndex } from './node-index.js'
import type { Place } from './recover.js'

const TICK_MS = 1_000
/** Of an ended session that no sensor is there to settle. */
const SEAL_MS = 40_000
/** One that nothing comes for is closed, and opened again where something does. */
const IDLE_MS = 600_000
export const SESSIONS_MAX = 8_192

export interface JournalOptions {
  /** One folder a session in it. */
  readonly folder: string
  readonly key: JournalKey
  readonly log: Log
  /** Whether another engine may go on where this one was. Then `passedOn` says what is settled; else all is. */
  readonly isResumable: boolean
  readonly segmentBytes?: number
  /** Where sessions are listed; null: nowhere. */
  readonly index?: NodeIndex | null
  nowUnixNs(): bigint
  nowMs?(): number
  onCheckpoint?(signed: SignedCheckpoint, said: Checkpoint): void
}

export interface JournalNumbers {
  readonly events: number
  readonly lost: number
  readonly checkpoints: number
  readonly faults: number
}

export class Journal {
  private readonly options: JournalOptions
  private readonly encoder = new RecordEncoder()
  private readonly sessions = new Map<string, JournaledSession>()
  private changed = new Set<JournaledSession>()
  /** Written, and not settled yet. */
  private unsettled = new Set<JournaledSession>()
  private readonly timer: NodeJS.Timeout
  /** Events that are in no journal, of sessions that are over. */
  private lostBefore = 0n
  private stopped = false
  /** Given to sessions' journals. */
  private given = 0
  private signed = 0
  private failed = 0

  constructor(options: JournalOptions) {
    this.options = options
    this.timer = setInterval(() => this.tick(), TICK_MS)
    this.timer.unref()
  }

  /** Events that are in no journal. */
  get lost(): bigint {
    let lost = this.lostBefore
    for (const session of this.sessions.values()) lost += session.lost
    return lost
  }

  /** Since this engine began: what it took, what is in no journal, what it signed, and how often a disk took nothing or a session could not go on. */
  get numbers(): JournalNumbers {
    return { events: this.given, lost: Number(this.lost), checkpoints: this.signed, faults: this.failed }
  }

  /** Why some session's history is not written; null: all are. */
  get problem(): string | null {
    for (const { problem } of this.sessions.values()) if (problem !== null) return problem
    return null
  }

  has(sessionId: string): boolean {
    return this.sessions.has(sessionId)
  }

  append(event: IEvent): void {
    if (this.stopped) return
    const session = this.sessionOf(event.sessionId ?? '')
    if (session === null) {
      this.lostBefore++
      return
    }
    session.append(event)
    this.given++
    this.changed.add(session)
  }

  /** What was appended survives us, if not the machine. Before anybody else is told. */
  flush(): void {
    if (this.changed.size === 0) return
    const { changed } = this
    this.changed = new Set()
    for (const session of changed) {
      session.flush()
      if ((session.place?.records ?? 0n) > 0n) this.options.index?.begun(session.sessionId)
      if (this.options.isResumable) this.unsettled.add(session)
      else this.settle(session, session.place)
    }
  }

  /** What is in the journals now. `kept`: no engine gives it out again. */
  passedOn(): { kept(): void } {
    this.flush()
    const { unsettled } = this
    this.unsettled = new Set()
    const places = [...unsettled].map((session) => ({ session, place: session.place }))
    return {
      kept: () => {
        for (const { session, place } of places) this.settle(session, place)
      },
    }
  }

  /** Nothing is appended any more. */
  stop(): void {
    this.stopped = true
    clearInterval(this.timer)
    for (const session of [...this.sessions.values()]) this.forget(session)
  }

  private sessionOf(id: string): JournaledSession | null {
    const known = this.sessions.get(id)
    if (known !== undefined) return known
    if (!isSessionId(id) || this.sessions.size >= SESSIONS_MAX) return null
    const { folder, key, log, segmentBytes, nowUnixNs, nowMs = () => performance.now() } = this.options
    const { onCheckpoint, index = null } = this.options
    const session = new JournaledSession(id, {
      ...{ folder: join(folder, id), encoder: this.encoder, key, nowUnixNs, nowMs },
      ...(segmentBytes === undefined ? {} : { segmentBytes }),
      onFault: (sessionId, problem) => {
        if (problem !== null) this.failed++
        if (problem === null) log.info({ session: sessionId }, 'the journal is written again')
        else log.error({ session: sessionId, problem }, 'the journal lacks something')
      },
      onCheckpoint: (signed, said) => {
        this.signed++
        onCheckpoint?.(signed, said)
        if (said.isSeal) index?.sealed(id, { records: said.records, head: said.head })
      },
      indexReference: (sessionId) => index?.reference(sessionId) ?? null,
    })
    this.sessions.set(id, session)
    return session
  }

  private settle(session: JournaledSession, place: Place | null): void {
    if (place !== null) session.settle(place)
    if (session.isSealed) this.forget(session)
  }

  private forget(session: JournaledSession): void {
    session.close()
    this.lostBefore += session.lost
    this.sessions.delete(session.sessionId)
    this.changed.delete(session)
    this.unsettled.delete(session)
    this.options.index?.forget(session.sessionId)
  }

  private tick(): void {
    this.flush()
    const now = (this.options.nowMs ?? (() => performance.now()))()
    for (const session of [...this.sessions.values()]) {
      if (session.endedMs !== null && now - session.endedMs > SEAL_MS) this.settle(session, session.place)
      else session.vouchIfDue()
      if (session.isSealed || now - session.lastMs > IDLE_MS) this.forget(session)
    }
  }
}

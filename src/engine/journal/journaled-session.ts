/**
 * One session on its way into its journal. Guards that numbers follow each other or a gap says why not, that a disk which takes nothing
 * costs events that are counted and told and nothing else, and that only what no engine will give out again is vouched for. Not here: files
 * (session-journal.ts), keys, and when (journal.ts).
 */
import { reasonOf, SluiceError } from '../../base/error.js'
import { type IEvent, toBigInt } from '../../proto/codec.js'
import {
  type Checkpoint,
  type IndexReference,
  type SignedCheckpoint,
  signCheckpoint,
} from '../../proto/journal/checkpoint.js'
import { RECORD } from '../../proto/journal/journal-format.js'
import { journalGap, MissingEvents } from './journal-gap.js'
import type { JournalKey } from './journal-keys.js'
import type { RecordEncoder } from './journal-record.js'
import type { Place } from './recover.js'
import { SessionJournal } from './session-journal.js'

/** Between two attempts at a disk that took nothing. */
export const RETRY_MS = 1_000
export const CHECKPOINT_RECORDS = 1_000n
export const CHECKPOINT_MS = 10_000

export interface JournaledSessionParts {
  readonly folder: string
  readonly encoder: RecordEncoder
  readonly key: JournalKey
  readonly segmentBytes?: number
  nowUnixNs(): bigint
  /** Of a monotonic clock. */
  nowMs(): number
  /** The disk takes nothing; null: it does again. */
  onFault(sessionId: string, cause: string | null): void
  onCheckpoint(signed: SignedCheckpoint, said: Checkpoint): void
  /** Of the node's index, for a checkpoint. */
  indexReference(sessionId: string): IndexReference | null
}

export class JournaledSession {
  readonly sessionId: string
  private readonly parts: JournaledSessionParts
  private journal: SessionJournal | null = null
  /** Put into the journal since the last flush: what is missing if it fails. */
  private waiting: IEvent[] = []
  private missing: MissingEvents | null = null
  private retryMs = 0
  private isFirst = true
  /** Nothing is ever appended to it. */
  private refused = false
  /** What no engine gives out again. */
  private settled: Place | null = null
  private checkpointMs: number
  private of: IEvent | null = null
  endedMs: number | null = null
  lastMs: number
  /** Events that are in no journal. */
  lost = 0n

  constructor(sessionId: string, parts: JournaledSessionParts) {
    this.sessionId = sessionId
    this.parts = parts
    this.checkpointMs = parts.nowMs()
    this.lastMs = this.checkpointMs
  }

  get isSealed(): boolean {
    return this.journal?.isSealed ?? false
  }

  /** Why it lacks events, until it is written again. */
  get problem(): string | null {
    return this.missing?.cause ?? null
  }

  /** All that was appended; null: nothing. Only right behind a flush. */
  get place(): Place | null {
    return this.journal?.at ?? null
  }

  append(event: IEvent): void {
    this.lastMs = this.parts.nowMs()
    this.of = event
    if (event.sandboxEnded) this.endedMs = this.lastMs
    if (this.refused || (this.missing !== null && this.lastMs < this.retryMs)) {
      this.miss(event)
      return
    }
    const content = this.encoded(event)
    if (content === null) return
    try {
      this.put(this.opened(), event, content)
    } catch (error) {
      this.fail(error, [...this.waiting, event])
    }
  }

  flush(): void {
    if (this.waiting.length === 0) return
    try {
      this.journal?.flush()
      if (this.missing !== null) this.parts.onFault(this.sessionId, null)
      this.missing = null
      this.waiting = []
    } catch (error) {
      this.fail(error, this.waiting)
    }
  }

  /** All up to `place` is for good. */
  settle(place: Place): void {
    this.settled = place
    this.vouchIfDue()
  }

  vouchIfDue(): void {
    const { settled, journal } = this
    if (settled === null || journal === null || journal.isSealed) return
    const isSeal = this.endedMs !== null && settled.records === journal.at.records && this.missing === null
    const more = settled.records - (journal.checkpoint?.place.records ?? 0n)
    const now = this.parts.nowMs()
    const isDue = more >= CHECKPOINT_RECORDS || (more > 0n && now - this.checkpointMs >= CHECKPOINT_MS)
    if (isSeal || isDue) this.vouch(settled, isSeal)
  }

  /** To the disk, with a signature over what is settled. What has ended is. */
  close(): void {
    this.flush()
    const { journal } = this
    if (journal === null) return
    if (this.endedMs !== null) this.settled = journal.at
    const { settled } = this
    const isWhole = this.endedMs !== null && this.missing === null && settled?.records === journal.at.records
    const hasMore = settled !== null && settled.records > (journal.checkpoint?.place.records ?? 0n)
    if (!journal.isSealed && settled !== null && (isWhole || hasMore)) this.vouch(settled, isWhole)
    const done = () => {
      try {
        journal.close()
      } catch (error) {
        this.parts.onFault(this.sessionId, `it could not be closed: ${reasonOf(error)}`)
      }
    }
    journal.sync().then(done, done)
    this.journal = null
  }

  private opened(): SessionJournal {
    if (this.journal !== null) return this.journal
    const journal = this.recovered()
    if (journal.isSealed) {
      journal.close()
      this.refused = true
      throw new SluiceError('PROTOCOL', 'the journal was sealed already')
    }
    this.journal = journal
    return journal
  }

  private recovered(): SessionJournal {
    const { folder, segmentBytes } = this.parts
    const { sessionId } = this
    try {
      return new SessionJournal({ folder, sessionId, ...(segmentBytes === undefined ? {} : { segmentBytes }) })
    } catch (error) {
      // Trying again would not help.
      this.refused = error instanceof SluiceError && error.code === 'PROTOCOL'
      throw error
    }
  }

  private put(journal: SessionJournal, event: IEvent, content: Buffer): void {
    if (this.isFirst) this.goOn(journal, this.missing?.first ?? event)
    this.isFirst = false
    if (this.missing !== null && this.waiting.length === 0) this.record(journal, this.missing.event)
    this.follow(journal, event)
    journal.append(RECORD.EVENT, content, event)
    this.waiting.push(event)
    if (journal.isFull) this.flush()
  }

  /** Null: it was counted. */
  private encoded(event: IEvent): Buffer | null {
    try {
      return this.parts.encoder.encode(event)
    } catch (error) {
      this.flush()
      this.missing ??= new MissingEvents(event, reasonOf(error))
      this.miss(event)
      this.retryMs = this.lastMs
      return null
    }
  }

  /** Behind an engine that died: what it wrote and had not told its readers for good comes again. */
  private goOn(journal: SessionJournal, event: IEvent): void {
    journal.cutBehind(toBigInt(event.seq) - 1n)
    if (journal.cut === null) return
    const { bytes, cause } = journal.cut
    const missing = toBigInt(event.seq) - journal.at.lastSeq - 1n
    const count = missing > 0n ? missing : 0n
    this.gap(journal, event, {
      count,
      cause: `the last ${bytes} bytes were cut when the engine came back: ${cause}`,
    })
  }

  private follow(journal: SessionJournal, event: IEvent): void {
    const missing = toBigInt(event.seq) - journal.at.lastSeq - 1n
    if (missing > 0n) this.gap(journal, event, { count: missing, cause: 'an engine died before it had written them' })
    else if (missing < 0n)
      this.gap(journal, event, { count: 0n, cause: 'an engine that knew nothing of these numbers gave them anew' })
  }

  private gap(journal: SessionJournal, event: IEvent, { count, cause }: { count: bigint; cause: string }): void {
    const at = toBigInt(event.timeUnixNs)
    const lastSeq = toBigInt(event.seq) - 1n
    const gap = { count, exact: count > 0n, lastSeq, fromUnixNs: at, toUnixNs: at, cause }
    this.record(journal, journalGap(event, gap))
  }

  private record(journal: SessionJournal, gap: IEvent): void {
    journal.append(RECORD.GAP, this.parts.encoder.encode(gap), gap)
  }

  private miss(event: IEvent): void {
    this.missing ??= new MissingEvents(event, 'the journal could not be gone on with')
    this.missing.add(event)
    this.lost++
  }

  private fail(error: unknown, events: readonly IEvent[]): void {
    const cause = `the journal could not be written: ${reasonOf(error)}`
    if (this.missing === null) this.parts.onFault(this.sessionId, cause)
    const [first] = events
    if (first !== undefined) this.missing ??= new MissingEvents(first, cause)
    for (const event of events) this.miss(event)
    this.waiting = []
    this.journal?.discard()
    this.retryMs = this.parts.nowMs() + RETRY_MS
  }

  private vouch(place: Place, isSeal: boolean): void {
    const { journal, of, parts } = this
    if (journal === null || of === null) return
    const before = journal.checkpoint
    const said: Checkpoint = {
      ...{ sessionId: this.sessionId, number: (before?.number ?? 0) + 1, records: place.records },
      ...{ lastSeq: place.lastSeq, head: place.head.toString('hex'), timeUnixNs: parts.nowUnixNs() },
      node: { name: of.node?.name ?? '', bootId: of.node?.bootId ?? '' },
      ...{ policyHash: place.policyHash, lost: place.lost, isSeal, previous: before?.bodyHash ?? '' },
      index: parts.indexReference(this.sessionId),
      keyId: parts.key.keyId,
    }
    const signed = signCheckpoint(said, parts.key.privateKey)
    this.checkpointMs = parts.nowMs()
    try {
      journal.vouch(signed, place, isSeal)
    } catch (error) {
      this.parts.onFault(this.sessionId, `a checkpoint could not be written: ${reasonOf(error)}`)
      return
    }
    journal
      .sync()
      .catch((error: unknown) => parts.onFault(this.sessionId, `it could not be synced: ${reasonOf(error)}`))
    parts.onCheckpoint(signed, said)
  }
}

/**
 * Whether a session's journal is what was written: chain, signatures, numbers, and what a witness holds against it. Guards that SEALED is said
 * only of a journal that is whole, that what no checkpoint vouches for is never called proved, and that the first record which does not
 * fit is named. Needs the files and the public keys, nothing else.
 */
import { messageOf } from '../../base/error.js'
import { Event, type IEvent, toBigInt } from '../codec.js'
import { type Checkpoint, openCheckpoint, type SignedCheckpoint } from './checkpoint.js'
import { type ChainPlace, RECORD } from './journal-format.js'
import type { IndexedSeal } from './node-index.js'
import { segmentName } from './segment-files.js'
import { bodyHash, type Keys } from './signed-text.js'
import { type FilePlace, type JournalItem, type JournalProblem, walkJournal } from './walk-journal.js'

/** Ends of blocks that no checkpoint has vouched for yet, at one time. A writer makes one every 1,000 records. */
const OPEN_BLOCKS_MAX = 200_000

export interface JournalReport {
  readonly sessionId: string
  readonly state: 'SEALED' | 'OPEN' | 'BAD'
  /** That fit. */
  readonly records: bigint
  /** Number of the last event among them. */
  readonly lastSeq: bigint
  /** Records that a signature vouches for. */
  readonly proved: bigint
  readonly provedSeq: bigint
  readonly checkpoints: number
  /** Of the last checkpoint; 0: there is none. */
  readonly provedUnixNs: bigint
  /** Of a block that was begun and not ended. */
  readonly tornBytes: number
  /** That its gaps say are missing. */
  readonly lost: bigint
  /** Of those that signed. */
  readonly keyIds: readonly string[]
  /** Checkpoints of a witness that fit; null: there was none to ask. */
  readonly witnessed: number | null
  readonly problem: JournalProblem | null
}

export interface VerifyOptions {
  readonly folder: string
  readonly sessionId: string
  readonly keys: Keys
  /** Checkpoints that were kept elsewhere, of any session; null: there are none. */
  readonly witness?: readonly SignedCheckpoint[] | null
  /** What the node's index says of its end; null: nothing. */
  readonly sealed?: IndexedSeal | null
  /** Every event, once the chain holds so far. */
  onEvent?(event: IEvent): void
  /** Every checkpoint that fits. */
  onCheckpoint?(checkpoint: Checkpoint): void
}

/** Where a block ends. */
interface Mark {
  readonly head: string
  readonly lastSeq: bigint
  readonly lost: bigint
}

/** Throws IO for a folder that can't be read. */
export function verifyJournal(options: VerifyOptions): JournalReport {
  const verification = new Verification(options)
  for (const item of walkJournal(options.folder, options.sessionId)) if (!verification.take(item)) break
  return verification.report()
}

class Verification {
  private readonly options: VerifyOptions
  private records = 0n
  private lastSeq = 0n
  private lost = 0n
  private tornBytes = 0
  private checkpoints = 0
  private proved: Checkpoint | null = null
  private previous = ''
  private readonly keyIds = new Set<string>()
  /** By the number of records, behind the last checkpoint. */
  private marks = new Map<bigint, Mark>()
  private problem: JournalProblem | null = null
  private readonly held: Checkpoint[]
  private witnessed = 0
  private at: FilePlace = { segment: 1, offset: 0 }

  constructor(options: VerifyOptions) {
    this.options = options
    this.held = (options.witness ?? [])
      .map((signed) => openCheckpoint(signed, options.keys))
      .filter((opened) => typeof opened !== 'string')
      .filter(({ sessionId }) => sessionId === options.sessionId)
  }

  /** False: nothing behind it can be believed. */
  take(item: JournalItem): boolean {
    if (item.kind === 'bad') {
      this.problem = item.problem
      return false
    }
    this.at = item.at
    if (this.proved?.isSeal) return this.bad(this.records + 1n, 'something follows the seal')
    switch (item.kind) {
      case 'record':
        return this.takeRecord(item.record.type, item.record.content, item.number)
      case 'blockEnd':
        return this.endBlock(item.place)
      case 'checkpoint':
        return this.takeCheckpoint(item.signed)
      case 'torn':
        this.tornBytes = item.bytes
        return true
    }
  }

  report(): JournalReport {
    if (this.problem === null) this.askWitness()
    if (this.problem === null) this.askIndex()
    const { problem, proved } = this
    return {
      sessionId: this.options.sessionId,
      state: problem !== null ? 'BAD' : proved?.isSeal ? 'SEALED' : 'OPEN',
      ...{ records: this.records, lastSeq: this.lastSeq, lost: this.lost, tornBytes: this.tornBytes },
      ...{ proved: proved?.records ?? 0n, provedSeq: proved?.lastSeq ?? 0n, provedUnixNs: proved?.timeUnixNs ?? 0n },
      ...{ checkpoints: this.checkpoints, keyIds: [...this.keyIds], problem },
      witnessed: this.options.witness == null ? null : this.witnessed,
    }
  }

  private bad(record: bigint, reason: string): false {
    const { segment, offset } = this.at
    this.problem ??= { record, file: segmentName(segment), offset, reason }
    return false
  }

  private takeRecord(type: number, content: Buffer, number: bigint): boolean {
    if (type !== RECORD.EVENT && type !== RECORD.GAP) return this.bad(number, `it is of no known type (${type})`)
    let event: IEvent
    try {
      event = Event.decode(content)
    } catch (error) {
      return this.bad(number, `it is no event: ${messageOf(error)}`)
    }
    if (event.sessionId !== this.options.sessionId) {
      return this.bad(number, `it is an event of the session ${String(event.sessionId).slice(0, 64)}`)
    }
    const seq = toBigInt(event.seq)
    if (type === RECORD.EVENT && seq !== this.lastSeq + 1n) {
      return this.bad(number, `it is event ${seq} of the session, behind event ${this.lastSeq}`)
    }
    if (type === RECORD.GAP && !event.gap) return this.bad(number, 'it is to be a gap and is none')
    this.lastSeq = seq
    if (event.gap) this.lost += toBigInt(event.gap.count)
    this.records = number
    this.options.onEvent?.(event)
    return true
  }

  private endBlock({ records, head }: ChainPlace): boolean {
    if (this.marks.size >= OPEN_BLOCKS_MAX) return this.bad(records, 'too many blocks follow without a checkpoint')
    const hex = head.toString('hex')
    this.marks.set(records, { head: hex, lastSeq: this.lastSeq, lost: this.lost })
    for (const held of this.held) {
      if (held.records !== records) continue
      if (held.head !== hex) return this.otherThanWitnessed(held)
      this.witnessed++
    }
    return true
  }

  private otherThanWitnessed({ number, records }: Checkpoint): false {
    const from = (this.proved?.records ?? 0n) + 1n
    return this.bad(from, `records ${from} to ${records} are not those of checkpoint ${number} that the witness holds`)
  }

  private takeCheckpoint(signed: SignedCheckpoint): boolean {
    const next = this.checkpoints + 1
    const from = (this.proved?.records ?? 0n) + 1n
    const opened = openCheckpoint(signed, this.options.keys)
    if (typeof opened === 'string') return this.bad(from, `checkpoint ${next} ${opened}`)
    if (opened.sessionId !== this.options.sessionId) {
      return this.bad(from, `checkpoint ${next} is one of the session ${opened.sessionId}`)
    }
    if (opened.number !== next || opened.previous !== this.previous) {
      return this.bad(from, `checkpoint ${opened.number} stands where checkpoint ${next} was`)
    }
    const mark = this.marks.get(opened.records) ?? (opened.records === from - 1n ? this.provedMark() : undefined)
    if (opened.records > this.records) {
      return this.bad(this.records + 1n, `it is missing: checkpoint ${next} vouches for ${opened.records} records`)
    }
    if (mark === undefined) {
      return this.bad(from, `checkpoint ${next} vouches for ${opened.records} records, which are not here`)
    }
    if (mark.head !== opened.head || mark.lastSeq !== opened.lastSeq || mark.lost !== opened.lost) {
      return this.bad(from, `records ${from} to ${opened.records} are not those that checkpoint ${next} vouches for`)
    }
    if (opened.isSeal && opened.records !== this.records) {
      return this.bad(opened.records + 1n, 'the seal vouches for fewer records than there are')
    }
    for (const records of this.marks.keys()) if (records <= opened.records) this.marks.delete(records)
    this.checkpoints = next
    this.proved = opened
    this.previous = bodyHash(signed.body)
    this.keyIds.add(opened.keyId)
    this.options.onCheckpoint?.(opened)
    return true
  }

  /** Of the last checkpoint: another one may vouch for the same again, as a seal does. */
  private provedMark(): Mark | undefined {
    const { proved } = this
    return proved === null ? undefined : { head: proved.head, lastSeq: proved.lastSeq, lost: proved.lost }
  }

  private askWitness(): void {
    const beyond = this.held
      .filter(({ records }) => records > this.records)
      .sort((a, b) => (a.records < b.records ? -1 : 1))
    const [first] = beyond
    if (first !== undefined) {
      const ends = this.records === 0n ? 'is empty' : `ends with record ${this.records}`
      const reason = `the witness holds checkpoint ${first.number} over ${first.records} records, and the journal ${ends}`
      this.bad(this.records + 1n, reason)
    }
    if (this.held.some(({ isSeal }) => isSeal) && !this.proved?.isSeal) {
      this.bad(this.records + 1n, 'the witness holds the seal of this session, and the journal has none')
    }
    const among = this.held.filter(({ records }) => records <= this.records && records > 0n)
    if (this.witnessed >= among.length) return
    this.bad((this.proved?.records ?? 0n) + 1n, 'the witness holds a checkpoint over records that no block ends with')
  }

  private askIndex(): void {
    const { proved } = this
    const { sealed = null } = this.options
    if (sealed === null || (proved?.isSeal === true && proved.head === sealed.head)) return
    const behind = this.records < sealed.records ? this.records : (proved?.records ?? 0n)
    const found = proved?.isSeal === true ? 'another seal' : 'none'
    this.bad(
      behind + 1n,
      `the node's index holds its seal over ${sealed.records} records, and the journal has ${found}`,
    )
  }
}

/**
 * Where a session's journal stands that another engine, or this one before it died, has written: what a writer goes on with. Guards that
 * what is torn, or doesn't fit, is only ever cut behind the last checkpoint: what was vouched for is left as it is. Not here: whether what is
 * before it fits (a verifier's job; nothing here is proved).
 */
import { messageOf, SluiceError } from '../../base/error.js'
import { Event, type IEvent, toBigInt } from '../../proto/codec.js'
import { decodeSigned } from '../../proto/journal/checkpoint.js'
import {
  BLOCK_HEAD_BYTES,
  blockContent,
  type ChainPlace,
  chainStart,
  decodeSegmentHead,
  recordsOf,
} from '../../proto/journal/journal-format.js'
import { SegmentReader, segmentsOf } from '../../proto/journal/segment-files.js'
import { bodyHash } from '../../proto/journal/signed-text.js'

/** What a chain of events has come to. */
export interface Place extends ChainPlace {
  /** Of the last event. */
  readonly lastSeq: bigint
  /** That gaps say are missing. */
  readonly lost: bigint
  readonly policyHash: string
}

export interface LastCheckpoint {
  readonly number: number
  readonly bodyHash: string
  readonly place: Place
  readonly isSeal: boolean
}

/** A block behind the last checkpoint. */
export interface TailBlock {
  readonly segment: number
  readonly offset: number
  readonly before: Place
  readonly after: Place
}

export interface Cut {
  readonly bytes: number
  readonly cause: string
  /** Of a file that ends within a block; else something is there that no writer wrote. */
  readonly isTorn: boolean
}

export interface Recovered {
  readonly segment: number
  /** Bytes of that segment which are whole. */
  readonly bytes: number
  readonly place: Place
  readonly checkpoint: LastCheckpoint | null
  readonly tail: readonly TailBlock[]
  /** That were cut off at the end, and why; null: nothing was. */
  readonly cut: Cut | null
}

const NOTHING = { lastSeq: 0n, lost: 0n, policyHash: '' }

export function startPlace(sessionId: string): Place {
  return { ...NOTHING, records: 0n, head: chainStart(sessionId) }
}

/** Null: there is none. Throws PROTOCOL where something behind which a checkpoint stands can't be read, IO for what can't be read at all. */
export function recover(folder: string, sessionId: string): Recovered | null {
  const segments = segmentsOf(folder)
  const last = segments.at(-1)
  if (last === undefined) return null
  if (last !== segments.length) throw unusable('one of its files is missing')
  const found = lastCheckpoint(folder, last)
  const recovery = new Recovery(folder, sessionId, found?.checkpoint ?? null)
  for (let segment = found === null ? 1 : firstBehind(folder, found); segment <= last; segment++) {
    if (!recovery.take(segment)) break
  }
  return recovery.result(last)
}

/** From the end; what is in between is not read. */
function lastCheckpoint(folder: string, last: number): { segment: number; checkpoint: LastCheckpoint } | null {
  for (let segment = last; segment >= 1; segment--) {
    const reader = new SegmentReader(folder, segment)
    try {
      let found: LastCheckpoint | null = null
      for (const part of reader.parts('checkpoints')) {
        if (part.kind !== 'block' || part.head.kind !== 'checkpoint' || part.stored === null) continue
        found = checkpointOf(blockContent(part.head, part.stored))
      }
      if (found !== null) return { segment, checkpoint: found }
    } finally {
      reader.close()
    }
  }
  return null
}

/** The file in which the records begin that the checkpoint does not vouch for: they may stand before it. */
function firstBehind(folder: string, found: { segment: number; checkpoint: LastCheckpoint }): number {
  for (let { segment } = found; segment > 1; segment--) {
    const reader = new SegmentReader(folder, segment)
    try {
      const [part] = reader.parts('checkpoints')
      const head = part?.kind === 'head' ? decodeSegmentHead(part.bytes) : null
      if (head !== null && head.records <= found.checkpoint.place.records) return segment
    } finally {
      reader.close()
    }
  }
  return 1
}

/** Ours: its form is believed, its signature is a verifier's matter. */
function checkpointOf(content: Buffer): LastCheckpoint {
  const signed = decodeSigned(content)
  if (signed === null) throw unusable('a checkpoint has another size')
  const said = JSON.parse(signed.body.toString()) as Record<string, unknown>
  const place = {
    ...{ records: BigInt(String(said.records)), head: Buffer.from(String(said.head), 'hex') },
    ...{ lastSeq: BigInt(String(said.lastSeq)), lost: BigInt(String(said.lost)), policyHash: String(said.policyHash) },
  }
  return { number: Number(said.number), bodyHash: bodyHash(signed.body), place, isSeal: said.isSeal === true }
}

class Recovery {
  private readonly folder: string
  private readonly sessionId: string
  private readonly checkpoint: LastCheckpoint | null
  private place: Place
  private readonly tail: TailBlock[] = []
  private end = { segment: 1, bytes: 0 }
  private cut: Cut | null = null

  constructor(folder: string, sessionId: string, checkpoint: LastCheckpoint | null) {
    this.folder = folder
    this.sessionId = sessionId
    this.checkpoint = checkpoint
    this.place = startPlace(sessionId)
  }

  /** False: here it ends. */
  take(segment: number): boolean {
    const reader = new SegmentReader(this.folder, segment)
    try {
      for (const part of reader.parts('everything')) {
        if (part.kind === 'head') {
          if (!this.begin(segment, part.bytes))
            return this.cutOff(reader.bytes, 'a file does not go on from the one before')
        } else if (part.kind === 'block') {
          const end = part.offset + BLOCK_HEAD_BYTES + part.head.storedBytes
          const problem = part.head.kind === 'records' ? this.block(segment, part.offset, part) : null
          if (problem !== null) return this.cutOff(reader.bytes - part.offset, problem)
          this.end = { segment, bytes: end }
        } else {
          const cause = part.kind === 'torn' ? 'it was not written to its end' : 'it is not what was written'
          if (part.offset === 0) this.end = { segment, bytes: 0 }
          return this.cutOff(reader.bytes - part.offset, cause, part.kind === 'torn')
        }
      }
      return true
    } finally {
      reader.close()
    }
  }

  result(segments: number): Recovered {
    const { segment, bytes } = this.end
    const cut =
      this.cut ?? (segment < segments ? { bytes: 0, cause: 'files follow that do not fit', isTorn: false } : null)
    if (cut !== null && this.checkpoint !== null && this.place.records < this.checkpoint.place.records) {
      throw unusable(`record ${this.place.records + 1n}, which is vouched for, can't be read: ${cut.cause}`)
    }
    return { segment, bytes, place: this.place, checkpoint: this.checkpoint, tail: this.tail, cut }
  }

  /** The first one of a recovery is believed: what is before it is not read. */
  private begin(segment: number, bytes: Buffer): boolean {
    const head = decodeSegmentHead(bytes)
    if (head === null || head.sessionId !== this.sessionId || head.segment !== segment) return false
    const isFirst = this.end.bytes === 0 && this.tail.length === 0 && this.place.records === 0n
    if (!isFirst && (head.records !== this.place.records || !head.head.equals(this.place.head))) return false
    if (isFirst) {
      const proved = this.checkpoint?.place ?? null
      const known = proved?.records === head.records ? proved : this.place
      this.place = { ...known, records: head.records, head: head.head }
    }
    this.end = { segment, bytes: bytes.length }
    return true
  }

  /** Null, or why it ends before this block. */
  private block(
    segment: number,
    offset: number,
    { head, stored }: { head: Parameters<typeof blockContent>[0]; stored: Buffer | null },
  ): string | null {
    const before = this.place
    const proved = this.checkpoint?.place ?? null
    try {
      let place = before
      for (const record of recordsOf(blockContent(head, stored ?? Buffer.alloc(0)), before.head)) {
        if (!record.fits) return 'a record does not follow the one before it'
        place = { ...place, records: place.records + 1n, head: record.head }
        if (proved === null || place.records > proved.records) place = withEvent(place, Event.decode(record.content))
        // What was vouched for says itself how far it came.
        else if (place.records === proved.records) place = { ...proved, head: place.head }
      }
      this.place = place
    } catch (error) {
      return messageOf(error)
    }
    if (proved === null || this.place.records > proved.records) {
      this.tail.push({ segment, offset, before, after: this.place })
    }
    return null
  }

  private cutOff(bytes: number, cause: string, isTorn = false): false {
    this.cut = { bytes, cause, isTorn }
    return false
  }
}

/** With what this record says. `chain`: with it in it; made in one go, as it is made for every event. */
export function withEvent(place: Place, event: IEvent, chain: ChainPlace = place): Place {
  return {
    records: chain.records,
    head: chain.head,
    lastSeq: toBigInt(event.seq),
    lost: event.gap ? place.lost + toBigInt(event.gap.count) : place.lost,
    policyHash: policyOf(event) ?? place.policyHash,
  }
}

/** What is in force from this event on; null: it says nothing of that. */
function policyOf({ sandboxStarted, policyChanged }: IEvent): string | null {
  if (policyChanged) return policyChanged.to?.hash ?? ''
  return sandboxStarted?.policyHash ?? null
}

function unusable(why: string): SluiceError {
  return new SluiceError('PROTOCOL', `the journal can't be gone on with: ${why}`, {
    hint: '`sluice sessions verify` tells more',
  })
}

/**
 * A session's journal from its first record on, as far as the chain holds: every record with its number, every checkpoint in its place,
 * and the first thing that does not fit. Guards that nothing behind that is given out, and that segments follow each other without a
 * hole. Not here: signatures, and what the records mean (verify-journal.ts, read-journal.ts).
 */
import { messageOf } from '../../base/error.js'
import { decodeSigned, type SignedCheckpoint } from './checkpoint.js'
import {
  type BlockHead,
  blockContent,
  type ChainedRecord,
  type ChainPlace,
  chainStart,
  decodeSegmentHead,
  recordsOfBlock,
} from './journal-format.js'
import { SegmentReader, segmentName, segmentsOf } from './segment-files.js'

export interface JournalProblem {
  /** Number of the first record that does not fit, or is not there; from 1. */
  readonly record: bigint
  /** Name of the file. */
  readonly file: string
  /** Byte in the file. */
  readonly offset: number
  readonly reason: string
}

export type JournalItem =
  | { readonly kind: 'record'; readonly number: bigint; readonly record: ChainedRecord; readonly at: FilePlace }
  | { readonly kind: 'blockEnd'; readonly place: ChainPlace; readonly at: FilePlace }
  | { readonly kind: 'checkpoint'; readonly signed: SignedCheckpoint; readonly at: FilePlace }
  /** What a writer had begun, at the very end. */
  | { readonly kind: 'torn'; readonly bytes: number; readonly at: FilePlace }
  | { readonly kind: 'bad'; readonly problem: JournalProblem }

export interface FilePlace {
  readonly segment: number
  /** First byte of the block. */
  readonly offset: number
}

/** Where a walk is. */
interface Walk {
  readonly sessionId: string
  records: bigint
  head: Buffer
}

/** `bad` and `torn` come last, if at all. Throws IO for a folder that can't be read. */
export function* walkJournal(folder: string, sessionId: string): Generator<JournalItem> {
  const walk: Walk = { sessionId, records: 0n, head: chainStart(sessionId) }
  const segments = segmentsOf(folder)
  if (segments.length === 0) {
    yield { kind: 'bad', problem: problemAt(walk, { segment: 1, offset: 0 }, 'its first file is missing') }
    return
  }
  for (const [index, segment] of segments.entries()) {
    const at = { segment: index + 1, offset: 0 }
    if (segment !== index + 1) {
      yield { kind: 'bad', problem: problemAt(walk, at, 'this file is missing') }
      return
    }
    const reader = new SegmentReader(folder, segment)
    try {
      if (yield* walkSegment(walk, reader, { segment, isLast: index === segments.length - 1 })) return
    } finally {
      reader.close()
    }
  }
}

/** True: nothing can follow. */
function* walkSegment(
  walk: Walk,
  reader: SegmentReader,
  { segment, isLast }: { segment: number; isLast: boolean },
): Generator<JournalItem, boolean> {
  const bad = (offset: number, reason: string): JournalItem => {
    return { kind: 'bad', problem: problemAt(walk, { segment, offset }, reason) }
  }
  for (const part of reader.parts('everything')) {
    switch (part.kind) {
      case 'head': {
        const reason = headProblem(walk, part.bytes, segment)
        if (reason === null) break
        yield bad(0, reason)
        return true
      }
      case 'broken':
        yield bad(part.offset, 'where its block begins there is something else')
        return true
      case 'torn':
        if (isLast) yield { kind: 'torn', bytes: part.bytes, at: { segment, offset: part.offset } }
        else yield bad(part.offset, 'the file ends within a block, and another one follows')
        return true
      case 'block':
        if (yield* walkBlock(walk, { head: part.head, stored: part.stored ?? EMPTY }, { segment, offset: part.offset }))
          return true
    }
  }
  return false
}

const EMPTY = Buffer.alloc(0)

function* walkBlock(
  walk: Walk,
  { head, stored }: { head: BlockHead; stored: Buffer },
  at: FilePlace,
): Generator<JournalItem, boolean> {
  const first = walk.records
  try {
    if (head.kind === 'checkpoint') {
      const signed = decodeSigned(blockContent(head, stored))
      if (signed === null) throw new Error('a checkpoint has another size')
      yield { kind: 'checkpoint', signed, at }
      return false
    }
    for (const record of recordsOfBlock(head, stored, walk.head)) {
      if (!record.fits) throw new Error('it is not the record that followed the one before it')
      walk.head = record.head
      walk.records++
      yield { kind: 'record', number: walk.records, record, at }
    }
    const count = walk.records - first
    if (count !== BigInt(head.records)) throw new Error(`its block has ${count} records where ${head.records} are told`)
  } catch (error) {
    yield { kind: 'bad', problem: problemAt(walk, at, messageOf(error)) }
    return true
  }
  yield { kind: 'blockEnd', place: { records: walk.records, head: walk.head }, at }
  return false
}

function headProblem(walk: Walk, bytes: Buffer, segment: number): string | null {
  const head = decodeSegmentHead(bytes)
  if (head === null) return 'the file does not begin as one of a journal'
  if (head.sessionId !== walk.sessionId) return `the file is of the session ${head.sessionId}`
  if (head.segment !== segment) return `the file is number ${head.segment} by what it says itself`
  if (head.records !== walk.records) return `the file begins with record ${head.records + 1n}`
  return head.head.equals(walk.head) ? null : 'the file does not follow the one before it'
}

function problemAt(walk: Walk, { segment, offset }: FilePlace, reason: string): JournalProblem {
  return { record: walk.records + 1n, file: segmentName(segment), offset, reason }
}

/**
 * The bytes of a session's journal: segments of blocks of records, each record chained to all before it (docs/journal.md has it in words).
 * Guards that what is read is within its limits before anything is allocated for it: a verifier reads files that an attacker may have
 * made. Not here: signatures (checkpoint.ts), files (segment-files.ts), what a chain proves (verify-journal.ts).
 */
import { hash } from 'node:crypto'
import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib'
import { messageOf, SluiceError } from '../../base/error.js'

export const JOURNAL_VERSION = 1
const MAGIC = Buffer.from('SLUICEJ1')
export const SEGMENT_HEAD_BYTES = 72
export const BLOCK_HEAD_BYTES = 24
export const HASH_BYTES = 32
/** Of a record's hash that is kept with it: enough to name the record that doesn't fit. */
export const LINK_BYTES = 8
/** Before a record's content: its length, its type. */
export const RECORD_HEAD_BYTES = 5
/** Of one record. */
export const RECORD_BYTES_MAX = 4 * 1024 * 1024
/** Of one block, as it is when read. One record may go over what a writer gathers. */
export const BLOCK_BYTES_MAX = RECORD_BYTES_MAX + 64 * 1024
/** A smaller block is not worth the time. */
const DEFLATE_BYTES_MIN = 512
const DEFLATE_LEVEL = 1
const SESSION_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** What a record holds. */
export const RECORD = {
  /** An event of the session, as proto/sluice/v1/event.proto has it. */
  EVENT: 1,
  /** A gap event of the journal itself, without a number: events that it does not have. */
  GAP: 2,
} as const

const BLOCK = { RECORDS: 1, CHECKPOINT: 2 } as const
const CODEC = { PLAIN: 0, DEFLATE: 1 } as const

/** Where a chain stands. */
export interface ChainPlace {
  /** Records so far. */
  readonly records: bigint
  readonly head: Buffer
}

/** First 72 bytes of a segment: all of it follows from what came before. */
export interface SegmentHead extends ChainPlace {
  readonly sessionId: string
  /** From 1. */
  readonly segment: number
}

export interface BlockHead {
  readonly kind: 'records' | 'checkpoint'
  readonly isDeflated: boolean
  readonly storedBytes: number
  readonly rawBytes: number
  readonly records: number
  readonly crc: number
}

export interface JournalRecord {
  readonly type: number
  readonly content: Buffer
}

export function isSessionId(text: string): boolean {
  return SESSION_ID.test(text)
}

/** Of a session without records: no record of one session fits into another. */
export function chainStart(sessionId: string): Buffer {
  return hash('sha256', Buffer.from(`sluice journal ${JOURNAL_VERSION}\0${sessionId}`), 'buffer')
}

/** The hash over a record and all before it. `framed`: HASH_BYTES of room, then the record's head and content. */
export function chainOn(head: Buffer, framed: Buffer): Buffer {
  head.copy(framed, 0)
  return hash('sha256', framed, 'buffer')
}

export function encodeSegmentHead({ sessionId, segment, records, head }: SegmentHead): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEAD_BYTES)
  MAGIC.copy(bytes, 0)
  bytes.write(sessionId.replaceAll('-', ''), 8, 'hex')
  bytes.writeUInt32LE(segment, 24)
  bytes.writeBigUInt64LE(records, 28)
  head.copy(bytes, 36)
  bytes.writeUInt32LE(crc32(bytes.subarray(0, SEGMENT_HEAD_BYTES - 4)), SEGMENT_HEAD_BYTES - 4)
  return bytes
}

/** Null: its sum is wrong, or it is no such head. */
export function decodeSegmentHead(bytes: Buffer): SegmentHead | null {
  if (bytes.length < SEGMENT_HEAD_BYTES || !bytes.subarray(0, 8).equals(MAGIC)) return null
  const sum = crc32(bytes.subarray(0, SEGMENT_HEAD_BYTES - 4))
  if (bytes.readUInt32LE(SEGMENT_HEAD_BYTES - 4) !== sum) return null
  const id = bytes.toString('hex', 8, 24)
  const sessionId = [id.slice(0, 8), id.slice(8, 12), id.slice(12, 16), id.slice(16, 20), id.slice(20)].join('-')
  return {
    ...{ sessionId, segment: bytes.readUInt32LE(24), records: bytes.readBigUInt64LE(28) },
    head: Buffer.from(bytes.subarray(36, 36 + HASH_BYTES)),
  }
}

/** A whole block. `content`: records as `frameRecord` made them, or one checkpoint. */
export function encodeBlock(kind: BlockHead['kind'], content: Buffer, records: number): Buffer {
  const deflated = content.length < DEFLATE_BYTES_MIN ? content : deflateRawSync(content, { level: DEFLATE_LEVEL })
  const isDeflated = deflated.length < content.length
  const stored = isDeflated ? deflated : content
  const head = Buffer.alloc(BLOCK_HEAD_BYTES)
  head.writeUInt8(kind === 'records' ? BLOCK.RECORDS : BLOCK.CHECKPOINT, 0)
  head.writeUInt8(isDeflated ? CODEC.DEFLATE : CODEC.PLAIN, 1)
  head.writeUInt32LE(stored.length, 4)
  head.writeUInt32LE(content.length, 8)
  head.writeUInt32LE(records, 12)
  head.writeUInt32LE(crc32(stored), 16)
  head.writeUInt32LE(crc32(head.subarray(0, BLOCK_HEAD_BYTES - 4)), BLOCK_HEAD_BYTES - 4)
  return Buffer.concat([head, stored])
}

/** Null: its sum is wrong, or it says what no writer writes. */
export function decodeBlockHead(bytes: Buffer): BlockHead | null {
  if (bytes.length < BLOCK_HEAD_BYTES) return null
  if (bytes.readUInt32LE(BLOCK_HEAD_BYTES - 4) !== crc32(bytes.subarray(0, BLOCK_HEAD_BYTES - 4))) return null
  const kind = bytes.readUInt8(0)
  const codec = bytes.readUInt8(1)
  const storedBytes = bytes.readUInt32LE(4)
  const rawBytes = bytes.readUInt32LE(8)
  const records = bytes.readUInt32LE(12)
  if (kind !== BLOCK.RECORDS && kind !== BLOCK.CHECKPOINT) return null
  if (codec !== CODEC.PLAIN && codec !== CODEC.DEFLATE) return null
  if (bytes.readUInt16LE(2) !== 0 || rawBytes > BLOCK_BYTES_MAX || storedBytes > rawBytes) return null
  if (kind === BLOCK.CHECKPOINT ? records !== 0 : records === 0 || records > rawBytes) return null
  return {
    kind: kind === BLOCK.RECORDS ? 'records' : 'checkpoint',
    ...{ isDeflated: codec === CODEC.DEFLATE, storedBytes, rawBytes, records, crc: bytes.readUInt32LE(16) },
  }
}

/** What a block holds. Throws PROTOCOL, with what is wrong. */
export function blockContent(head: BlockHead, stored: Buffer): Buffer {
  if (!hasItsSum(head, stored)) throw otherSum()
  return contentOf(head, stored)
}

/** As `blockContent`, up to what does not fit: where it is not packed the record itself can be named. */
export function* recordsOfBlock(head: BlockHead, stored: Buffer, from: Buffer): Generator<ChainedRecord> {
  const isWhole = hasItsSum(head, stored)
  if (!isWhole && head.isDeflated) throw otherSum()
  yield* recordsOf(contentOf(head, stored), from)
  if (!isWhole) throw otherSum()
}

function hasItsSum(head: BlockHead, stored: Buffer): boolean {
  return stored.length === head.storedBytes && crc32(stored) === head.crc
}

function otherSum(): SluiceError {
  return new SluiceError('PROTOCOL', 'the bytes of its block do not have the sum that they were written with')
}

function contentOf(head: BlockHead, stored: Buffer): Buffer {
  let content = stored
  if (head.isDeflated) {
    try {
      content = inflateRawSync(stored, { maxOutputLength: Math.max(1, head.rawBytes) })
    } catch (error) {
      throw new SluiceError('PROTOCOL', `its block can not be unpacked: ${messageOf(error)}`)
    }
  }
  if (content.length === head.rawBytes) return content
  throw new SluiceError('PROTOCOL', `its block has ${content.length} bytes where ${head.rawBytes} are told`)
}

/** HASH_BYTES of room, then the record as it is in a block but for its link. */
export function frameRecord(type: number, content: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(HASH_BYTES + RECORD_HEAD_BYTES + content.length)
  framed.writeUInt32LE(content.length, HASH_BYTES)
  framed.writeUInt8(type, HASH_BYTES + 4)
  framed.set(content, HASH_BYTES + RECORD_HEAD_BYTES)
  return framed
}

export interface ChainedRecord extends JournalRecord {
  /** The chain with this record. */
  readonly head: Buffer
  /** Whether the record's own link says so. */
  readonly fits: boolean
}

/** The records of a block's content, in order. Throws PROTOCOL where one ends beyond it. */
export function* recordsOf(content: Buffer, from: Buffer): Generator<ChainedRecord> {
  let head = from
  let at = 0
  while (at < content.length) {
    const bytes = content.length - at < RECORD_HEAD_BYTES ? Number.POSITIVE_INFINITY : content.readUInt32LE(at)
    const end = at + RECORD_HEAD_BYTES + bytes
    if (bytes > RECORD_BYTES_MAX || end + LINK_BYTES > content.length) {
      throw new SluiceError('PROTOCOL', 'it ends beyond its block')
    }
    const type = content.readUInt8(at + 4)
    const framed = Buffer.allocUnsafe(HASH_BYTES + end - at)
    content.copy(framed, HASH_BYTES, at, end)
    head = chainOn(head, framed)
    const fits = content.subarray(end, end + LINK_BYTES).equals(head.subarray(0, LINK_BYTES))
    yield { type, content: content.subarray(at + RECORD_HEAD_BYTES, end), head, fits }
    at = end + LINK_BYTES
  }
}

/**
 * One batch as it lies in a spool file: a header with length, checksum, number and counts by kind, then the frame as it was (or would
 * have been) sent. Guards that what is read back is what was written: a record that was torn or changed is told apart, whatever
 * its bytes are. Not here: files.
 */
import { crc32 } from 'node:zlib'
import { ABI } from '../native/generated/abi.js'
import { MESSAGE_BYTES_MAX } from '../proto/rpc.js'

/** Slots of a frame's counts by kind. */
export const KINDS_MAX = ABI.limits.SL_KINDS_MAX
const MAGIC = 0x53_4c_53_50
const LENGTH_AT = 4
const CRC_AT = 8
const SEQ_AT = 12
const KINDS_AT = 20
const KIND_BYTES = 4
export const RECORD_HEAD_BYTES = KINDS_AT + KINDS_MAX * KIND_BYTES

/** A batch on its way. Its number is exact: at a million a second it takes 285 years to 2^53. */
export interface BatchFrame {
  readonly seq: number
  /** A whole ConnectRequest. */
  readonly bytes: Buffer
  /** Events in it, by kind. */
  readonly kinds: Uint32Array
}

/** The bytes that go before the frame. */
export function recordHead(frame: BatchFrame): Buffer {
  const head = Buffer.allocUnsafe(RECORD_HEAD_BYTES)
  head.writeUInt32LE(MAGIC, 0)
  head.writeUInt32LE(frame.bytes.length, LENGTH_AT)
  head.writeBigUInt64LE(BigInt(frame.seq), SEQ_AT)
  for (let kind = 0; kind < KINDS_MAX; kind += 1)
    head.writeUInt32LE(frame.kinds[kind] ?? 0, KINDS_AT + kind * KIND_BYTES)
  head.writeUInt32LE(checksum(head, frame.bytes), CRC_AT)
  return head
}

export type ReadRecord =
  | { readonly kind: 'frame'; readonly frame: BatchFrame; readonly next: number }
  /** Where its length says that it ends there may be another one. */
  | { readonly kind: 'damaged'; readonly next: number }
  /** What is here is no record, or the file ends in it: nothing behind it can be found. */
  | { readonly kind: 'torn' }

/** The record at `at`; the frame is a view of `file`. */
export function readRecord(file: Buffer, at: number): ReadRecord {
  if (file.length - at < RECORD_HEAD_BYTES || file.readUInt32LE(at) !== MAGIC) return { kind: 'torn' }
  const head = file.subarray(at, at + RECORD_HEAD_BYTES)
  const length = head.readUInt32LE(LENGTH_AT)
  const start = at + RECORD_HEAD_BYTES
  if (length > MESSAGE_BYTES_MAX || length > file.length - start) return { kind: 'torn' }
  const bytes = file.subarray(start, start + length)
  const seq = head.readBigUInt64LE(SEQ_AT)
  const next = start + length
  if (head.readUInt32LE(CRC_AT) !== checksum(head, bytes) || seq > BigInt(Number.MAX_SAFE_INTEGER)) {
    return { kind: 'damaged', next }
  }
  const kinds = new Uint32Array(KINDS_MAX)
  for (let kind = 0; kind < KINDS_MAX; kind += 1) kinds[kind] = head.readUInt32LE(KINDS_AT + kind * KIND_BYTES)
  return { kind: 'frame', frame: { seq: Number(seq), bytes, kinds }, next }
}

export function addKinds(to: Uint32Array, kinds: Uint32Array): void {
  for (let kind = 0; kind < KINDS_MAX; kind += 1) to[kind] = (to[kind] ?? 0) + (kinds[kind] ?? 0)
}

/** Of all but the checksum itself, the length included. */
function checksum(head: Buffer, bytes: Buffer): number {
  return crc32(bytes, crc32(head.subarray(SEQ_AT), crc32(head.subarray(0, CRC_AT))))
}

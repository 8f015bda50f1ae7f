/**
 * Uids of events: the layout of UUID version 7 (RFC 9562 §5.7) with facts where the RFC has random bits, so that the same event has
 * the same uid however often it is read. It does not guard against a forger: uids are names, not proofs.
 */
import { hash } from 'node:crypto'

const MS_BITS = 48n
const CPU_MASK = 0xfffn
const SEQ_BITS = 40n
const HASH_BITS = 22n
const VERSION_7 = 0x7n
const VARIANT = 0b10n
/** The same two bits and the next two. */
const VARIANT_DIGITS = '89ab'
const LENGTH_BYTES = 4
/** Of a UTF-16 code unit. */
const UTF8_BYTES_MAX = 3
/** For all but the longest parts. */
const room = Buffer.alloc(4096)

export interface KernelEventId {
  /** Unix time of the event in ms. */
  unixMs: bigint
  /** The low 12 bits are kept. */
  cpu: number
  /** The CPU's own count of events; the low 40 bits are kept. */
  seq: bigint
  /** 22 bits that tell boots apart, see `bootHash`. */
  hash: number
}

/** The uid of an event that the kernel reported. */
export function uuidV7(id: KernelEventId): string {
  const low =
    (BigInt.asUintN(Number(SEQ_BITS), id.seq) << HASH_BITS) | BigInt.asUintN(Number(HASH_BITS), BigInt(id.hash))
  return layOut(id.unixMs, BigInt(id.cpu) & CPU_MASK, low)
}

/** The uid of an event derived from others: equal for equal times and parts. Parts are kept apart, so ["ab"] differs from ["a", "b"]. */
export function derivedUuid(options: { unixMs: bigint; parts: readonly (string | Uint8Array)[] }): string {
  // The same as `layOut`, of the text: this is made for every call and each of its events.
  const digest = sha256(options.parts)
  const time = BigInt.asUintN(Number(MS_BITS), options.unixMs).toString(16).padStart(12, '0')
  const first = VARIANT_DIGITS[Number.parseInt(digest.charAt(4), 16) & 3]
  return `${time.slice(0, 8)}-${time.slice(8)}-${VERSION_7}${digest.slice(1, 4)}-${first}${digest.slice(5, 8)}-${digest.slice(8, 20)}`
}

/** 22 bits of a boot id (or any text) for `KernelEventId.hash`. */
export function bootHash(bootId: string): number {
  return Number.parseInt(sha256([bootId]).slice(0, 8), 16) >>> (32 - Number(HASH_BITS))
}

/** In hexadecimal digits. */
function sha256(parts: readonly (string | Uint8Array)[]): string {
  let at = 0
  let bytes = room
  for (const part of parts) {
    const isText = typeof part === 'string'
    const most = LENGTH_BYTES + (isText ? part.length * UTF8_BYTES_MAX : part.length)
    if (at + most > bytes.length) bytes = Buffer.concat([bytes], 2 * (at + most))
    const length = isText ? bytes.write(part, at + LENGTH_BYTES) : part.length
    if (!isText) bytes.set(part, at + LENGTH_BYTES)
    bytes.writeUInt32BE(length, at)
    at += LENGTH_BYTES + length
  }
  return hash('sha256', bytes.subarray(0, at), 'hex')
}

/** 48 bits of time, version, 12 bits, variant, 62 bits. */
function layOut(unixMs: bigint, randA: bigint, randB: bigint): string {
  const high = (BigInt.asUintN(Number(MS_BITS), unixMs) << 16n) | (VERSION_7 << 12n) | randA
  const low = (VARIANT << 62n) | BigInt.asUintN(62, randB)
  const hex = ((high << 64n) | low).toString(16).padStart(32, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

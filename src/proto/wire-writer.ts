/**
 * Protobuf's wire format, written straight into one growing buffer: for the few messages of which there are millions. Fields are written
 * in the order of the calls; a field with its default value is left out, as proto3 does. What is right for a message is the caller's
 * business.
 */
import type { Long } from './codec.js'
import { GrowingBuffer } from './growing-buffer.js'

const VARINT = 0
const FIXED64 = 1
const BYTES = 2
/** Of a varint of 64 bits, or a tag and one. */
const NUMBER_BYTES_MAX = 16
/** Room that `open` leaves for a length: enough for 128 to 16,383, which most are. */
const LENGTH_BYTES = 2

export class WireWriter extends GrowingBuffer {
  /** Starts anew with the same memory. */
  clear(): void {
    this.at = 0
  }

  /** A copy of what was written from `from` on. */
  copy(from = 0): Buffer {
    return Buffer.from(this.buffer.subarray(from, this.at))
  }

  uint(field: number, value: number | null | undefined): void {
    if (!value) return
    this.room(NUMBER_BYTES_MAX)
    this.varint((field << 3) | VARINT)
    this.varint(value >>> 0)
  }

  bool(field: number, value: boolean | null | undefined): void {
    if (value) this.uint(field, 1)
  }

  uint64(field: number, value: Long | null | undefined): void {
    if (!value || (value.low === 0 && value.high === 0)) return
    this.room(NUMBER_BYTES_MAX)
    this.varint((field << 3) | VARINT)
    let low = value.low >>> 0
    let high = value.high >>> 0
    while (high !== 0 || low > 0x7f) {
      this.buffer[this.at++] = (low & 0x7f) | 0x80
      low = ((low >>> 7) | (high << 25)) >>> 0
      high >>>= 7
    }
    this.buffer[this.at++] = low
  }

  fixed64(field: number, value: Long | null | undefined): void {
    if (!value || (value.low === 0 && value.high === 0)) return
    this.room(NUMBER_BYTES_MAX)
    this.varint((field << 3) | FIXED64)
    this.at = this.buffer.writeInt32LE(value.low | 0, this.at)
    this.at = this.buffer.writeInt32LE(value.high | 0, this.at)
  }

  bytes(field: number, value: Uint8Array | null | undefined): void {
    if (value && value.length > 0) this.message(field, value)
  }

  /** An encoded message; also an empty one, which is there all the same. */
  message(field: number, encoded: Uint8Array): void {
    this.prefix(field, encoded.length)
    this.raw(encoded)
  }

  /** `empty`: also an empty one, which a repeated field may hold. */
  text(field: number, value: string | null | undefined, { empty = false } = {}): void {
    if (value === null || value === undefined || (value === '' && !empty)) return
    const length = Buffer.byteLength(value)
    this.prefix(field, length)
    this.room(length)
    this.at += this.buffer.write(value, this.at)
  }

  /** Begins a message as field `field`; `close` takes what this returns. */
  open(field: number): number {
    this.room(NUMBER_BYTES_MAX)
    this.varint((field << 3) | BYTES)
    this.at += LENGTH_BYTES
    return this.at
  }

  close(start: number): void {
    const end = this.at
    const length = end - start
    let lengthBytes = 1
    for (let rest = length >>> 7; rest > 0; rest >>>= 7) lengthBytes++
    const shift = lengthBytes - LENGTH_BYTES
    if (shift !== 0) {
      this.room(NUMBER_BYTES_MAX)
      this.buffer.copyWithin(start + shift, start, end)
    }
    this.at = start - LENGTH_BYTES
    this.varint(length)
    this.at = end + shift
  }

  private prefix(field: number, length: number): void {
    this.room(NUMBER_BYTES_MAX)
    this.varint((field << 3) | BYTES)
    this.varint(length)
  }

  /** Of 32 bits. There is room. */
  private varint(value: number): void {
    let rest = value
    while (rest > 0x7f) {
      this.buffer[this.at++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.buffer[this.at++] = rest
  }
}

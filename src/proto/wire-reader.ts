/**
 * Protobuf's wire format read in place, without an object a field: for the few messages of which there are millions. Throws PROTOCOL
 * where the bytes end inside a field. What a field means, and whether it is there, is the caller's business.
 */
import { SluiceError } from '../base/error.js'

const VARINT = 0
const FIXED64 = 1
const BYTES = 2
const FIXED32 = 5
const VARINT_BYTES_MAX = 10

export class WireReader {
  private readonly buffer: Buffer
  private readonly end: number
  /** First byte behind the field. */
  at: number
  /** First byte of the field, its tag. */
  tagAt = 0
  /** First byte inside a length-delimited field. */
  start = 0
  /** Of the field that `next` moved to. */
  field = 0
  /** A number's halves. */
  low = 0
  high = 0

  constructor(buffer: Buffer, start = 0, end = buffer.length) {
    this.buffer = buffer
    this.at = start
    this.end = end
  }

  /** Reads the next field; false at the end. */
  next(): boolean {
    if (this.at >= this.end) return false
    this.tagAt = this.at
    this.varint()
    this.field = this.low >>> 3
    const wire = this.low & 7
    this.start = this.at
    if (wire === VARINT) this.varint()
    else if (wire === BYTES) this.length()
    else if (wire === FIXED64) this.fixed64()
    else if (wire === FIXED32) this.skip(4)
    else throw broken()
    return true
  }

  /** The field with its tag. A view. */
  get whole(): Buffer {
    return this.buffer.subarray(this.tagAt, this.at)
  }

  /** Of a length-delimited field. A view. */
  get bytes(): Buffer {
    return this.buffer.subarray(this.start, this.at)
  }

  /** Of a message in a field. */
  inside(): WireReader {
    return new WireReader(this.buffer, this.start, this.at)
  }

  /** Of the first bytes inside the field: a poor man's hash. */
  sum(bytesMax: number): number {
    const end = Math.min(this.at, this.start + bytesMax)
    let sum = 0
    for (let at = this.start; at < end; at++) sum = (sum * 31 + (this.buffer[at] ?? 0)) | 0
    return sum >>> 0
  }

  private varint(): void {
    let low = 0
    let high = 0
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      if (this.at >= this.end) throw broken()
      const byte = this.buffer[this.at++] ?? 0
      const bits = byte & 0x7f
      if (i < 4) low |= bits << (7 * i)
      else if (i === 4) {
        low |= bits << 28
        high = bits >>> 4
      } else high |= bits << (7 * i - 32)
      if (byte < 0x80) {
        this.low = low >>> 0
        this.high = high >>> 0
        return
      }
    }
    throw broken()
  }

  private length(): void {
    this.varint()
    this.start = this.at
    this.skip(this.high === 0 ? this.low : Number.POSITIVE_INFINITY)
  }

  private fixed64(): void {
    const at = this.at
    this.skip(8)
    this.low = this.buffer.readUInt32LE(at)
    this.high = this.buffer.readUInt32LE(at + 4)
  }

  private skip(bytes: number): void {
    if (bytes > this.end - this.at) throw broken()
    this.at += bytes
  }
}

function broken(): SluiceError {
  return new SluiceError('PROTOCOL', 'a message ends inside a field or has a field of an unknown type')
}

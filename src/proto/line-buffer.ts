/**
 * Text written straight into one growing buffer, without a string in between: for the lines of a recording. What is right as JSON is the
 * caller's business, but for `plain`, which copies only what JSON writes as it is.
 */
import { GrowingBuffer } from './growing-buffer.js'

const DIGITS_MAX = 20
const ZERO = 0x30
const SPACE = 0x20
const QUOTE = 0x22
const BACKSLASH = 0x5c
const DELETE = 0x7f
const U32 = 2 ** 32
/** High halves below it make numbers that are exact. */
const EXACT_HIGH = 2 ** 21
const SEVEN_DIGITS = 1e7

export class LineBuffer extends GrowingBuffer {
  /** What was written, as a view: good until the next write. The next write starts anew. */
  take(): Buffer {
    const { at } = this
    this.at = 0
    return this.buffer.subarray(0, at)
  }

  /** Forgets what was written after `length`. */
  cut(length: number): void {
    this.at = length
  }

  text(text: string): void {
    this.room(text.length * 3)
    this.at += this.buffer.write(text, this.at)
  }

  /** Copies `from[start, end)` if all of it is ASCII that JSON does not escape; else false, and nothing is written. */
  plain(from: Uint8Array, start: number, end: number): boolean {
    this.room(end - start)
    const { buffer } = this
    let at = this.at
    for (let i = start; i < end; i++) {
      const byte = from[i] ?? 0
      if (byte < SPACE || byte >= DELETE || byte === QUOTE || byte === BACKSLASH) return false
      buffer[at++] = byte
    }
    this.at = at
    return true
  }

  /** Decimal digits of a number given as its two 32-bit halves. */
  uint64(low: number, high: number): void {
    if (high >= EXACT_HIGH) {
      this.text(String((BigInt(high) << 32n) | BigInt(low)))
      return
    }
    this.room(DIGITS_MAX)
    const value = high * U32 + low
    // Whole numbers of 32 bits divide much faster.
    const top = Math.floor(value / (SEVEN_DIGITS * SEVEN_DIGITS))
    const middle = Math.floor(value / SEVEN_DIGITS) % SEVEN_DIGITS
    const bottom = value % SEVEN_DIGITS
    if (top > 0) this.digits(top, 0)
    if (top > 0 || middle > 0) this.digits(middle, top > 0 ? 7 : 0)
    this.digits(bottom, top > 0 || middle > 0 ? 7 : 0)
  }

  /** With zeros in front up to `width`. Below 2^31. */
  padded(value: number, width: number): void {
    this.room(DIGITS_MAX)
    this.digits(value, width)
  }

  private digits(value: number, width: number): void {
    let count = 1
    for (let rest = (value / 10) | 0; rest > 0; rest = (rest / 10) | 0) count++
    if (count < width) count = width
    const { buffer, at } = this
    let rest = value | 0
    for (let i = at + count - 1; i >= at; i--) {
      const tenth = (rest / 10) | 0
      buffer[i] = ZERO + rest - tenth * 10
      rest = tenth
    }
    this.at = at + count
  }
}

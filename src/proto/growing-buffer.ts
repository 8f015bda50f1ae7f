/** Memory that is written from its beginning and grows as it must: what the writers of wire messages and of lines have in common. */

/** Below it a loop is faster than a call into the runtime. */
const SHORT_BYTES = 32

export class GrowingBuffer {
  protected buffer: Buffer
  protected at = 0

  constructor(bytes: number) {
    this.buffer = Buffer.allocUnsafeSlow(bytes)
  }

  get length(): number {
    return this.at
  }

  raw(bytes: Uint8Array): void {
    const { length } = bytes
    this.room(length)
    const { buffer, at } = this
    if (length < SHORT_BYTES) for (let i = 0; i < length; i++) buffer[at + i] = bytes[i] ?? 0
    else buffer.set(bytes, at)
    this.at = at + length
  }

  protected room(bytes: number): void {
    if (this.buffer.length - this.at >= bytes) return
    const larger = Buffer.allocUnsafeSlow(Math.max(this.buffer.length * 2, this.at + bytes))
    larger.set(this.buffer.subarray(0, this.at))
    this.buffer = larger
  }
}

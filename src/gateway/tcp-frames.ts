/** DNS over TCP (RFC 7766): two bytes of length before each message, in whatever pieces they come. Keeps what it is told to hold back. */

const LENGTH_BYTES = 2

export class TcpFrames {
  readonly #onMessage: (message: Buffer) => void
  #held: Buffer = Buffer.alloc(0)
  #isPaused = false

  constructor(onMessage: (message: Buffer) => void) {
    this.#onMessage = onMessage
  }

  push(chunk: Buffer): void {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    this.#handOn()
  }

  /** No message before `resume`, also of those that are here already. */
  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#handOn()
  }

  #handOn(): void {
    while (!this.#isPaused && this.#held.length >= LENGTH_BYTES) {
      const end = LENGTH_BYTES + this.#held.readUInt16BE(0)
      if (this.#held.length < end) return
      const message = this.#held.subarray(LENGTH_BYTES, end)
      this.#held = this.#held.subarray(end)
      this.#onMessage(message)
    }
  }
}

export function tcpFrame(message: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + message.length)
  frame.writeUInt16BE(message.length, 0)
  message.copy(frame, LENGTH_BYTES)
  return frame
}

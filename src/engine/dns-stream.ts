/**
 * Answers of resolvers as the kernel side copies them from the wire, put together: a datagram is one message, a TCP stream comes in segments.
 * Guards that what is kept for streams has a limit, and that bytes which are not there are never taken for others: a stream with a
 * hole is given up, which is told. Not here: what an answer means.
 */
import { SluiceError } from '../base/error.js'
import { type IDnsPacketFacts, toBigInt } from '../proto/codec.js'
import { IPPROTO_TCP } from './kernel-facts.js'

/** Streams at a time; beyond that the oldest is given up. */
export const STREAMS_MAX = 256
const LENGTH_BYTES = 2
/** The longest message there is. */
const HELD_BYTES_MAX = 0xffff + LENGTH_BYTES
const SEQUENCE = 2 ** 32
const NO_BYTES = Buffer.alloc(0)

interface Stream {
  held: Buffer
  /** Sequence number that comes next. */
  next: number
}

export class DnsStreams {
  readonly #streams = new Map<string, Stream>()

  /** Whole messages that this packet completes. Throws PROTOCOL where it has a hole before it, or was not copied whole. */
  read(facts: IDnsPacketFacts): Buffer[] {
    const payload = Buffer.from(facts.payload ?? NO_BYTES)
    const isWhole = payload.length === (facts.bytes ?? 0)
    if (facts.protocol !== IPPROTO_TCP) {
      if (!isWhole) throw new SluiceError('PROTOCOL', `an answer of ${facts.bytes} bytes was not copied whole`)
      return [payload]
    }
    const key = String(toBigInt(facts.cookie))
    try {
      return this.#segment(key, { payload, isWhole, sequence: facts.tcpSeq ?? 0 })
    } catch (error) {
      this.#streams.delete(key)
      throw error
    }
  }

  #segment(
    key: string,
    { payload, isWhole, sequence }: { payload: Buffer; isWhole: boolean; sequence: number },
  ): Buffer[] {
    const stream = this.#streams.get(key) ?? this.#open(key, sequence)
    const ahead = (sequence - stream.next + SEQUENCE) % SEQUENCE
    // Sent again: half of the numbers count as behind.
    if (ahead >= SEQUENCE / 2) return []
    if (ahead > 0 || !isWhole) throw new SluiceError('PROTOCOL', 'a part of an answer over TCP was not copied')
    stream.next = (stream.next + payload.length) % SEQUENCE
    stream.held = Buffer.concat([stream.held, payload])
    const messages: Buffer[] = []
    while (stream.held.length >= LENGTH_BYTES) {
      const end = LENGTH_BYTES + stream.held.readUInt16BE(0)
      if (stream.held.length < end) break
      messages.push(stream.held.subarray(LENGTH_BYTES, end))
      stream.held = stream.held.subarray(end)
    }
    if (stream.held.length > HELD_BYTES_MAX) throw new SluiceError('PROTOCOL', 'an answer over TCP has no end')
    return messages
  }

  #open(key: string, next: number): Stream {
    for (const oldest of this.#streams.keys()) {
      if (this.#streams.size < STREAMS_MAX) break
      this.#streams.delete(oldest)
    }
    const stream = { held: NO_BYTES, next }
    this.#streams.set(key, stream)
    return stream
  }
}

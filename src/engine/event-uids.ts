/**
 * Uids of kernel events, as `uuidV7` (base/uuid.ts) makes them, for millions of events: halves of numbers in place of bigints, and the
 * millisecond's text kept for the events that share it. Guards that both give the same (a test compares them).
 */
import { uuidV7 } from '../base/uuid.js'
import type { Long } from '../proto/codec.js'

const NS_PER_MS = 1_000_000n
const TWO_TO_32 = 2 ** 32
/** Two digits for each byte. */
const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

export class EventUids {
  private readonly hash: number
  /** The millisecond that the last event lay in, and how its uids begin. */
  private msHigh = 0
  private msLow = 0
  private begin = ''

  /** @param hash 22 bits that tell boots apart */
  constructor(hash: number) {
    this.hash = hash
  }

  of(unixNs: Long, cpu: number, seq: Long): string {
    // Exact: far less than 2^53 apart, or thrown away.
    const sinceMs = ((unixNs.high >>> 0) - this.msHigh) * TWO_TO_32 + ((unixNs.low >>> 0) - this.msLow)
    if (this.begin === '' || sinceMs < 0 || sinceMs >= 1e6) this.nextMs(unixNs)
    const high = (0x80000000 | ((seq.high & 0xff) << 22) | (seq.low >>> 10)) >>> 0
    const low = (((seq.low & 0x3ff) << 22) | this.hash) >>> 0
    const tail = hex16(high & 0xffff) + hex16(low >>> 16) + hex16(low & 0xffff)
    return `${this.begin}${hex16(cpu & 0xfff).slice(1)}-${hex16(high >>> 16)}-${tail}`
  }

  private nextMs(unixNs: Long): void {
    const ns = (BigInt(unixNs.high >>> 0) << 32n) | BigInt(unixNs.low >>> 0)
    const ms = ns - (ns % NS_PER_MS)
    this.msHigh = Number(ms >> 32n)
    this.msLow = Number(ms & 0xffff_ffffn)
    this.begin = uuidV7({ unixMs: ms / NS_PER_MS, cpu: 0, seq: 0n, hash: 0 }).slice(0, 'xxxxxxxx-xxxx-7'.length)
  }
}

function hex16(value: number): string {
  return (HEX[value >>> 8] ?? '') + (HEX[value & 0xff] ?? '')
}

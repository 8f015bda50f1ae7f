/** Texts of many times that lie close together, as in a stream: as `unixNsToText` writes them, without bigints but once a second. */
import type { LineBuffer } from './line-buffer.js'
import { unixNsToText } from './time-text.js'

const NS_PER_S = 1_000_000_000

export class UnixSeconds {
  /** Where the second began that the last one lay in, and its text. */
  private high = 0
  private low = 0
  private text = Buffer.alloc(0)

  /** Writes the time given as its two 32-bit halves, without the `Z`. */
  put(out: LineBuffer, low: number, high: number): void {
    // Exact: far less than 2^53 apart, or thrown away.
    let ns = (high - this.high) * 2 ** 32 + (low - this.low)
    if (this.text.length === 0 || ns < 0 || ns >= NS_PER_S) {
      const unixNs = (BigInt(high) << 32n) | BigInt(low)
      const begin = unixNs - (unixNs % BigInt(NS_PER_S))
      this.text = Buffer.from(unixNsToText(begin).slice(0, 'yyyy-mm-ddThh:mm:ss.'.length))
      this.high = Number(begin >> 32n)
      this.low = Number(begin & 0xffff_ffffn)
      ns = Number(unixNs - begin)
    }
    out.raw(this.text)
    out.padded(ns, 'nnnnnnnnn'.length)
  }
}

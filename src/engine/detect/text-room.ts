/** Room for texts of a session: who asks gets as much as there is, at least a little. Guards that what was cut is counted. */
import { clipped } from './bounded.js'

const LEAST_CHARS = 64
/** Its characters take a byte each: one wider character makes all of them wide. */
const NARROW_MARK = '...'
const WIDE = /[^\0-\xff]/

export class TextRoom {
  private left: number
  /** Characters that had no room. */
  cut = 0

  constructor(bytes: number) {
    this.left = bytes
  }

  /** As much of it as there is room for; to be given back. */
  take(text: string): string {
    const width = WIDE.test(text) ? 2 : 1
    const charsMax = Math.max(LEAST_CHARS, Math.floor(this.left / width))
    const kept = clipped(text, charsMax, NARROW_MARK)
    this.cut += Math.max(0, text.length - charsMax)
    this.left -= bytesOf(kept)
    return kept
  }

  /** Whether there was room for all of it. */
  has(text: string): boolean {
    const bytes = bytesOf(text)
    if (bytes > this.left) return false
    this.left -= bytes
    return true
  }

  /** Of what is there already. */
  hold(text: string): void {
    this.left -= bytesOf(text)
  }

  give(text: string): void {
    this.left += bytesOf(text)
  }
}

function bytesOf(text: string): number {
  return text.length * (WIDE.test(text) ? 2 : 1)
}

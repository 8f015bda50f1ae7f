/**
 * Short numbers for long texts, so that what is remembered of a session has a size that nobody outside chooses. Guards nothing against somebody
 * who looks for two texts with one number: where that would hide something the wide one is used.
 */

const MULTIPLY_LOW = 0x85ebca6b
const MULTIPLY_HIGH = 0xc2b2ae35
const STEP_LOW = 2_654_435_761
const STEP_HIGH = 1_597_334_677
const HIGH_BITS = 2 ** 32
const HIGH_MASK = 0x1fffff

/** 32 bits with a sign; of the first `end` characters. */
export function hash32(text: string, end = text.length): number {
  let hash = 0x9e3779b9 | 0
  for (let at = 0; at < end; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), STEP_LOW)
  hash = Math.imul(hash ^ (hash >>> 15), MULTIPLY_LOW)
  return hash ^ (hash >>> 13)
}

/** 53 bits. */
export function hash53(text: string): number {
  let low = 0xdeadbeef | 0
  let high = 0x41c6ce57 | 0
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    low = Math.imul(low ^ code, STEP_LOW)
    high = Math.imul(high ^ code, STEP_HIGH)
  }
  low = Math.imul(low ^ (low >>> 16), MULTIPLY_LOW) ^ Math.imul(high ^ (high >>> 13), MULTIPLY_HIGH)
  high = Math.imul(high ^ (high >>> 16), MULTIPLY_LOW) ^ Math.imul(low ^ (low >>> 13), MULTIPLY_HIGH)
  return HIGH_BITS * (high & HIGH_MASK) + (low >>> 0)
}

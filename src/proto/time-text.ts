/**
 * Unix time in ns and RFC 3339 text with nine digits, exact both ways. UTC only; leap seconds are the kernel clock's own business.
 */
import { SluiceError } from '../base/error.js'

const NS_PER_MS = 1_000_000n
const NS_PER_S = 1_000_000_000n
const TIME_TEXT = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})\.(\d{9})Z$/

/** Any value that fits 64 bits unsigned (up to the year 2554). */
export function unixNsToText(unixNs: bigint): string {
  const seconds = new Date(Number(unixNs / NS_PER_MS)).toISOString().slice(0, 'yyyy-mm-ddThh:mm:ss'.length)
  return `${seconds}.${String(unixNs % NS_PER_S).padStart(9, '0')}Z`
}

/** The inverse. Throws PROTOCOL for anything but what `unixNsToText` writes. */
export function textToUnixNs(text: string): bigint {
  const match = TIME_TEXT.exec(text)
  const unixMs = match === null ? Number.NaN : Date.parse(`${match[1]}Z`)
  if (match === null || Number.isNaN(unixMs)) {
    throw new SluiceError('PROTOCOL', `"${text}" is not a time of the form 2006-01-02T15:04:05.000000000Z`)
  }
  return BigInt(unixMs) * NS_PER_MS + BigInt(match[2] ?? '0')
}

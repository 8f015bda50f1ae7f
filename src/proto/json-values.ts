/**
 * Values of messages as our JSON has them. Guards that 64-bit numbers and nanoseconds stay exact, that bytes are reversible text, and that
 * what has no order gets one.
 */
import { type Long, toBigInt } from './codec.js'
import { bytesToText } from './text.js'
import { unixNsToText } from './time-text.js'

/** Decimal digits of an unsigned 64-bit number. */
export type U64Text = string
/** RFC 3339, UTC, nine digits of a second. */
export type TimeText = string

/** A map has no order on the wire. */
export function sortedLabels(labels: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)))
}

export function named<Names extends readonly ['UNSPECIFIED', ...string[]]>(
  names: Names,
  value: number | null | undefined,
) {
  const name: Names[number] | undefined = names[value ?? 0]
  return name ?? names[0]
}

export function text(bytes: Uint8Array | null | undefined): string {
  return bytes ? bytesToText(bytes) : ''
}

export function u64(value: Long | null | undefined): U64Text {
  return toBigInt(value).toString()
}

export function time(unixNs: Long | null | undefined): TimeText {
  return unixNsToText(toBigInt(unixNs))
}

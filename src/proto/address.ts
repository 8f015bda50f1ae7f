/**
 * Network addresses as the kernel side reports them (16 bytes, IPv4 as ::ffff:a.b.c.d) to the one text form that events carry:
 * IPv4 dotted, IPv6 by RFC 5952. It does not parse text.
 */
import { SluiceError } from '../base/error.js'

export const ADDRESS_BYTES = 16

const GROUPS = ADDRESS_BYTES / 2
const MAPPED_PREFIX = Buffer.from('00000000000000000000ffff', 'hex')

/** `bytes`: network order. Throws PROTOCOL unless there are exactly 16. */
export function addressToText(bytes: Uint8Array): string {
  if (bytes.length !== ADDRESS_BYTES) {
    throw new SluiceError('PROTOCOL', `an address has ${ADDRESS_BYTES} bytes, this one has ${bytes.length}`)
  }
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (buffer.subarray(0, MAPPED_PREFIX.length).equals(MAPPED_PREFIX)) {
    return buffer.subarray(MAPPED_PREFIX.length).join('.')
  }
  const groups = Array.from({ length: GROUPS }, (_, index) => buffer.readUInt16BE(index * 2))
  const zeros = longestZeroRun(groups)
  const hex = groups.map((group) => group.toString(16))
  if (zeros.length < 2) return hex.join(':')
  return `${hex.slice(0, zeros.start).join(':')}::${hex.slice(zeros.start + zeros.length).join(':')}`
}

/** The first of the longest runs (RFC 5952 §4.2.3). */
function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 }
  let run = { start: 0, length: 0 }
  groups.forEach((group, index) => {
    if (group !== 0) run = { start: index + 1, length: 0 }
    else run = { start: run.start, length: run.length + 1 }
    if (run.length > best.length) best = run
  })
  return best
}

/**
 * Ranges of addresses as a policy writes them, and as everybody else uses them: 16 bytes, IPv4 as ::ffff:a.b.c.d, so that an address and its
 * IPv4-mapped twin are one. It guards that a range says exactly what it seems to: no bits beyond its prefix, no short forms.
 */
import ipaddr from 'ipaddr.js'
import { isIn } from '../../base/special-addresses.js'
import { addressToText } from '../../proto/address.js'

export const ADDRESS_BITS = 128
const MAPPED_BITS = 96
const MAPPED = Buffer.from('00000000000000000000ffff', 'hex')

/** All of IPv4. */
export const V4_RANGE: AddressRange = { prefix: Buffer.concat([MAPPED, Buffer.alloc(4)]), length: MAPPED_BITS }

export interface AddressRange {
  /** 16 bytes, zero beyond `length`. */
  readonly prefix: Buffer
  /** 0 to 128; IPv4's plus 96. */
  readonly length: number
}

export type RangeResult =
  | { readonly ok: true; readonly range: AddressRange }
  | { readonly ok: false; readonly problem: string; readonly hint: string | null }

/** `10.1.0.0/16`, `2001:db8::/32`. */
export function parseRange(text: string): RangeResult {
  const plainV4 = rangeV4(text)
  return plainV4 === null ? parseAny(text) : { ok: true, range: plainV4 }
}

const PLAIN_V4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/
const V4_BITS = 32

/** Most ranges are, and there may be fifty thousand. Null: it is something else, or there is something to say of it. */
function rangeV4(text: string): AddressRange | null {
  const [, ...parts] = PLAIN_V4.exec(text) ?? []
  if (parts.length === 0 || parts.some((part) => part.length > 1 && part.startsWith('0'))) return null
  const [a = 0, b = 0, c = 0, d = 0, bits = 0] = parts.map(Number)
  const address = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0
  if (Math.max(a, b, c, d) > 0xff || bits > V4_BITS || (bits < V4_BITS && (address << bits) >>> 0 !== 0)) return null
  // A copy, unlike what is allocated, needs no memory of its own.
  const prefix = Buffer.from(V4_RANGE.prefix)
  prefix.writeUInt32BE(address, MAPPED.length)
  return { prefix, length: bits + MAPPED_BITS }
}

function parseAny(text: string): RangeResult {
  const [, address = '', bits = ''] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? []
  const plain = address === '' ? text : address
  if (!isPlainAddress(plain)) return refuse('it is no range of addresses', 'write 10.1.0.0/16 or 2001:db8::/32')
  const parsed = ipaddr.parse(plain)
  const width = parsed.kind() === 'ipv4' ? 32 : ADDRESS_BITS
  if (address === '') return refuse('a range has a length', `write ${plain}/${width}`)
  if (Number(bits) > width) return refuse(`its length is above ${width}`, `write ${plain}/${width}`)
  const range = rangeOf(plain, Number(bits) + (width === 32 ? MAPPED_BITS : 0))
  const isExact = range.prefix.equals(toBytes(plain))
  if (!isExact) return refuse('it has bits beyond its length', `write ${rangeText(range)}`)
  if (width === ADDRESS_BITS && isV4(range))
    return refuse('it is IPv4 in the form of IPv6', `write ${rangeText(range)}`)
  return { ok: true, range }
}

/** Of text that is known to be right, as in data of ours. Throws a RangeError otherwise. */
export function knownRange(text: string): AddressRange {
  const parsed = parseRange(text)
  if (!parsed.ok) throw new RangeError(`${text}: ${parsed.problem}`)
  return parsed.range
}

/** Null for what is no plain address. */
export function parseAddress(text: string): Buffer | null {
  return isPlainAddress(text) ? toBytes(text) : null
}

/** The range's own text; of an IPv4 one the dotted form. */
export function rangeText(range: AddressRange): string {
  return `${addressToText(range.prefix)}/${isV4(range) ? range.length - MAPPED_BITS : range.length}`
}

export function isV4({ prefix, length }: AddressRange): boolean {
  return length >= MAPPED_BITS && isMapped(prefix)
}

/** A range of IPv6 holds no IPv4, however wide it is. */
export function holdsAddress(range: AddressRange, address: Uint8Array): boolean {
  return isV4(range) === isMapped(address) && isIn(address, range)
}

/** Whether all of `inner` is in `outer`. */
export function holdsRange(outer: AddressRange, inner: AddressRange): boolean {
  return outer.length <= inner.length && isV4(outer) === isV4(inner) && isIn(inner.prefix, outer)
}

export function overlaps(one: AddressRange, other: AddressRange): boolean {
  return holdsRange(one, other) || holdsRange(other, one)
}

/** By prefix, then by length: a range comes before all that is in it. */
export function compareRanges(one: AddressRange, other: AddressRange): number {
  return Buffer.compare(one.prefix, other.prefix) || one.length - other.length
}

function isMapped(address: Uint8Array): boolean {
  for (let at = 0; at < MAPPED.length; at++) if (address[at] !== MAPPED[at]) return false
  return true
}

function refuse(problem: string, hint: string | null): RangeResult {
  return { ok: false, problem, hint }
}

/** Octal, hexadecimal and short forms are an address to one reader and another to the next. */
function isPlainAddress(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text) || (ipaddr.IPv6.isValid(text) && !text.includes('%'))
}

function toBytes(text: string): Buffer {
  const bytes = Buffer.from(ipaddr.parse(text).toByteArray())
  return bytes.length === 4 ? Buffer.concat([MAPPED, bytes]) : bytes
}

function rangeOf(address: string, length: number): AddressRange {
  const prefix = toBytes(address)
  for (let bit = length; bit < ADDRESS_BITS; bit++) {
    prefix[bit >> 3] = (prefix[bit >> 3] ?? 0) & ~(0x80 >> (bit & 7))
  }
  return { prefix, length }
}

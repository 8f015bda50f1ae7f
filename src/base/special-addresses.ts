/**
 * Addresses that no name of the internet should lead to: private, loopback, link-local, cloud metadata and the like (IANA's registries of
 * special-purpose addresses). Guards the gateway and the sensor against a name that is pointed at what is inside. One that carries an
 * IPv4 address within (mapped, NAT64, 6to4, Teredo) is judged by that, too.
 */

/** Of every address here: IPv4 as ::ffff:a.b.c.d. */
export const ADDRESS_BYTES = 16

export type SpecialKind = 'metadata' | 'loopback' | 'private' | 'link-local' | 'multicast' | 'reserved'

interface Range {
  readonly kind: SpecialKind
  readonly prefix: readonly number[]
  /** Bits of the prefix, within IPv4's 32 or IPv6's 128. */
  readonly length: number
}

/** First match counts. */
const IPV4: readonly Range[] = [
  { kind: 'metadata', prefix: [169, 254, 169, 254], length: 32 },
  { kind: 'metadata', prefix: [169, 254, 170, 2], length: 32 },
  { kind: 'metadata', prefix: [169, 254, 170, 23], length: 32 },
  { kind: 'metadata', prefix: [169, 254, 0, 23], length: 32 },
  { kind: 'metadata', prefix: [169, 254, 42, 42], length: 32 },
  { kind: 'metadata', prefix: [100, 96, 0, 96], length: 32 },
  { kind: 'metadata', prefix: [100, 100, 100, 200], length: 32 },
  { kind: 'metadata', prefix: [168, 63, 129, 16], length: 32 },
  { kind: 'metadata', prefix: [192, 0, 0, 192], length: 32 },
  { kind: 'reserved', prefix: [0], length: 8 },
  { kind: 'private', prefix: [10], length: 8 },
  { kind: 'private', prefix: [100, 64], length: 10 },
  { kind: 'loopback', prefix: [127], length: 8 },
  { kind: 'link-local', prefix: [169, 254], length: 16 },
  { kind: 'private', prefix: [172, 16], length: 12 },
  { kind: 'reserved', prefix: [192, 0, 0], length: 24 },
  { kind: 'reserved', prefix: [192, 0, 2], length: 24 },
  { kind: 'private', prefix: [192, 168], length: 16 },
  { kind: 'private', prefix: [198, 18], length: 15 },
  { kind: 'reserved', prefix: [198, 51, 100], length: 24 },
  { kind: 'reserved', prefix: [203, 0, 113], length: 24 },
  { kind: 'multicast', prefix: [224], length: 4 },
  { kind: 'reserved', prefix: [240], length: 4 },
]

const IPV6: readonly Range[] = [
  { kind: 'metadata', prefix: [0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54], length: 128 },
  { kind: 'metadata', prefix: [0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x23], length: 128 },
  { kind: 'metadata', prefix: [0xfd, 0, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0, 0, 0xa9, 0xfe, 0xa9, 0xfe], length: 128 },
  { kind: 'metadata', prefix: [0xfd, 0, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x42], length: 128 },
  { kind: 'metadata', prefix: [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xa9, 0xfe, 0xa9, 0xfe], length: 128 },
  { kind: 'metadata', prefix: [0xfd, 0x20, 0, 0xce, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54], length: 128 },
  { kind: 'loopback', prefix: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], length: 128 },
  { kind: 'reserved', prefix: [0], length: 8 },
  { kind: 'private', prefix: [0, 0x64, 0xff, 0x9b, 0, 1], length: 48 },
  { kind: 'reserved', prefix: [0x01], length: 8 },
  { kind: 'reserved', prefix: [0x20, 0x01, 0x0d, 0xb8], length: 32 },
  { kind: 'reserved', prefix: [0x3f, 0xff], length: 20 },
  { kind: 'reserved', prefix: [0x5f, 0], length: 16 },
  { kind: 'private', prefix: [0xfc], length: 7 },
  { kind: 'link-local', prefix: [0xfe, 0x80], length: 10 },
  { kind: 'private', prefix: [0xfe, 0xc0], length: 10 },
  { kind: 'multicast', prefix: [0xff], length: 8 },
]

/** IPv4 as it is here. */
const MAPPED = { prefix: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff], length: 96 } as const

/** IPv6 addresses that have an IPv4 address in them, and where; `not`: in Teredo's every bit is the other way round. */
const CARRIERS: readonly { prefix: readonly number[]; length: number; at: number; not?: true }[] = [
  { ...MAPPED, at: 12 },
  { prefix: [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0], length: 96, at: 12 },
  { prefix: [0x20, 0x02], length: 16, at: 2 },
  { prefix: [0x20, 0x01, 0, 0], length: 32, at: 12, not: true },
]

/** Null for an ordinary address of the internet. What is no address of 16 bytes is `reserved`. */
export function specialKindOf(address: Uint8Array): SpecialKind | null {
  if (address.length !== ADDRESS_BYTES) return 'reserved'
  const carrier = CARRIERS.find((each) => isIn(address, each))
  if (carrier === undefined) return kindIn(IPV6, address)
  const inner = address.subarray(carrier.at, carrier.at + 4)
  return kindIn(IPV4, carrier.not === true ? inner.map((byte) => ~byte & 0xff) : inner)
}

/** Whether the first `length` bits are those of `prefix`, which may be shorter than them: the rest is 0. */
export function isIn(address: Uint8Array, { prefix, length }: { prefix: ArrayLike<number>; length: number }): boolean {
  const whole = length >> 3
  for (let index = 0; index < whole; index++) if (address[index] !== (prefix[index] ?? 0)) return false
  const bits = length & 7
  if (bits === 0) return true
  const mask = (0xff << (8 - bits)) & 0xff
  return ((address[whole] ?? 0) & mask) === ((prefix[whole] ?? 0) & mask)
}

/** A prefix as a compiled policy has it. */
interface Prefix {
  readonly prefix?: Uint8Array | null
  readonly prefixLength?: number | null
}

/** Whether one of a rule's ranges of private addresses takes this address. A range of IPv6 takes no IPv4, however wide it is. */
export function takesPrivate(
  { allowPrivate }: { allowPrivate?: readonly Prefix[] | null },
  address: Uint8Array,
): boolean {
  return (allowPrivate ?? []).some(({ prefix, prefixLength }) => {
    const range = { prefix: prefix ?? [], length: prefixLength ?? 0 }
    return range.prefix.length === ADDRESS_BYTES && isOfIpv4(range) === isIn(address, MAPPED) && isIn(address, range)
  })
}

function isOfIpv4({ prefix, length }: { prefix: ArrayLike<number>; length: number }): boolean {
  return length >= MAPPED.length && isIn(Uint8Array.from(prefix), MAPPED)
}

/** IPv4's four bytes as ::ffff:a.b.c.d; sixteen bytes stay as they are. */
export function mappedAddress(bytes: Uint8Array): Uint8Array {
  if (bytes.length !== 4) return bytes
  const mapped = new Uint8Array(ADDRESS_BYTES)
  mapped.fill(0xff, 10, 12)
  mapped.set(bytes, 12)
  return mapped
}

function kindIn(ranges: readonly Range[], address: Uint8Array): SpecialKind | null {
  return ranges.find((range) => isIn(address, range))?.kind ?? null
}

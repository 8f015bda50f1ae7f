/**
 * What a socket's family, type and address mean: the protocol's name, and the one text form of an address that is not IPv4 or IPv6.
 * Reads the bytes of `struct sockaddr_*` as the caller gave them: shorter than they should be, they give what is there. Little-endian,
 * as every host we run on. Not here: paths that are relative (enrich-net.ts knows what they start from).
 */
import { Protocol } from '../proto/codec.js'
import { bytesToText } from '../proto/text.js'
import {
  AF_ALG,
  AF_INET,
  AF_INET6,
  AF_NETLINK,
  AF_PACKET,
  AF_UNIX,
  AF_VSOCK,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_MPTCP,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
  SOCK_RAW,
} from './kernel-facts.js'

const FAMILY_BYTES = 2
const NO_BYTES = new Uint8Array(0)

export interface SocketAddress {
  readonly address: string
  readonly port: number
}

const BY_FAMILY: ReadonlyMap<number, Protocol> = new Map([
  [AF_UNIX, Protocol.PROTOCOL_UNIX],
  [AF_NETLINK, Protocol.PROTOCOL_NETLINK],
  [AF_PACKET, Protocol.PROTOCOL_PACKET],
  [AF_ALG, Protocol.PROTOCOL_ALG],
  [AF_VSOCK, Protocol.PROTOCOL_VSOCK],
])

const BY_NUMBER: ReadonlyMap<number, Protocol> = new Map([
  [IPPROTO_TCP, Protocol.PROTOCOL_TCP],
  [IPPROTO_MPTCP, Protocol.PROTOCOL_TCP],
  [IPPROTO_UDP, Protocol.PROTOCOL_UDP],
  [IPPROTO_UDPLITE, Protocol.PROTOCOL_UDP],
  [IPPROTO_ICMP, Protocol.PROTOCOL_ICMP],
  [IPPROTO_ICMPV6, Protocol.PROTOCOL_ICMP],
  [IPPROTO_SCTP, Protocol.PROTOCOL_SCTP],
])

/** socket(2) may leave the protocol open. */
const BY_TYPE: ReadonlyMap<number, Protocol> = new Map([
  [1, Protocol.PROTOCOL_TCP],
  [2, Protocol.PROTOCOL_UDP],
  [5, Protocol.PROTOCOL_SCTP],
])

/** A raw socket is told as one whatever it carries: it can make up everything else. */
export function protocolOf(family: number, type: number, number: number): Protocol {
  const ofFamily = BY_FAMILY.get(family)
  if (ofFamily !== undefined) return ofFamily
  // A socket that was gone when it was asked has no family: the number still says something.
  if (family !== AF_INET && family !== AF_INET6 && family !== 0) return Protocol.PROTOCOL_OTHER
  if (type === SOCK_RAW) return Protocol.PROTOCOL_RAW
  const ofNumber = number === 0 ? BY_TYPE.get(type) : BY_NUMBER.get(number)
  return ofNumber ?? Protocol.PROTOCOL_OTHER
}

/** @param bytes a whole `struct sockaddr`, its family first */
export function sockaddrText(bytes: Uint8Array): SocketAddress {
  if (bytes.length < FAMILY_BYTES) return { address: '', port: 0 }
  const buffer = Buffer.alloc(Math.max(bytes.length, 128))
  buffer.set(bytes)
  const family = buffer.readUInt16LE(0)
  switch (family) {
    case AF_UNIX:
      return { address: unixName(bytes.subarray(FAMILY_BYTES)), port: 0 }
    case AF_NETLINK:
      return { address: String(buffer.readUInt32LE(4)), port: 0 }
    case AF_VSOCK:
      return { address: String(buffer.readUInt32LE(8)), port: buffer.readUInt32LE(4) }
    case AF_PACKET:
      return packetAddress(buffer)
    case AF_ALG:
      return { address: `${cString(buffer.subarray(2, 16))} ${cString(buffer.subarray(24, 88))}`, port: 0 }
    default:
      return { address: `${family}:${Buffer.from(bytes.subarray(FAMILY_BYTES)).toString('hex')}`, port: 0 }
  }
}

/** The path of a Unix address as bytes; empty for an abstract or missing name. */
export function unixPath(sockaddr: Uint8Array | null | undefined): Uint8Array {
  const name = (sockaddr ?? NO_BYTES).subarray(FAMILY_BYTES)
  const end = name.indexOf(0)
  return end < 0 ? name : name.subarray(0, end)
}

/** An abstract name is all its bytes, NULs in it included. */
function unixName(name: Uint8Array): string {
  if (name.length > 1 && name[0] === 0) return `@${bytesToText(name.subarray(1))}`
  const end = name.indexOf(0)
  return bytesToText(end < 0 ? name : name.subarray(0, end))
}

function packetAddress(buffer: Buffer): SocketAddress {
  const index = buffer.readInt32LE(4)
  const length = Math.min(buffer.readUInt8(11), 8)
  const hardware = buffer
    .subarray(12, 12 + length)
    .toString('hex')
    .replaceAll(/(..)(?!$)/g, '$1:')
  return { address: `${hardware}%${index}`, port: buffer.readUInt16BE(2) }
}

function cString(buffer: Buffer): string {
  const end = buffer.indexOf(0)
  return bytesToText(end < 0 ? buffer : buffer.subarray(0, end))
}

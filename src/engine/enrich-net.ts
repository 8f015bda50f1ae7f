/**
 * The network part of enriching: facts of calls on sockets, and of connections that ended, as the fields of their events. Not here:
 * what all events have in common, verdicts, and names of hosts.
 */
import { addressToText } from '../proto/address.js'
import {
  fromBigInt,
  type IConnect,
  type IConnectFacts,
  type IConnectionClosed,
  type IConnectionClosedFacts,
  type IListen,
  type Long,
  Protocol,
  toBigInt,
  Via,
} from '../proto/codec.js'
import { bytesToText } from '../proto/text.js'
import {
  AF_INET,
  AF_INET6,
  CONNECT_KERNEL_ADDR,
  PATH_TRUNCATED,
  VIA_CONNECT,
  VIA_PACKET,
  VIA_SENDMSG,
  VIA_SOCKET,
  VIA_URING,
} from './kernel-facts.js'
import { lexicalPath } from './lexical-path.js'
import { protocolOf, type SocketAddress, sockaddrText, unixPath } from './socket-address.js'

const NS_PER_MS = 1_000_000n
const NO_BYTES = new Uint8Array(0)
const NO_ADDRESS: SocketAddress = Object.freeze({ address: '', port: 0 })

const VIAS: ReadonlyMap<number, Via> = new Map([
  [VIA_CONNECT, Via.VIA_CONNECT],
  [VIA_SENDMSG, Via.VIA_SENDMSG],
  [VIA_SOCKET, Via.VIA_SOCKET],
  [VIA_URING, Via.VIA_URING],
  [VIA_PACKET, Via.VIA_PACKET],
])

/** @param bootTag of the boot: cookies are never used twice within one */
export function connectOf(facts: IConnectFacts, bootTag: string, lastTimeUnixNs: Long): IConnect {
  const common = callOf(facts, bootTag)
  const via = VIAS.get(facts.via ?? 0) ?? Via.VIA_UNSPECIFIED
  const isPacket = common.protocol === Protocol.PROTOCOL_PACKET && via === Via.VIA_SENDMSG
  return {
    ...common,
    hostname: '',
    localPort: facts.localPort ?? 0,
    via: isPacket ? Via.VIA_PACKET : via,
    count: fromBigInt(BigInt(facts.count ?? 1)),
    lastTimeUnixNs,
  }
}

export function listenOf(facts: IConnectFacts, bootTag: string): IListen {
  return callOf(facts, bootTag)
}

export function connectionClosedOf(facts: IConnectionClosedFacts, bootTag: string): IConnectionClosed {
  return {
    connectionId: connectionId(toBigInt(facts.cookie), bootTag),
    bytesSent: facts.bytesSent ?? null,
    bytesReceived: facts.bytesReceived ?? null,
    durationMs: fromBigInt(toBigInt(facts.durationNs) / NS_PER_MS),
    protocol: Protocol.PROTOCOL_TCP,
    address: addressToText(facts.addr ?? NO_BYTES),
    port: facts.port ?? 0,
    localPort: facts.localPort ?? 0,
    incoming: facts.incoming ?? false,
  }
}

function callOf(facts: IConnectFacts, bootTag: string) {
  const flags = facts.flags ?? 0
  const { address, port } = addressOf(facts)
  return {
    connectionId: connectionId(toBigInt(facts.cookie), bootTag),
    protocol: protocolOf(facts.family ?? 0, facts.type ?? 0, facts.protocol ?? 0),
    address,
    port,
    errno: facts.error ?? 0,
    resolved: (flags & CONNECT_KERNEL_ADDR) !== 0 && ((facts.baseFlags ?? 0) & PATH_TRUNCATED) === 0,
  }
}

function connectionId(cookie: bigint, bootTag: string): string {
  return cookie === 0n ? '' : `${bootTag}-c${cookie.toString(36)}`
}

function addressOf(facts: IConnectFacts): SocketAddress {
  const { base, sockaddr } = facts
  if (base && base.length > 0) return { address: bytesToText(lexicalPath(base, unixPath(sockaddr))), port: 0 }
  if (sockaddr && sockaddr.length > 0) return sockaddrText(sockaddr)
  const family = facts.family ?? 0
  // A socket that was gone when it was asked has no family, but only IPv4 and IPv6 addresses come without a sockaddr.
  const isInternet = family === AF_INET || family === AF_INET6 || family === 0
  if (!isInternet || facts.via === VIA_SOCKET) return NO_ADDRESS
  return { address: addressToText(facts.addr ?? NO_BYTES), port: facts.port ?? 0 }
}

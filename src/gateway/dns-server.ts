/**
 * The sockets that one sandbox's queries come in by: UDP and TCP, at one port of 127.0.0.1 and one of ::1, of the gateway's own network
 * namespace or made by the sensor in another one. Which socket it came by is whose query it is: the kernel brings a sandbox to its own
 * ports and to no others. It guards the number of connections and of queries under way. Not here: what is answered.
 */
import dgram from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import { errnoCode, SluiceError } from '../base/error.js'
import type { SandboxDns } from './sandbox-dns.js'
import { TcpFrames, tcpFrame } from './tcp-frames.js'

export const CONNECTIONS_MAX = 32
/** Of one connection; what comes beyond is not read before. */
export const TCP_QUERIES_MAX = 16
/** Of one sandbox, by UDP; what comes beyond is counted and not answered. */
export const UDP_QUERIES_MAX = 256
export const IDLE_MS = 10_000
const BIND_TRIES_MAX = 16

export interface DnsPorts {
  readonly ip4: number
  /** 0: this machine has no IPv6. */
  readonly ip6: number
}

/** Descriptors of bound sockets, which are taken over. */
export interface DoorFds {
  readonly udp: number
  readonly tcp: number
}

type Answering = Pick<SandboxDns, 'answer' | 'turnAway'>

interface Door {
  readonly port: number
  close(): void
}

export class DnsServer {
  readonly ports: DnsPorts
  readonly #doors: readonly Door[]

  private constructor(doors: { ip4: Door; ip6: Door | null }) {
    this.ports = { ip4: doors.ip4.port, ip6: doors.ip6?.port ?? 0 }
    this.#doors = [doors.ip4, ...(doors.ip6 === null ? [] : [doors.ip6])]
  }

  /** Throws IO. */
  static async open(dns: Answering): Promise<DnsServer> {
    const ip4 = await openDoor(dns, '127.0.0.1')
    const ip6 = await openDoor(dns, '::1').catch((error: unknown) => {
      if (NO_IPV6.includes(errnoCode(error) ?? '')) return null
      ip4.close()
      throw error
    })
    return new DnsServer({ ip4, ip6 })
  }

  /** With sockets that somebody else bound. Throws IO for descriptors that are none. */
  static async adopt(dns: Answering, fds: { ip4: DoorFds; ip6: DoorFds | null }): Promise<DnsServer> {
    const ip4 = await adoptDoor(dns, 'udp4', fds.ip4)
    return new DnsServer({ ip4, ip6: fds.ip6 === null ? null : await adoptDoor(dns, 'udp6', fds.ip6) })
  }

  close(): void {
    for (const door of this.#doors) door.close()
  }
}

const NO_IPV6: readonly string[] = ['EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EINVAL']

/** One port for both: a free one for UDP need not be free for TCP. */
async function openDoor(dns: Answering, host: string): Promise<Door> {
  for (let tries = 0; tries < BIND_TRIES_MAX; tries++) {
    const udp = dgram.createSocket({ type: net.isIPv6(host) ? 'udp6' : 'udp4', ipv6Only: net.isIPv6(host) })
    udp.bind({ address: host, port: 0, exclusive: true })
    await once(udp, 'listening')
    const { port } = udp.address()
    const tcp = net.createServer({ allowHalfOpen: true })
    try {
      tcp.listen({ host, port, exclusive: true })
      await once(tcp, 'listening')
    } catch (error) {
      udp.close()
      if (errnoCode(error) === 'EADDRINUSE') continue
      throw error
    }
    return serveDoor(dns, { udp, tcp, port })
  }
  throw new SluiceError('IO', `no port of ${host} is free for UDP and TCP`)
}

async function adoptDoor(dns: Answering, type: 'udp4' | 'udp6', fds: DoorFds): Promise<Door> {
  const udp = dgram.createSocket({ type })
  // Unlike one by address it listens when this returns.
  udp.bind({ fd: fds.udp, exclusive: true })
  const tcp = net.createServer({ allowHalfOpen: true })
  tcp.listen({ fd: fds.tcp, exclusive: true })
  await once(tcp, 'listening')
  return serveDoor(dns, { udp, tcp, port: udp.address().port })
}

function serveDoor(dns: Answering, { udp, tcp, port }: { udp: dgram.Socket; tcp: net.Server; port: number }): Door {
  const isOpen = { udp: true }
  serveUdp(udp, dns, isOpen)
  const drop = serveTcp(tcp, dns)
  const close = () => {
    isOpen.udp = false
    udp.close()
    tcp.close()
    drop()
  }
  return { port, close }
}

/** @param isOpen nothing can be sent by a socket that was closed while an answer was under way */
function serveUdp(socket: dgram.Socket, dns: Answering, isOpen: { readonly udp: boolean }): void {
  let underWay = 0
  socket.on('message', (bytes, { address, port }) => {
    if (underWay >= UDP_QUERIES_MAX) {
      dns.turnAway()
      return
    }
    underWay++
    void dns.answer(bytes, 'udp').then((reply) => {
      underWay--
      if (reply !== null && isOpen.udp) socket.send(reply, port, address, () => {})
    })
  })
  // An answer that nobody waits for comes back as an error.
  socket.on('error', () => {})
}

/** Gives back what cuts off everybody. */
function serveTcp(server: net.Server, dns: Answering): () => void {
  const open = new Set<net.Socket>()
  server.maxConnections = CONNECTIONS_MAX
  server.on('error', () => {})
  server.on('connection', (socket) => {
    open.add(socket)
    socket.on('close', () => open.delete(socket))
    serveConnection(socket, dns)
  })
  return () => {
    for (const socket of open) socket.destroy()
  }
}

function serveConnection(socket: net.Socket, dns: Answering): void {
  let underWay = 0
  let hasEnded = false
  const frames = new TcpFrames((bytes) => {
    if (++underWay >= TCP_QUERIES_MAX) {
      frames.pause()
      socket.pause()
    }
    void dns.answer(bytes, 'tcp').then((reply) => {
      underWay--
      // What gets no answer by UDP is no DNS here.
      if (reply === null) socket.destroy()
      else if (socket.writable) socket.write(tcpFrame(reply))
      frames.resume()
      if (underWay < TCP_QUERIES_MAX) socket.resume()
      if (hasEnded && underWay === 0) socket.end()
    })
  })
  socket.setTimeout(IDLE_MS, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk) => frames.push(chunk))
  socket.on('end', () => {
    hasEnded = true
    if (underWay === 0) socket.end()
  })
}

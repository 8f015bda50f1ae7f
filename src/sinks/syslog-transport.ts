/**
 * Events to a syslog receiver: TLS, TCP, UDP or a unix socket. Guards that a message which is longer than a datagram is put aside, not cut, and that what was
 * underway when a connection broke is sent again: syslog has no acknowledgement, so what a receiver loses in silence is lost.
 */
import { createSocket, type Socket as Datagrams } from 'node:dgram'
import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { errnoCode, SluiceError } from '../base/error.js'
import type { SyslogSettings } from '../schema/sink-settings.js'
import type { SinkSecrets } from './secrets.js'
import { framed, syslogMessage } from './syslog-message.js'
import type { Item, Outcome, Transport } from './transport.js'

const CONNECT_MS = 10_000
const CLOSE_MS = 1_000
const WRITE_MS = 30_000
/** Of IPv4 and IPv6 alike. */
const UDP_BYTES_MAX = 65_507
const UNIX_BYTES_MAX = 128 * 1024
/** What was written for less long may not have arrived when a connection breaks. */
const UNPROVED_MS = 2_000
const UNPROVED_BYTES_MAX = 2 * 1024 * 1024
/** To a receiver that breaks off each time: it may well have them. */
const TIMES_MAX = 4
const AGAIN_MS = 500

export type SendDatagram = (path: string, text: string) => void

interface Written {
  readonly atMs: number
  readonly bytes: Buffer
  readonly times: number
}

/** A connection that is kept, and made anew where it broke. */
export class SyslogStream implements Transport {
  private readonly settings: SyslogSettings
  private readonly secrets: SinkSecrets
  private socket: Socket | null = null
  private readonly unprovedMs: number
  private unproved: Written[] = []
  private turn: Promise<unknown> = Promise.resolve()
  private readonly closing = new AbortController()

  constructor(settings: SyslogSettings, secrets: SinkSecrets, unprovedMs = UNPROVED_MS) {
    this.settings = settings
    this.secrets = secrets
    this.unprovedMs = unprovedMs
  }

  async send(items: readonly Item[], signal: AbortSignal): Promise<Outcome> {
    const { framing = 'octets' } = this.settings
    const bytes = Buffer.concat(items.map((item) => framed(syslogMessage(item, this.settings), framing)))
    await this.inTurn(async () => {
      await write(await this.connection(signal), bytes, signal)
      this.remember({ bytes, times: 1 })
    })
    return {}
  }

  async close(): Promise<void> {
    this.closing.abort()
    await this.turn
    const { socket } = this
    this.socket = null
    if (socket === null || socket.destroyed) return
    await new Promise<void>((resolve) => {
      socket.once('close', () => resolve())
      setTimeout(() => socket.destroy(), CLOSE_MS).unref()
      socket.end()
    })
  }

  private inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.turn.then(work)
    this.turn = done.catch(() => {})
    return done
  }

  /** One that is new is given first what the one before it may have lost. */
  private async connection(signal: AbortSignal): Promise<Socket> {
    if (this.socket?.destroyed === false && this.socket.writable) return this.socket
    const socket = await this.connected(signal)
    this.socket = socket
    socket.once('close', () => this.again())
    const before = this.unproved
    this.unproved = []
    try {
      for (const { bytes, times } of before) {
        await write(socket, bytes, signal)
        if (times < TIMES_MAX) this.remember({ bytes, times: times + 1 })
      }
    } catch (error) {
      this.unproved = before
      throw error
    }
    return socket
  }

  /** Nothing else may come for long. */
  private again(): void {
    if (this.unproved.length === 0 || this.closing.signal.aborted) return
    setTimeout(() => {
      if (this.closing.signal.aborted) return
      this.inTurn(async () => void (await this.connection(this.closing.signal))).catch(() => this.again())
    }, AGAIN_MS).unref()
  }

  private remember({ bytes, times }: Omit<Written, 'atMs'>): void {
    const now = performance.now()
    this.unproved.push({ atMs: now, bytes, times })
    let room = UNPROVED_BYTES_MAX
    const kept = this.unproved.toReversed().filter((each) => {
      room -= each.bytes.length
      return room >= 0 && now - each.atMs < this.unprovedMs
    })
    this.unproved = kept.reverse()
  }

  private connected(signal: AbortSignal): Promise<Socket> {
    const { host, port } = hostAndPort(this.settings.address)
    const { tls } = this.secrets
    const name = isIP(host) === 0 ? { servername: host } : {}
    const isTls = this.settings.transport === 'tls'
    const socket = isTls ? connectTls({ host, port, ...name, ...tls }) : connect({ host, port })
    return new Promise<Socket>((resolve, reject) => {
      const give = (error: Error) => {
        socket.destroy()
        reject(error)
      }
      const timer = setTimeout(() => give(new Error(`no connection within ${CONNECT_MS} ms`)), CONNECT_MS)
      const onAbort = () => give(new Error('stopped'))
      signal.addEventListener('abort', onAbort, { once: true })
      socket.once('close', () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
        reject(new Error('the connection was closed'))
      })
      socket.once('error', give)
      socket.once(isTls ? 'secureConnect' : 'connect', () => {
        clearTimeout(timer)
        socket.off('error', give)
        // Its closing says enough.
        socket.on('error', () => {})
        // Nobody answers; what does is not heard, and that it ends is.
        socket.resume()
        resolve(socket)
      })
    })
  }
}

/** Resolves when the kernel has all of it. */
function write(socket: Socket, bytes: Buffer, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (error: Error | null) => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      socket.off('close', onClose)
      if (error === null) return resolve()
      socket.destroy()
      reject(error)
    }
    const onClose = () => end(new Error('the connection broke'))
    const onAbort = () => end(new Error('stopped'))
    const timer = setTimeout(() => end(new Error(`the receiver took nothing for ${WRITE_MS} ms`)), WRITE_MS)
    signal.addEventListener('abort', onAbort, { once: true })
    socket.once('close', onClose)
    socket.write(bytes, (error) => end(error ?? null))
  })
}

/** UDP, and unix sockets of datagrams. */
export class SyslogDatagrams implements Transport {
  private readonly settings: SyslogSettings
  private readonly sendUnix: SendDatagram
  private socket: Datagrams | null = null

  constructor(settings: SyslogSettings, sendUnix: SendDatagram) {
    this.settings = settings
    this.sendUnix = sendUnix
  }

  async send(items: readonly Item[]): Promise<Outcome> {
    const dead: { item: Item; reason: string }[] = []
    const isUnix = this.settings.transport === 'unix'
    const max = isUnix ? UNIX_BYTES_MAX : UDP_BYTES_MAX
    for (const [at, item] of items.entries()) {
      const message = syslogMessage(item, this.settings)
      if (message.length > max) dead.push({ item, reason: `${message.length} bytes are more than a datagram has` })
      else {
        try {
          await (isUnix ? this.toUnix(message) : this.toUdp(message))
        } catch (error) {
          return { dead, retry: items.slice(at), reason: errnoCode(error) ?? String(error) }
        }
      }
    }
    return { dead }
  }

  async close(): Promise<void> {
    this.socket?.close()
    this.socket = null
  }

  private async toUnix(message: Buffer): Promise<void> {
    this.sendUnix(this.settings.address, message.toString('utf8'))
  }

  private toUdp(message: Buffer): Promise<void> {
    const { host, port } = hostAndPort(this.settings.address)
    if (this.socket === null) {
      this.socket = createSocket(isIP(host) === 6 ? 'udp6' : 'udp4')
      this.socket.on('error', () => {})
      this.socket.unref()
    }
    const { socket } = this
    return new Promise((resolve, reject) => {
      socket.send(message, port, host, (error) => (error === null ? resolve() : reject(error)))
    })
  }
}

function hostAndPort(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(':')
  const host = address.slice(0, at).replace(/^\[|\]$/g, '')
  const port = Number(address.slice(at + 1))
  if (at > 0 && port > 0 && port < 65_536) return { host, port }
  throw new SluiceError('USAGE', `${address} is no host:port`)
}

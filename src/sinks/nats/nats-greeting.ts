/**
 * What a server of NATS says first, in plain text, before anything is told to it. Guards that a server which hangs costs a bounded time and leaves no
 * socket behind: the library's own attempt at it keeps one open as long as it hangs.
 */
import { connect, type Socket } from 'node:net'
import { SluiceError } from '../../base/error.js'

const GREETING_BYTES_MAX = 64 * 1024
const PORT = 4_222

export interface ServerAddress {
  readonly host: string
  readonly port: number
  /** The address says that it must be. */
  readonly isTls: boolean
}

export interface Greeting {
  readonly hasTls: boolean
}

/** @param text one of the configuration, which were checked */
export function serverAddress(text: string): ServerAddress {
  const { protocol, hostname, port } = new URL(text)
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  return { host, port: port === '' ? PORT : Number(port), isTls: protocol === 'tls:' }
}

export function named({ host, port }: ServerAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Rejects where there is none within `ms`. */
export async function greeting(server: ServerAddress, ms: number, signal: AbortSignal): Promise<Greeting> {
  const socket = connect({ host: server.host, port: server.port })
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(ms)])
  try {
    const line = await firstLine(socket, deadline)
    const info: unknown = /^INFO \{/.test(line) ? JSON.parse(line.slice('INFO '.length)) : null
    if (typeof info !== 'object' || info === null) throw new SluiceError('PROTOCOL', 'it is no server of NATS')
    return { hasTls: Reflect.get(info, 'tls_required') === true || Reflect.get(info, 'tls_available') === true }
  } finally {
    socket.destroy()
  }
}

function firstLine(socket: Socket, deadline: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const stop = () => reject(new SluiceError('IO', 'it does not answer'))
    deadline.addEventListener('abort', stop, { once: true })
    if (deadline.aborted) stop()
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => {
      text += chunk
      const end = text.indexOf('\r\n')
      if (end >= 0) resolve(text.slice(0, end))
      else if (text.length > GREETING_BYTES_MAX) reject(new SluiceError('PROTOCOL', 'it is no server of NATS'))
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new SluiceError('IO', 'it closed the connection')))
  })
}

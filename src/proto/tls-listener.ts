/**
 * A TCP port that speaks TLS with certificates on both sides: whoever connects shows one of our authority, and is judged by it, before a
 * byte of what it says is parsed by anybody but the TLS library.
 *
 * Guards that the decision fails closed, that a handshake and the number of connections have limits, and that every refusal is handed on.
 * A session is never resumed: each connection shows a certificate that is valid now. Not here: what a peer may say once it is in.
 */
import tls from 'node:tls'
import { errnoCode, messageOf, reasonOf, SluiceError } from '../base/error.js'
import { closeServer } from './close-server.js'
import type { TcpAddress } from './tcp-address.js'
import { isNameOf, namesOf, TLS_MIN_VERSION, type TlsIdentity } from './tls-files.js'

/** Open connections, handshakes included; further ones are closed at once. */
const CONNECTIONS_MAX = 256
const HANDSHAKE_MS = 5_000
const NO_TICKETS = 0x4000
const WANTED_FAILURE = 'UNABLE_TO_GET_ISSUER_CERT'

/** Who is at the other end, by a certificate of our authority. */
export interface TlsPeer {
  readonly address: string
  /** For people. */
  readonly names: string
  /** Whether it may speak for the node of that name. */
  isNamed(name: string): boolean
}

export interface RefusedRemote {
  readonly address: string
  /** Null: it showed no certificate of ours. */
  readonly names: string | null
  readonly reason: string
}

export interface TlsListener {
  /** With the port that was given out. */
  readonly address: TcpAddress
  /** Accepts no more; waits until all connections are closed, closes what is left at the deadline. */
  close(deadlineMs: number): Promise<void>
}

export interface TlsListenerOptions {
  readonly address: TcpAddress
  readonly identity: TlsIdentity
  /** That are served; null: all that have a certificate of our authority. */
  readonly nodes: readonly string[] | null
  onRefused(remote: RefusedRemote): void
  accept(socket: tls.TLSSocket, peer: TlsPeer): void
}

/** Throws IO when the address can't be listened on. */
export async function listenTls(options: TlsListenerOptions): Promise<TlsListener> {
  const { ca, cert, key } = options.identity
  const open = new Set<tls.TLSSocket>()
  const server = tls.createServer({
    ...{ ca, cert, key, minVersion: TLS_MIN_VERSION, secureOptions: NO_TICKETS, handshakeTimeout: HANDSHAKE_MS },
    requestCert: true,
    // Node would close the connection without a word on why; `judge` does it with one.
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
  })
  server.maxConnections = CONNECTIONS_MAX
  server.on('drop', (data) => {
    const reason = `more than ${CONNECTIONS_MAX} connections are open`
    options.onRefused({ address: data?.remoteAddress ?? 'unknown', names: null, reason })
  })
  // It caches the address, which a connection that is gone has no more.
  server.on('connection', (socket) => void socket.remoteAddress)
  server.on('tlsClientError', (error, socket) => {
    options.onRefused({ address: addressOf(socket), names: null, reason: handshakeFailure(error) })
    socket.destroy()
  })
  server.on('secureConnection', (socket) => {
    socket.on('error', () => {})
    const judged = judge(socket, options)
    if ('reason' in judged) {
      options.onRefused(judged)
      socket.destroy()
      return
    }
    open.add(socket)
    socket.once('close', () => open.delete(socket))
    socket.setNoDelay(true)
    options.accept(socket, judged)
  })
  const address = await listen(server, options.address)
  return {
    address,
    // A handshake that is underway is in no set and has its own limit.
    close: (deadlineMs) => closeServer(server, open, deadlineMs),
  }
}

/** What can't be told is refused. */
function judge(socket: tls.TLSSocket, { nodes }: TlsListenerOptions): TlsPeer | RefusedRemote {
  const address = addressOf(socket)
  try {
    const certificate = socket.getPeerX509Certificate()
    if (certificate === undefined) return { address, names: null, reason: 'it showed no certificate' }
    if (socket.authorized !== true) {
      return { address, names: null, reason: certificateFailure(String(socket.authorizationError)) }
    }
    const names = namesOf(certificate)
    const isNamed = (name: string) => (nodes?.includes(name) ?? true) && isNameOf(certificate, name)
    if (nodes === null || nodes.some(isNamed)) return { address, names, isNamed }
    return { address, names, reason: 'its certificate is for none of the nodes that this engine serves' }
  } catch (error) {
    return { address, names: null, reason: `its certificate can't be judged: ${messageOf(error)}` }
  }
}

function addressOf(socket: tls.TLSSocket): string {
  return socket.remoteAddress ?? 'unknown'
}

/** By the names that OpenSSL has for it. */
function certificateFailure(code: string): string {
  if (code === 'CERT_HAS_EXPIRED') return 'its certificate has expired'
  if (code === 'CERT_NOT_YET_VALID') return 'its certificate is not valid yet'
  if (code === 'INVALID_PURPOSE') return 'its certificate is not for clients'
  const isForeign = code.includes('SELF_SIGNED') || code.includes('VERIFY') || code.startsWith(WANTED_FAILURE)
  return isForeign ? `its certificate is not from our CA (${code})` : `its certificate is not valid (${code})`
}

function handshakeFailure(error: Error): string {
  const code = errnoCode(error) ?? ''
  if (code === 'ECONNRESET') return 'it went away during the handshake; it may not accept our certificate'
  if (code === 'ERR_TLS_HANDSHAKE_TIMEOUT') return `the handshake took more than ${HANDSHAKE_MS} ms`
  if (code.startsWith('ERR_SSL_') && /WRONG_VERSION|HTTP_REQUEST|RECORD|PROTOCOL/.test(code)) {
    return `it does not speak TLS as we do (${code})`
  }
  return `the handshake failed (${code || 'no code'})`
}

async function listen(server: tls.Server, { host, port }: TcpAddress): Promise<TcpAddress> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port }, () => resolve())
    })
  } catch (error) {
    throw new SluiceError('IO', `can't listen on ${host}:${port}: ${reasonOf(error)}`, {
      hint: "the address must be this machine's and the port free",
      cause: error,
    })
  }
  const bound = server.address()
  return { host, port: typeof bound === 'object' && bound !== null ? bound.port : port }
}

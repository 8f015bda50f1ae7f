/**
 * The connection to a cluster of NATS: one, to whichever of its servers answers, made anew only when it is asked for, so that the queue before it
 * says when. Guards that TLS is there where the configuration wants it, and that the certificate is of the host that was asked for. Not here: what is sent.
 */
import { checkServerIdentity } from 'node:tls'
import { type JetStreamClient, jetstream } from '@nats-io/jetstream'
import {
  type Authenticator,
  connect,
  credsAuthenticator,
  type NatsConnection,
  nkeyAuthenticator,
  type TlsOptions,
  tokenAuthenticator,
} from '@nats-io/transport-node'
import { messageOf, reasonOf, SluiceError } from '../../base/error.js'
import type { NatsSettings } from '../../schema/sink-settings.js'
import type { SinkSecrets } from '../secrets.js'
import { greeting, named, type ServerAddress, serverAddress } from './nats-greeting.js'

const CONNECT_MS = 10_000
/** A server that hangs is noticed though nothing is sent. */
const PING_MS = 20_000
const PINGS_MAX = 2
/** Of a server that does not say. */
const MAX_PAYLOAD = 1024 * 1024

export interface Link {
  readonly connection: NatsConnection
  readonly stream: JetStreamClient
  /** In bytes, headers and all. */
  readonly maxPayload: number
}

export interface NatsLinkOptions {
  readonly settings: NatsSettings
  readonly secrets: SinkSecrets
  readonly version: string
  /** Once for each connection, before anything is sent. */
  prepare(connection: NatsConnection): Promise<void>
}

export class NatsLink {
  private readonly options: NatsLinkOptions
  private readonly servers: ServerAddress[]
  private readonly authenticator: Authenticator | null
  private link: Link | null = null

  constructor(options: NatsLinkOptions) {
    this.options = options
    this.servers = options.settings.servers.map(serverAddress)
    this.authenticator = authenticatorOf(options.secrets)
  }

  /** The one there is, or another. Throws why none of the servers can be had. */
  async opened(signal: AbortSignal): Promise<Link> {
    if (this.link?.connection.isClosed() === false) return this.link
    const problems: string[] = []
    // The next time begins with another one: all nodes would be at the first.
    this.servers.push(...this.servers.splice(0, 1))
    for (const server of this.servers) {
      if (signal.aborted) break
      try {
        return await this.open(server, signal)
      } catch (error) {
        problems.push(`${named(server)}: ${reasonOf(error)}`)
      }
    }
    throw new SluiceError('IO', problems.join('; ') || 'there was no time left')
  }

  /** What is underway on it fails. */
  async drop(): Promise<void> {
    const link = this.link
    this.link = null
    await link?.connection.close()
  }

  private async open(server: ServerAddress, signal: AbortSignal): Promise<Link> {
    const { settings, secrets, version, prepare } = this.options
    const { hasTls } = await greeting(server, CONNECT_MS, signal)
    const wantsTls = server.isTls || settings.tls !== undefined
    if (wantsTls && !hasTls) throw new SluiceError('IO', 'the server has no TLS, and the configuration wants it')
    const name = settings.tls?.serverName ?? server.host
    const tls = {
      ...secrets.tls,
      // The library knows no names of addresses, and would take a certificate of "localhost" for any.
      checkServerIdentity: (_: string, certificate: Parameters<typeof checkServerIdentity>[1]) =>
        checkServerIdentity(name, certificate),
    }
    const connection = await connect({
      ...{ servers: named(server), name: `sluice/${version}`, timeout: CONNECT_MS },
      ...{ reconnect: false, ignoreClusterUpdates: true, pingInterval: PING_MS, maxPingOut: PINGS_MAX },
      noAsyncTraces: true,
      tls: hasTls ? (tls as TlsOptions) : null,
      ...(this.authenticator === null ? {} : { authenticator: this.authenticator }),
    }).catch((error: unknown) => {
      throw connectError(error)
    })
    try {
      await prepare(connection)
      if (signal.aborted) throw new SluiceError('IO', 'there was no time left')
    } catch (error) {
      await connection.close()
      throw error
    }
    const maxPayload = connection.info?.max_payload ?? MAX_PAYLOAD
    this.link = { connection, stream: jetstream(connection), maxPayload }
    return this.link
  }
}

function authenticatorOf({ token, nats }: SinkSecrets): Authenticator | null {
  if (token !== null) return tokenAuthenticator(token)
  if (nats === null) return null
  const bytes = new TextEncoder().encode(nats.text)
  return nats.kind === 'nkey' ? nkeyAuthenticator(bytes) : credsAuthenticator(bytes)
}

function connectError(error: unknown): Error {
  const said = messageOf(error)
  if (/authorization|authentication/i.test(said)) {
    return new SluiceError(
      'IO',
      `the server does not let us in (${said}): is it the right credentials, and are they still valid?`,
    )
  }
  return error instanceof Error
    ? error
    : new SluiceError('IO', said === 'undefined' ? 'it closed the connection' : said)
}

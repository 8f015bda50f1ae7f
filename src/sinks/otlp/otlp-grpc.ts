/**
 * Requests of OTLP over gRPC, on one connection that is kept while it works. Guards that every call ends, that certificates are checked, and that a broken connection is not taken for a
 * receiver's word. What codes mean: https://opentelemetry.io/docs/specs/otlp/#failures
 */
import { isIP } from 'node:net'
import { checkServerIdentity, createSecureContext } from 'node:tls'
import * as grpc from '@grpc/grpc-js'
import { lastError } from '../../proto/tls-failure.js'
import type { OtlpSettings } from '../../schema/sink-settings.js'
import { ownHeaders } from '../http-post.js'
import type { SinkSecrets } from '../secrets.js'
import { type OtlpAnswer, type OtlpWay, rpcStatus } from './otlp-answer.js'
import { partialSuccess } from './otlp-request.js'

const EXPORT = '/opentelemetry.proto.collector.logs.v1.LogsService/Export'
const DETAILS = 'grpc-status-details-bin'
const { status } = grpc
/** These pass by themselves; RESOURCE_EXHAUSTED only where the receiver says when. */
const RETRYABLE = [
  ...[status.CANCELLED, status.DEADLINE_EXCEEDED, status.ABORTED],
  ...[status.OUT_OF_RANGE, status.UNAVAILABLE, status.DATA_LOSS],
]
/** A token, a right, an address: somebody can put them right. */
const MENDABLE = [status.UNAUTHENTICATED, status.PERMISSION_DENIED, status.UNIMPLEMENTED, status.NOT_FOUND]
/** How grpc-js, and the servers in Go, C++, Java and Rust, say that a request is longer than they take. */
const LONG_CODES = [status.RESOURCE_EXHAUSTED, status.OUT_OF_RANGE]
const TOO_LONG = /larger than (the )?max|exceeds (the )?max|too large|size larger than|greater than (the )?max/i
/** grpc-js made it of what happened to the connection, or of an answer that is not gRPC's: no receiver said that. */
const OF_CONNECTION =
  /^Received (RST_STREAM|HTTP status code)|^No status information received|^Bandwidth exhausted|^Failed to decompress/
/** Said in the handshake where the receiver is named by an address: that can't be said there. */
const UNNAMED_SERVER = 'otlp-receiver'
const GZIP = 2
const RECONNECT_MIN_MS = 50
const RECONNECT_MAX_MS = 1_000

export class OtlpGrpc implements OtlpWay {
  private readonly settings: OtlpSettings
  private readonly parts: { secrets: SinkSecrets; version: string; timeoutMs: number }
  private readonly metadata = new grpc.Metadata()
  private client: grpc.Client | null = null

  constructor(settings: OtlpSettings, parts: { secrets: SinkSecrets; version: string; timeoutMs: number }) {
    this.settings = settings
    this.parts = parts
    const { headers, token } = parts.secrets
    // The agent's name is the connection's.
    const { 'user-agent': _, ...own } = ownHeaders(parts.version, { token })
    for (const [name, value] of Object.entries({ ...settings.headers, ...headers, ...own }))
      this.metadata.set(name, value)
  }

  async send(request: Uint8Array, signal: AbortSignal): Promise<OtlpAnswer> {
    const answer = await this.call(Buffer.from(request.buffer, request.byteOffset, request.length), signal)
    // It may hang: the next one has a connection of its own.
    if (answer.state === 'later' && answer.afterMs === null) this.close()
    return answer
  }

  close(): void {
    this.client?.close()
    this.client = null
  }

  private call(request: Buffer, signal: AbortSignal): Promise<OtlpAnswer> {
    this.client ??= connected(this.settings, this.parts)
    const { client, metadata } = this
    const bytes = (message: Buffer) => message
    const deadline = Date.now() + this.parts.timeoutMs
    return new Promise((resolve, reject) => {
      const call = client.makeUnaryRequest(EXPORT, bytes, bytes, request, metadata, { deadline }, (error, response) => {
        signal.removeEventListener('abort', stop)
        try {
          const taken = () => ({ state: 'taken', partial: partialSuccess(response ?? Buffer.alloc(0)) }) as const
          resolve(error === null ? taken() : meaning(error))
        } catch (thrown) {
          reject(thrown)
        }
      })
      const stop = () => call.cancel()
      signal.addEventListener('abort', stop, { once: true })
      if (signal.aborted) stop()
    })
  }
}

function connected(
  { url, gzip }: OtlpSettings,
  { secrets, version }: { secrets: SinkSecrets; version: string },
): grpc.Client {
  const { hostname, port, host, protocol } = new URL(url)
  const isTls = protocol === 'https:'
  const name = secrets.tls.servername ?? hostname.replace(/^\[(.*)\]$/, '$1')
  const { servername: _, ...tls } = secrets.tls
  const credentials = isTls
    ? grpc.credentials.createFromSecureContext(createSecureContext(tls), {
        checkServerIdentity: (_, certificate) => checkServerIdentity(name, certificate),
      })
    : grpc.credentials.createInsecure()
  return new grpc.Client(`dns:///${hostname}:${port || (isTls ? 443 : 80)}`, credentials, {
    'grpc.primary_user_agent': `sluice/${version}`,
    'grpc.default_authority': host,
    ...(isTls ? { 'grpc.ssl_target_name_override': isIP(name) === 0 ? name : UNNAMED_SERVER } : {}),
    ...(gzip === false ? {} : { 'grpc.default_compression_algorithm': GZIP }),
    // When to try again is the sink's to say, and how long a request may be the receiver's.
    ...{ 'grpc.enable_retries': 0, 'grpc.max_send_message_length': -1, 'grpc.service_config_disable_resolution': 1 },
    ...{ 'grpc.enable_http_proxy': 0, 'grpc.enable_channelz': 0, 'grpc.use_local_subchannel_pool': 1 },
    ...{ 'grpc.initial_reconnect_backoff_ms': RECONNECT_MIN_MS, 'grpc.max_reconnect_backoff_ms': RECONNECT_MAX_MS },
  })
}

function meaning({ code, details, metadata }: grpc.StatusObject): OtlpAnswer {
  const [trailer] = metadata.get(DETAILS)
  const { retryMs } = rpcStatus(Buffer.isBuffer(trailer) ? trailer : Buffer.alloc(0))
  const reason = `${status[code] ?? code}: ${lastError(details)}`
  if (retryMs === null && LONG_CODES.includes(code) && TOO_LONG.test(details)) return { state: 'too-long', reason }
  const passes = RETRYABLE.includes(code) || (code === status.RESOURCE_EXHAUSTED && retryMs !== null)
  if (passes || MENDABLE.includes(code) || OF_CONNECTION.test(details))
    return { state: 'later', reason, afterMs: retryMs }
  return { state: 'refused', reason }
}

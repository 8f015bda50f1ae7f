/** Requests of OTLP over HTTP: protobuf, packed. What its codes mean: https://opentelemetry.io/docs/specs/otlp/#otlphttp-response. Not here: the connection (http-post.ts). */
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { OtlpSettings } from '../../schema/sink-settings.js'
import { type Answer, HttpPost, isTaken, ownHeaders } from '../http-post.js'
import type { SinkSecrets } from '../secrets.js'
import { type OtlpAnswer, type OtlpWay, type PartialSuccess, rpcStatus } from './otlp-answer.js'
import { partialSuccess } from './otlp-request.js'

const zipped = promisify(gzip)
const PATH = '/v1/logs'
const PROTOBUF = 'application/x-protobuf'
const JSON_TYPE = 'application/json'
const REASON_CHARS_MAX = 300
const TOO_LONG = 413
/** These pass by themselves. */
const RETRYABLE = [429, 502, 503, 504]
/** A token, a right, an address: somebody can put them right. */
const MENDABLE = [401, 403, 404, 405, 407]

export class OtlpHttp implements OtlpWay {
  private readonly isZipped: boolean
  private readonly post: HttpPost

  constructor(
    settings: OtlpSettings,
    { secrets, version, timeoutMs }: { secrets: SinkSecrets; version: string; timeoutMs: number },
  ) {
    const { token, tls } = secrets
    this.isZipped = settings.gzip !== false
    const headers = {
      ...{ ...settings.headers, ...secrets.headers, ...ownHeaders(version, { token }) },
      ...{ 'content-type': PROTOBUF, ...(this.isZipped ? { 'content-encoding': 'gzip' } : {}) },
    }
    this.post = new HttpPost({ url: logsUrl(settings.url), headers, tls, timeoutSeconds: timeoutMs / 1_000 })
  }

  async send(request: Uint8Array, signal: AbortSignal): Promise<OtlpAnswer> {
    const body = this.isZipped ? await zipped(request) : Buffer.from(request)
    return meaning(await this.post.send(body, signal))
  }

  close(): void {
    this.post.close()
  }
}

/** With a path it is the whole address. */
function logsUrl(text: string): string {
  const url = new URL(text)
  if (url.pathname === '/') url.pathname = PATH
  return url.href
}

function meaning(answer: Answer): OtlpAnswer {
  const { status, bytes, retryAfterMs } = answer
  const isOtlp = answer.type.startsWith(PROTOBUF)
  const told = (isOtlp ? rpcStatus(bytes).message : answer.body).trim()
  const reason = `${status} ${told}`.trim().slice(0, REASON_CHARS_MAX)
  if (isTaken(answer)) {
    if (isOtlp || bytes.length === 0) return { state: 'taken', partial: partialSuccess(bytes) }
    if (answer.type.startsWith(JSON_TYPE)) return { state: 'taken', partial: partialInJson(answer.body) }
    // Whoever answers with a page has not taken anything.
    return {
      state: 'later',
      reason: `${reason} (${answer.type || 'of no type'}): is that a receiver of OTLP?`,
      afterMs: null,
    }
  }
  if (status === TOO_LONG) return { state: 'too-long', reason }
  if (status < 400 || RETRYABLE.includes(status)) return { state: 'later', reason, afterMs: retryAfterMs }
  return MENDABLE.includes(status) ? { state: 'later', reason, afterMs: null } : { state: 'refused', reason }
}

/** Some answer so, whatever they were sent. Throws where it is no JSON. */
function partialInJson(text: string): PartialSuccess {
  const said = JSON.parse(text) as { partialSuccess?: { rejectedLogRecords?: unknown; errorMessage?: unknown } } | null
  const { rejectedLogRecords: rejected, errorMessage: message } = said?.partialSuccess ?? {}
  return { rejected: Number(rejected) || 0, message: typeof message === 'string' ? message : '' }
}

/**
 * Requests to one receiver of HTTP, on one connection that is kept. Guards that every request ends, that an answer is bounded, and that what a
 * receiver says about when it wants the next one is known. Redirects are not followed: a token goes where the configuration says. Not here: what is
 * sent, and what becomes of it.
 */
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http'
import { request as requestTls, Agent as TlsAgent } from 'node:https'
import type { ConnectionOptions } from 'node:tls'

const TIMEOUT_SECONDS = 30
const ANSWER_BYTES_MAX = 8 * 1024 * 1024
const REASON_CHARS_MAX = 300
/** The request itself is what it does not take; what is wrong with a token or a path can be put right. */
const NOT_TAKEN = [400, 413, 415, 422]
const SCHEMES = { bearer: 'Bearer', splunk: 'Splunk', apikey: 'ApiKey', basic: 'Basic' }

export interface Answer {
  readonly status: number
  /** As the receiver says. */
  readonly type: string
  readonly bytes: Buffer
  readonly body: string
  /** Null: it does not say. */
  readonly retryAfterMs: number | null
}

export interface HttpPostOptions {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly tls: ConnectionOptions
  readonly timeoutSeconds?: number | undefined
}

export class HttpPost {
  private readonly url: URL
  private readonly options: HttpPostOptions
  private readonly agent: Agent

  constructor(options: HttpPostOptions) {
    this.options = options
    this.url = new URL(options.url)
    const kept = { keepAlive: true, maxSockets: 1 }
    this.agent = this.url.protocol === 'https:' ? new TlsAgent({ ...kept, ...options.tls }) : new Agent(kept)
  }

  send(body: Buffer, signal: AbortSignal, more: Readonly<Record<string, string>> = {}): Promise<Answer> {
    const { headers, timeoutSeconds = TIMEOUT_SECONDS } = this.options
    const options = {
      ...{ method: 'POST', agent: this.agent },
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutSeconds * 1_000)]),
      headers: { ...headers, ...more, 'content-length': String(body.length) },
    }
    return new Promise((resolve, reject) => {
      const ask = this.url.protocol === 'https:' ? requestTls : request
      const asked: ClientRequest = ask(this.url, options, (answer) => {
        readAnswer(answer).then(resolve, reject)
      })
      asked.on('error', reject)
      asked.end(body)
    })
  }

  close(): void {
    this.agent.destroy()
  }
}

/** @param auth the scheme before the token */
export function ownHeaders(
  version: string,
  { token, auth = 'bearer' }: { token: string | null; auth?: keyof typeof SCHEMES | undefined },
): Record<string, string> {
  const own = { 'user-agent': `sluice/${version}` }
  return token === null ? own : { ...own, authorization: `${SCHEMES[auth]} ${token}` }
}

export function isTaken({ status }: Answer): boolean {
  return status >= 200 && status < 300
}

export function isRefused({ status }: Answer): boolean {
  return NOT_TAKEN.includes(status)
}

export function reasonIn({ status, body }: Answer): string {
  return `${status} ${body}`.slice(0, REASON_CHARS_MAX)
}

/** RFC 9110 §10.2.3: seconds, or a date. */
export function afterMs(text: string | undefined, nowMs = Date.now()): number | null {
  if (text === undefined) return null
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1_000
  const at = Date.parse(text)
  return Number.isNaN(at) ? null : Math.max(0, at - nowMs)
}

async function readAnswer(answer: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > ANSWER_BYTES_MAX) throw new Error(`an answer of more than ${ANSWER_BYTES_MAX} bytes`)
    chunks.push(chunk)
  }
  const bytes = Buffer.concat(chunks)
  const retryAfterMs = afterMs(answer.headers['retry-after'])
  const type = answer.headers['content-type'] ?? ''
  return { status: answer.statusCode ?? 0, type, bytes, body: bytes.toString('utf8'), retryAfterMs }
}

/**
 * Gives the numbers to Prometheus over HTTP: GET /metrics and nothing else. Guards that whoever asks costs little and changes nothing, and that
 * a port which is taken costs the numbers, never the engine: it is tried again.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { reasonOf } from '../../base/error.js'
import type { Log } from '../../base/log.js'
import type { Exposition } from './exposition.js'

const CONNECTIONS_MAX = 16
const REQUEST_MS = 5_000
const RETRY_MS = 5_000
/** Whoever asks more often than that gets the same again. */
const FRESH_MS = 200

export interface MetricsAddress {
  readonly host: string
  /** 0: any that is free. */
  readonly port: number
}

export class MetricsServer {
  private readonly server: Server
  private readonly at: MetricsAddress
  private readonly log: Log
  private readonly retryMs: number
  private retry: NodeJS.Timeout | null = null
  private hasComplained = false
  private readonly exposition: Exposition
  private rendered: { readonly atMs: number; readonly text: Promise<string> } | null = null

  constructor(at: MetricsAddress, exposition: Exposition, log: Log, retryMs = RETRY_MS) {
    this.at = at
    this.retryMs = retryMs
    this.log = log
    this.exposition = exposition
    const limits = { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS, keepAliveTimeout: REQUEST_MS }
    this.server = createServer(limits, (request, response) => {
      this.answer(request, response).catch((error: unknown) => {
        log.warn({ why: reasonOf(error) }, 'the metrics could not be given')
        response.destroy()
      })
    })
    this.server.maxConnections = CONNECTIONS_MAX
    this.server.on('error', (error) => this.failed(error))
  }

  start(): void {
    this.server.listen(this.at.port, this.at.host, () => {
      this.hasComplained = false
      const address = this.server.address()
      const port = typeof address === 'object' ? address?.port : undefined
      this.log.info({ host: this.at.host, port }, 'metrics can be asked for')
    })
  }

  stop(): void {
    if (this.retry !== null) clearTimeout(this.retry)
    this.server.close()
    this.server.closeAllConnections()
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path] = (request.url ?? '').split('?', 1)
    if (path !== '/metrics') return refuse(response, 404, 'there is nothing here; see /metrics')
    if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(response, 405, 'GET it')
    const text = await this.text()
    response.writeHead(200, { 'content-type': this.exposition.contentType })
    response.end(request.method === 'HEAD' ? undefined : text)
  }

  private text(): Promise<string> {
    const now = performance.now()
    if (this.rendered === null || now - this.rendered.atMs >= FRESH_MS) {
      this.rendered = { atMs: now, text: this.exposition.text() }
    }
    return this.rendered.text
  }

  private failed(error: unknown): void {
    if (!this.hasComplained) {
      this.log.warn({ ...this.at, why: reasonOf(error) }, 'metrics can’t be asked for; it is tried again')
    }
    this.hasComplained = true
    this.retry = setTimeout(() => this.start(), this.retryMs)
    this.retry.unref()
  }
}

function refuse(response: ServerResponse, status: number, why: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' })
  response.end(`${why}\n`)
}

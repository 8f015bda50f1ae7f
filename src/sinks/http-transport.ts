/**
 * Events to a receiver of HTTP, one request a batch. Guards that a receiver which is busy is asked again when it said, and that one event it will not take
 * doesn't hold up the others. Not here: the connection (http-post.ts), and what a body looks like (http-formats.ts).
 */
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { HttpSettings } from '../schema/sink-settings.js'
import { batchUid } from './batch-uid.js'
import { type HttpFormat, httpFormat } from './http-formats.js'
import { type Answer, HttpPost, isRefused, isTaken, ownHeaders, reasonIn } from './http-post.js'
import type { SinkSecrets } from './secrets.js'
import type { Item, Outcome, Transport } from './transport.js'

const zipped = promisify(gzip)

export class HttpTransport implements Transport {
  private readonly isZipped: boolean
  private readonly format: HttpFormat
  private readonly post: HttpPost

  constructor(settings: HttpSettings, { token, tls }: SinkSecrets, version: string) {
    this.format = httpFormat(settings)
    const { url, timeoutSeconds, auth = settings.format === 'splunk-hec' ? 'splunk' : 'bearer' } = settings
    this.isZipped = settings.gzip === true
    const headers = {
      ...ownHeaders(version, { token, auth }),
      'content-type': this.format.type,
      ...(this.isZipped ? { 'content-encoding': 'gzip' } : {}),
      ...settings.headers,
    }
    this.post = new HttpPost({ url, headers, tls, timeoutSeconds })
  }

  async send(items: readonly Item[], signal: AbortSignal): Promise<Outcome> {
    const text = this.format.body(items)
    const body = this.isZipped ? await zipped(text) : Buffer.from(text)
    return this.outcome(items, await this.post.send(body, signal, { 'x-sluice-batch': batchUid(items) }))
  }

  async close(): Promise<void> {
    this.post.close()
  }

  private outcome(items: readonly Item[], answer: Answer): Outcome {
    if (isTaken(answer)) return this.format.taken(items, answer)
    const { retryAfterMs } = answer
    const reason = reasonIn(answer)
    const later = { retry: items, reason, ...(retryAfterMs === null ? {} : { afterMs: retryAfterMs }) }
    if (!isRefused(answer)) return later
    const refused = this.format.refused(answer)
    const item = items[refused ?? 0]
    if (item === undefined || (refused === null && items.length > 1)) return { ...later, split: true }
    return { dead: [{ item, reason }], retry: items.filter((each) => each !== item), reason, afterMs: 0 }
  }
}

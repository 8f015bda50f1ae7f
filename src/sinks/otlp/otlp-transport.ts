/**
 * Events to a receiver of OTLP, a log record each, over HTTP or gRPC. Guards that what a receiver rejects is counted and not sent again, and that what it says beside is in the log. Not
 * here: the two ways there, what a record looks like, and what an answer means.
 */
import type { Log } from '../../base/log.js'
import type { OtlpSettings } from '../../schema/sink-settings.js'
import type { SinkSecrets } from '../secrets.js'
import type { Item, Outcome, Transport } from '../transport.js'
import type { OtlpWay, PartialSuccess } from './otlp-answer.js'
import { OtlpGrpc } from './otlp-grpc.js'
import { OtlpHttp } from './otlp-http.js'
import { type OtlpRequestOptions, otlpRequest } from './otlp-request.js'

/** As the specification has it. */
const TIMEOUT_SECONDS = 10
const REASON_CHARS_MAX = 300

export interface OtlpParts {
  readonly secrets: SinkSecrets
  readonly version: string
  readonly log: Log
}

export class OtlpTransport implements Transport {
  private readonly way: OtlpWay
  private readonly options: OtlpRequestOptions
  private readonly log: Log
  private lastWarning = ''

  constructor(settings: OtlpSettings, { secrets, version, log }: OtlpParts) {
    const parts = { secrets, version, timeoutMs: (settings.timeoutSeconds ?? TIMEOUT_SECONDS) * 1_000 }
    this.way = settings.transport === 'grpc' ? new OtlpGrpc(settings, parts) : new OtlpHttp(settings, parts)
    this.options = { version, resource: settings.resource ?? {} }
    this.log = log
  }

  async send(items: readonly Item[], signal: AbortSignal): Promise<Outcome> {
    if (items.length === 0) return {}
    const answer = await this.way.send(otlpRequest(items, this.options, Date.now()), signal)
    switch (answer.state) {
      case 'taken':
        return this.taken(items, answer.partial)
      case 'later': {
        const { reason, afterMs } = answer
        return { retry: items, reason, ...(afterMs === null ? {} : { afterMs }) }
      }
      case 'too-long':
        return items.length === 1 ? allDead(items, answer.reason) : { retry: items, split: true, reason: answer.reason }
      case 'refused':
        return allDead(items, answer.reason)
    }
  }

  async close(): Promise<void> {
    this.way.close()
  }

  /** Rejected ones may not come again, and a receiver says only how many they are. */
  private taken(items: readonly Item[], { rejected, message }: PartialSuccess): Outcome {
    const reason = `rejected ${rejected} of ${items.length}: ${message}`.slice(0, REASON_CHARS_MAX)
    if (rejected >= items.length) return allDead(items, reason)
    if (rejected > 0) return { unnamed: { count: rejected, reason } }
    if (message !== '' && message !== this.lastWarning) {
      this.log.warn(
        { told: message.slice(0, REASON_CHARS_MAX) },
        'a receiver of OTLP took the events and has a warning',
      )
    }
    this.lastWarning = message
    return {}
  }
}

function allDead(items: readonly Item[], reason: string): Outcome {
  return { dead: items.map((item) => ({ item, reason })) }
}

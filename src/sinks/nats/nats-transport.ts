/**
 * Events to a stream of NATS JetStream: batches of one session each, acknowledged one by one. Guards that a batch counts only when the stream has all
 * of it, that what is sent again is the same messages under the same ids, and that a session stays in order. Not here: the connection, and what a
 * refusal means.
 */
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { headers } from '@nats-io/transport-node'
import type { NatsSettings, SinkSchema } from '../../schema/sink-settings.js'
import type { SinkSecrets } from '../secrets.js'
import type { Item, Outcome, Transport } from '../transport.js'
import { type Link, NatsLink } from './nats-link.js'
import { type Lane, lanesOf, lines, type Message, message, payloadRoom } from './nats-messages.js'
import { isOfConnection, isTooLarge, makeStream, refusal } from './nats-stream.js'

const zipped = promisify(gzip)
const TIMEOUT_SECONDS = 30
const CLUSTER = 'default'
/** Sessions at once: each of them waits for one acknowledgement after the other. */
const LANES_AT_ONCE = 32

type Dead = NonNullable<Outcome['dead']>[number]

export class NatsTransport implements Transport {
  readonly isKnownAgain = true
  private readonly settings: NatsSettings
  private readonly schema: SinkSchema
  private readonly timeoutMs: number
  private readonly link: NatsLink
  /** Of the batch underway, that the stream has: no need to rely on how long it knows them. */
  private readonly taken = new Set<string>()

  constructor(settings: NatsSettings, secrets: SinkSecrets, version: string) {
    this.settings = settings
    this.schema = settings.schema ?? 'native'
    this.timeoutMs = (settings.timeoutSeconds ?? TIMEOUT_SECONDS) * 1_000
    const prepare = (connection: Link['connection']) => makeStream(connection, settings.stream)
    this.link = new NatsLink({ settings, secrets, version, prepare })
  }

  async send(items: readonly Item[], signal: AbortSignal): Promise<Outcome> {
    const stop = () => void this.link.drop()
    signal.addEventListener('abort', stop, { once: true })
    try {
      return await this.sendLanes(items, await this.link.opened(signal))
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  async close(): Promise<void> {
    await this.link.drop()
  }

  /** A session whose messages did not all arrive comes again whole: else those of the rest would be others. */
  private async sendLanes(items: readonly Item[], link: Link): Promise<Outcome> {
    const { cluster = CLUSTER } = this.settings
    const left = lanesOf(items, { cluster, schema: this.schema, maxPayload: link.maxPayload })
    const again = new Set<Item>()
    const dead: Dead[] = []
    let reason: string | null = null
    const worker = async () => {
      for (let lane = left.shift(); lane !== undefined; lane = left.shift()) {
        try {
          dead.push(...(await this.sendLane(lane, link)))
        } catch (error) {
          for (const item of lane.items) again.add(item)
          // The first is why: what is behind it fails because that one did.
          reason ??= refusal(error, lane.subject, this.settings.stream, this.timeoutMs)
          if (isOfConnection(error)) await this.link.drop()
        }
      }
    }
    await Promise.all(Array.from({ length: LANES_AT_ONCE }, worker))
    if (again.size === 0) this.taken.clear()
    return { dead, retry: items.filter((item) => again.has(item)), ...(reason === null ? {} : { reason }) }
  }

  private async sendLane(lane: Lane, link: Link): Promise<Dead[]> {
    const dead: Dead[] = []
    for (const each of lane.messages) dead.push(...(await this.sendMessage(each, lane.subject, link)))
    return dead
  }

  /** @returns what will never be taken. Throws where all of it may be. */
  private async sendMessage({ id, items }: Message, subject: string, link: Link): Promise<Dead[]> {
    if (this.taken.has(id)) return []
    const body = await zipped(lines(items))
    const [first] = items
    if (first !== undefined && items.length === 1 && body.length > payloadRoom(link.maxPayload)) {
      return [{ item: first, reason: `${body.length} bytes: the server takes ${link.maxPayload}` }]
    }
    try {
      await link.stream.publish(subject, body, {
        ...{ msgID: id, timeout: this.timeoutMs, headers: this.headers(items.length) },
        ...(this.settings.stream?.name === undefined ? {} : { expect: { streamName: this.settings.stream.name } }),
      })
    } catch (error) {
      if (!isTooLarge(error)) throw error
      if (first === undefined || items.length === 1) {
        return first === undefined ? [] : [{ item: first, reason: `${body.length} bytes: the stream takes less` }]
      }
      // Of its own accord always in the same halves.
      const middle = Math.ceil(items.length / 2)
      const dead = await this.sendMessage(message(items.slice(0, middle), this.schema), subject, link)
      return [...dead, ...(await this.sendMessage(message(items.slice(middle), this.schema), subject, link))]
    }
    this.taken.add(id)
    return []
  }

  private headers(count: number) {
    const own = headers()
    own.set('Content-Type', this.schema === 'cef' ? 'text/plain' : 'application/x-ndjson')
    own.set('Content-Encoding', 'gzip')
    own.set('Sluice-Schema', this.schema)
    own.set('Sluice-Events', String(count))
    return own
  }
}

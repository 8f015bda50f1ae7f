/**
 * Events to a topic of Kafka: a message each, those of a session under one key and so in one partition, in order. Guards that a batch counts only when all replicas
 * that must have it do, and that no answer is waited for without an end. Not here: the connections, and what a refusal means.
 */
import { CompressionTypes, type Message } from 'kafkajs'
import { SluiceError } from '../../base/error.js'
import type { Log } from '../../base/log.js'
import { textToUnixNs } from '../../proto/time-text.js'
import type { KafkaSettings } from '../../schema/sink-settings.js'
import type { SinkSecrets } from '../secrets.js'
import type { Item, Outcome, Transport } from '../transport.js'
import { KafkaLink } from './kafka-link.js'
import { isOfEvents, reasonOfKafka } from './kafka-refusal.js'

const TIMEOUT_SECONDS = 30
const ACKS_ALL = -1
const NS_PER_MS = 1_000_000n
/** Connecting, asking where the partitions are, and sending: a broker may use up the time of each. */
const STEPS = 3

export class KafkaTransport implements Transport {
  private readonly topic: string
  private readonly schema: string
  private readonly timeoutMs: number
  private readonly link: KafkaLink

  constructor(settings: KafkaSettings, secrets: SinkSecrets, log: Log) {
    this.topic = settings.topic
    this.schema = settings.schema ?? 'native'
    this.timeoutMs = (settings.timeoutSeconds ?? TIMEOUT_SECONDS) * 1_000
    this.link = new KafkaLink({ settings, secrets, timeoutMs: this.timeoutMs, log })
  }

  async send(items: readonly Item[], signal: AbortSignal): Promise<Outcome> {
    if (items.length === 0) return {}
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(this.timeoutMs * STEPS)])
    try {
      await until(deadline, this.produce(items))
      return {}
    } catch (error) {
      const reason = reasonOfKafka(error, this.topic)
      if (!isOfEvents(error)) {
        this.link.drop()
        return { retry: items, reason }
      }
      const [first] = items
      if (first !== undefined && items.length === 1) return { dead: [{ item: first, reason }] }
      return { retry: items, split: true, reason }
    }
  }

  async close(): Promise<void> {
    this.link.drop()
  }

  private async produce(items: readonly Item[]): Promise<void> {
    const producer = await this.link.opened()
    await producer.send({
      ...{ topic: this.topic, acks: ACKS_ALL, timeout: this.timeoutMs, compression: CompressionTypes.GZIP },
      messages: items.map((item) => this.message(item)),
    })
  }

  /** An event of no session is the node's. */
  private message({ event, kind, text }: Item): Message {
    return {
      key: event.sessionId === '' ? event.node.name : event.sessionId,
      value: text,
      timestamp: String(textToUnixNs(event.time) / NS_PER_MS),
      headers: { uid: event.uid, kind, schema: this.schema },
    }
  }
}

/** Rejects when `deadline` comes first; what `work` becomes then is nobody's. */
function until(deadline: AbortSignal, work: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(new SluiceError('IO', 'the brokers did not answer in time'))
    deadline.addEventListener('abort', stop, { once: true })
    if (deadline.aborted) stop()
    work.then(resolve, reject).finally(() => deadline.removeEventListener('abort', stop))
  })
}

/**
 * The connections to a cluster of Kafka: one producer, made anew only when it is asked for, so that the queue before it says when. Guards that all it has open can be
 * closed at once, whatever the library waits for, and that its own retries end with one round of the brokers. Not here: what is sent.
 */
import { connect as connectSocket, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { type ISocketFactory, Kafka, logLevel, Partitioners, type Producer, type SASLOptions } from 'kafkajs'
import { SluiceError } from '../../base/error.js'
import type { Log } from '../../base/log.js'
import type { KafkaSettings } from '../../schema/sink-settings.js'
import type { SinkSecrets } from '../secrets.js'

const CONNECT_MS = 10_000
const RETRY_MS = 100

export interface KafkaLinkOptions {
  readonly settings: KafkaSettings
  readonly secrets: SinkSecrets
  /** For one request, in ms. */
  readonly timeoutMs: number
  readonly log: Log
}

interface Opened {
  readonly producer: Producer
  readonly sockets: OwnSockets
}

export class KafkaLink {
  private readonly options: KafkaLinkOptions
  private open: Opened | null = null

  constructor(options: KafkaLinkOptions) {
    this.options = options
  }

  /** The one there is, or another. Throws why no broker can be had. */
  async opened(): Promise<Producer> {
    if (this.open !== null) return this.open.producer
    const sockets = new OwnSockets()
    const producer = this.make(sockets.make)
    this.open = { producer, sockets }
    await producer.connect()
    return producer
  }

  /** What is underway on it fails. */
  drop(): void {
    const { open } = this
    this.open = null
    // It waits for what it has underway; without sockets it has nothing to wait for.
    open?.producer.disconnect().catch(() => {})
    open?.sockets.end()
  }

  private make(socketFactory: ISocketFactory): Producer {
    const { settings, secrets, timeoutMs } = this.options
    const { brokers, clientId = 'sluice' } = settings
    const sasl = saslOf(settings, secrets)
    const kafka = new Kafka({
      ...{ clientId, brokers: [...brokers], ssl: settings.tls === undefined ? false : secrets.tls },
      ...{ connectionTimeout: Math.min(CONNECT_MS, timeoutMs), authenticationTimeout: timeoutMs },
      ...{ requestTimeout: timeoutMs, enforceRequestTimeout: true },
      retry: { retries: brokers.length - 1, initialRetryTime: RETRY_MS, maxRetryTime: RETRY_MS },
      ...{ logLevel: logLevel.WARN, logCreator: () => this.tell, socketFactory },
      ...(sasl === null ? {} : { sasl }),
    })
    return kafka.producer({
      // As the Java client's: others who write there put a session in the same partition.
      createPartitioner: Partitioners.DefaultPartitioner,
      ...{ allowAutoTopicCreation: false, maxInFlightRequests: 1 },
      // The library takes its numbers back when an answer gets lost, and another batch under the same ones would count as known: events would be lost.
      idempotent: false,
      retry: { retries: 0 },
    })
  }

  /** What fails is told by the sink: this is for whoever looks why. */
  private readonly tell = ({ namespace, log }: { namespace: string; log: { message: string; broker?: unknown } }) => {
    this.options.log.debug({ part: namespace, broker: log.broker }, `kafka: ${log.message}`)
  }
}

/** Of one producer. */
class OwnSockets {
  private readonly open = new Set<Socket>()
  private isEnded = false

  readonly make: ISocketFactory = ({ host, port, ssl, onConnect }) => {
    // The library may still be about to try again.
    if (this.isEnded) throw new SluiceError('IO', 'the connection was given up')
    const name = isIP(host) === 0 ? { servername: host } : {}
    const socket = ssl
      ? connectTls({ host, port, ...name, ...ssl }, onConnect)
      : connectSocket({ host, port }, onConnect)
    socket.setKeepAlive(true, CONNECT_MS)
    this.open.add(socket)
    socket.once('close', () => this.open.delete(socket))
    return socket
  }

  end(): void {
    this.isEnded = true
    for (const socket of this.open) socket.destroy()
  }
}

function saslOf({ sasl }: KafkaSettings, { password }: SinkSecrets): SASLOptions | null {
  if (sasl === undefined || password === null) return null
  return { mechanism: sasl.mechanism, username: sasl.username, password } as SASLOptions
}

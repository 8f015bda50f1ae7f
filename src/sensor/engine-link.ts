/**
 * The sensor's connection to its engine: made, introduced, lost and made again, for as long as the sensor runs. Guards that every wait
 * has an end, that attempts keep a distance, and that one engine at a time is talked to. Not here: what is sent (outbox.ts) and what
 * commands mean.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf, SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import {
  ConnectRequest,
  encodeBuffer,
  type ICommand,
  type IConnectResponse,
  type IHello,
  toBigInt,
} from '../proto/codec.js'
import type { UplinkCall } from '../proto/rpc.js'
import type { Outbox } from './outbox.js'

/** At least; where more is left to connect, so much. */
const WELCOME_DEADLINE_MS = 5_000
/** Of one attempt to connect, but for the first one. */
const ATTEMPT_MS = 2_000
const BACKOFF_MIN_MS = 50
const BACKOFF_MAX_MS = 5_000

export interface EngineLinkOptions {
  readonly outbox: Outbox
  connect(deadlineMs: number): Promise<UplinkCall>
  hello(): IHello
  /** Goes to an engine that this sensor has not talked to before, ahead of everything else. */
  firstWords(): readonly Buffer[]
  onCommand(command: ICommand): void
  readonly log: Log
}

export class EngineLink {
  readonly #options: EngineLinkOptions
  readonly #stopping = new AbortController()
  #call: UplinkCall | null = null
  #retrying: Promise<void> | null = null
  #lastEngine = ''

  constructor(options: EngineLinkOptions) {
    this.#options = options
  }

  /** Throws when there is no engine within the deadline, or it does not take us. Reconnects by itself from then on. */
  async start(deadlineMs: number): Promise<void> {
    await this.#attempt(deadlineMs)
  }

  /** As `start`, for a sensor that works without an engine too. */
  startWithout(): void {
    this.#retry()
  }

  /** What was taken is still delivered, as far as that goes quickly. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    const call = this.#call
    this.#call = null
    call?.end()
    await this.#retrying
  }

  async #attempt(deadlineMs: number): Promise<void> {
    const call = await this.#options.connect(deadlineMs)
    if (this.#stopping.signal.aborted) {
      call.end()
      return
    }
    await this.#introduce(call, Math.max(deadlineMs, WELCOME_DEADLINE_MS))
  }

  /** Says who we are and waits to be taken; goes on behind the batch that the engine names. */
  #introduce(call: UplinkCall, deadlineMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      let isLate = false
      const late = setTimeout(() => {
        isLate = true
        reject(new SluiceError('PROTOCOL', `the engine did not answer within ${deadlineMs} ms`))
        call.end()
      }, deadlineMs)
      call.onMessage((message) => {
        if (message.welcome) {
          if (isLate || this.#stopping.signal.aborted) return
          clearTimeout(late)
          // At once: commands may be right behind it.
          this.#call = call
          this.#greet(call, message.welcome.engineInstance ?? '')
          this.#options.outbox.connected(call, Number(toBigInt(message.welcome.committedBatchSeq)))
          resolve()
        } else {
          this.#receive(call, message)
        }
      })
      call.onDrain(() => {
        if (this.#call === call) this.#options.outbox.drained()
      })
      call.onEnd((error) => {
        clearTimeout(late)
        reject(new SluiceError('PROTOCOL', error?.message ?? 'the engine did not take this sensor; its log says why'))
        this.#ended(call, error?.message ?? 'the engine ended the stream')
      })
      call.send(encodeBuffer(ConnectRequest, { hello: this.#options.hello() }))
    })
  }

  #greet(call: UplinkCall, engine: string): void {
    if (engine === this.#lastEngine) return
    this.#lastEngine = engine
    for (const words of this.#options.firstWords()) call.send(words)
  }

  #receive(call: UplinkCall, message: IConnectResponse): void {
    if (this.#call !== call) return
    if (message.ack) this.#options.outbox.acked(Number(toBigInt(message.ack.batchSeq)))
    else if (message.command) this.#options.onCommand(message.command)
  }

  #ended(call: UplinkCall, why: string): void {
    if (this.#call !== call) return
    this.#call = null
    this.#options.log.warn({ why }, 'the engine is gone: events are kept until it is back')
    this.#options.outbox.disconnected()
    this.#retry()
  }

  #retry(): void {
    this.#retrying = this.#reconnect().catch((error: unknown) => {
      this.#options.log.error({ err: error }, 'reconnecting ended')
    })
  }

  async #reconnect(): Promise<void> {
    const { signal } = this.#stopping
    let said = ''
    for (let backoffMs = BACKOFF_MIN_MS; !signal.aborted; backoffMs = Math.min(2 * backoffMs, BACKOFF_MAX_MS)) {
      // Sensors of many nodes must not all come at once.
      await sleep(backoffMs * (0.5 + Math.random()), undefined, { signal }).catch(() => {})
      if (signal.aborted) return
      try {
        await this.#attempt(ATTEMPT_MS)
        this.#options.log.info('the engine is back')
        return
      } catch (error) {
        const why = messageOf(error)
        const hint = error instanceof SluiceError ? error.hint : null
        if (why !== said) this.#options.log.warn({ why, hint }, 'no engine yet')
        said = why
      }
    }
  }
}

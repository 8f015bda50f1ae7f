/**
 * The events of one run on their way to its client, where that client is all that the engine serves (an engine of one run), some hundreds
 * in one message. Guards that nothing is read from the sensor while the client does not keep up; what is still underway then (one batch, and what the reorder buffer holds) is all that can pile up.
 * Not here: the events.
 */
import type { IEvent } from '../proto/codec.js'
import { EventEncoder } from '../proto/event-encoder.js'
import type { RunServerCall } from '../proto/rpc.js'
import type { BackPressure } from './back-pressure.js'

/** A message costs the same whatever it carries. */
export const EVENTS_PER_MESSAGE_MAX = 1_024
/** Far enough below the 4 MiB that a message may have for the one event that goes over it. */
export const MESSAGE_BYTES_MAX = 512 * 1024
export const FLUSH_MS = 5

/** Where the events of a run go. */
export interface EventSink {
  /** Events that were left out because the reader was too slow. */
  readonly lost: bigint
  push(event: IEvent): void
  /** Hands over what waits. */
  flush(): void
  /** The client is gone or has everything. */
  close(): void
}

export class EventStream implements EventSink {
  readonly lost = 0n
  private readonly call: RunServerCall
  private readonly backPressure: BackPressure
  private readonly before: () => void
  private readonly encoder = new EventEncoder()
  private timer: NodeJS.Timeout | null = null

  /** @param before called before something is sent: others are to have it first */
  constructor(call: RunServerCall, backPressure: BackPressure, before: () => void = () => {}) {
    this.before = before
    this.call = call
    this.backPressure = backPressure
    call.onDrain(() => backPressure.release(this))
  }

  push(event: IEvent): void {
    this.encoder.append(event)
    if (this.encoder.count >= EVENTS_PER_MESSAGE_MAX || this.encoder.bytes >= MESSAGE_BYTES_MAX) this.flush()
    else this.timer ??= setTimeout(() => this.flush(), FLUSH_MS)
  }

  flush(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    if (this.encoder.count === 0) return
    this.before()
    if (!this.call.send(this.encoder.take())) this.backPressure.hold(this)
  }

  close(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    this.encoder.take()
    this.backPressure.release(this)
  }
}

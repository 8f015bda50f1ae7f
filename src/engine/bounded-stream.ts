/**
 * The events on their way to one reader of an agent, who may be slower than they come. Guards that it holds up nobody else: what is
 * waiting for it is bounded, by itself and together with what waits for all others; what finds no room is left out, counted exactly,
 * and told in its place. The first and the last event of a session always find room. Not here: how that is told to the reader.
 */
import { type IEvent, toBigInt } from '../proto/codec.js'
import { EventEncoder } from '../proto/event-encoder.js'
import { EVENTS_PER_MESSAGE_MAX, type EventSink, FLUSH_MS, MESSAGE_BYTES_MAX } from './event-stream.js'

/** Encoded, waiting for one reader: some 130,000 opens of a command that opens faster than a record is written. One event may go over it. */
export const READER_BYTES_MAX = 64 * 1024 * 1024
/** For all readers of one engine together. */
export const ALL_READERS_BYTES_MAX = 256 * 1024 * 1024

/** Shared by all streams of an engine. */
export class StreamBudget {
  private free: number

  constructor(bytes = ALL_READERS_BYTES_MAX) {
    this.free = bytes
  }

  get isSpent(): boolean {
    return this.free <= 0
  }

  take(bytes: number): void {
    this.free -= bytes
  }
}

/** Events of one stretch that were left out. */
export interface LeftOut {
  readonly first: IEvent
  last: IEvent
  count: bigint
}

export interface BoundedStreamOptions {
  readonly budget: StreamBudget
  readonly bytesMax?: number
  /** Wire bytes of a message with events. False = taken, but send no more before `ready` is called. */
  send(events: Buffer): boolean
  sendLeftOut(leftOut: LeftOut): boolean
}

export class BoundedStream implements EventSink {
  private readonly options: BoundedStreamOptions
  private readonly bytesMax: number
  private readonly encoder = new EventEncoder()
  private waiting: (Buffer | LeftOut)[] = []
  /** Of `waiting` and in the encoder, as the budget knows it. */
  private bytes = 0
  /** Of the events in the encoder. */
  private openBytes = 0
  private leaving: LeftOut | null = null
  private blocked = false
  private closed = false
  private timer: NodeJS.Timeout | null = null
  lost = 0n

  constructor(options: BoundedStreamOptions) {
    this.options = options
    this.bytesMax = options.bytesMax ?? READER_BYTES_MAX
  }

  push(event: IEvent): void {
    if (this.closed) return
    if (!this.hasRoom && !framesSession(event)) {
      this.leaveOut(event)
      return
    }
    this.endLeaving()
    const before = this.encoder.bytes
    this.encoder.append(event)
    this.openBytes += this.encoder.bytes - before
    this.account(this.encoder.bytes - before)
    if (this.encoder.count >= EVENTS_PER_MESSAGE_MAX || this.encoder.bytes >= MESSAGE_BYTES_MAX) this.pump()
    else this.timer ??= setTimeout(() => this.pump(), FLUSH_MS)
  }

  /** The reader can take more. */
  ready(): void {
    this.blocked = false
    if (this.hasRoom) this.endLeaving()
    this.pump()
  }

  /** Hands over all that waits, whether the reader keeps up or not: it is bounded. */
  flush(): void {
    this.endLeaving()
    this.closeMessage()
    while (this.waiting.length > 0) this.sendOne()
  }

  close(): void {
    this.closed = true
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    this.encoder.take()
    this.waiting = []
    this.leaving = null
    this.openBytes = 0
    this.account(-this.bytes)
  }

  /** Once something was left out, room is half of it all: else every message that leaves would make a stretch of its own. */
  private get hasRoom(): boolean {
    return !this.options.budget.isSpent && this.bytes < (this.leaving === null ? this.bytesMax : this.bytesMax / 2)
  }

  private account(bytes: number): void {
    this.bytes += bytes
    this.options.budget.take(bytes)
  }

  private leaveOut(event: IEvent): void {
    // A gap that is left out is as many events as it told of.
    const count = event.gap ? toBigInt(event.gap.count) : 1n
    this.lost += count
    if (this.leaving === null) this.leaving = { first: event, last: event, count }
    else {
      this.leaving.last = event
      this.leaving.count += count
    }
  }

  private endLeaving(): void {
    if (this.leaving === null) return
    this.closeMessage()
    this.waiting.push(this.leaving)
    this.leaving = null
  }

  private closeMessage(): void {
    if (this.encoder.count === 0) return
    const message = this.encoder.take()
    // And what frames them.
    this.account(message.length - this.openBytes)
    this.openBytes = 0
    this.waiting.push(message)
  }

  private pump(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    this.closeMessage()
    while (!this.blocked && this.waiting.length > 0) this.blocked = !this.sendOne()
  }

  private sendOne(): boolean {
    const next = this.waiting.shift()
    if (next === undefined) return true
    if (!Buffer.isBuffer(next)) return this.options.sendLeftOut(next)
    this.account(-next.length)
    return this.options.send(next)
  }
}

function framesSession(event: IEvent): boolean {
  return Boolean(event.sandboxStarted ?? event.sandboxEnded)
}

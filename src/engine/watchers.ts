/**
 * Who looks on: live events of the sandboxes that a caller may see, from the moment it asked. Guards the number of watchers, and that a
 * slow one is told how many events it missed and holds up nobody. Nothing is kept for those who come later.
 */
import { SluiceError } from '../base/error.js'
import { fromBigInt, type IEvent } from '../proto/codec.js'
import type { WatchServerCall } from '../proto/rpc.js'
import { BoundedStream, type StreamBudget } from './bounded-stream.js'

export const WATCHERS_MAX = 64
/** One that looks on need not have everything: a burst, not a backlog. */
export const WATCHER_BYTES_MAX = 4 * 1024 * 1024

interface Watcher {
  readonly call: WatchServerCall
  readonly stream: BoundedStream
  /** An id or a name; empty: all. */
  readonly wanted: string
  sees(ownerUid: number): boolean
}

export class Watchers {
  private readonly watchers = new Set<Watcher>()
  private readonly budget: StreamBudget

  constructor(budget: StreamBudget) {
    this.budget = budget
  }

  get count(): number {
    return this.watchers.size
  }

  /** `sees`: by a sandbox's owner. */
  add(call: WatchServerCall, sees: (ownerUid: number) => boolean): void {
    if (this.watchers.size >= WATCHERS_MAX) {
      call.fail(
        new SluiceError('LIMIT', `${WATCHERS_MAX} watchers are looking on already`, { hint: 'end one of them' }),
      )
      return
    }
    const stream = new BoundedStream({
      budget: this.budget,
      bytesMax: WATCHER_BYTES_MAX,
      send: (events) => call.send(events),
      sendLeftOut: ({ count }) => call.send({ dropped: { count: fromBigInt(count) } }),
    })
    const watcher = { call, stream, wanted: call.request.sandbox ?? '', sees }
    call.onDrain(() => stream.ready())
    call.onEnd(() => {
      stream.close()
      this.watchers.delete(watcher)
    })
    this.watchers.add(watcher)
    call.send({ started: {} })
  }

  publish(event: IEvent, ownerUid: number): void {
    for (const { stream, wanted, sees } of this.watchers) {
      if (!sees(ownerUid)) continue
      if (wanted !== '' && event.sandbox?.id !== wanted && event.sandbox?.name !== wanted) continue
      stream.push(event)
    }
  }

  stop(): void {
    for (const { call } of [...this.watchers]) call.fail('the engine is stopping')
  }
}

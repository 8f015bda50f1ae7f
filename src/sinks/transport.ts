/** What a sink's transport is to the queue before it. */
import type { EventJson, EventKind } from '../proto/event-json.js'
import type { SinkSeverity } from '../schema/sink-settings.js'

/** One event as it is sent. */
export interface Item {
  readonly uid: string
  /** Worked out when it is asked for, which costs more than all the rest. */
  readonly event: EventJson
  readonly kind: EventKind
  readonly severity: SinkSeverity
  /** By the sink's schema: one line. */
  readonly text: string
}

/** What became of a batch; whatever is in neither list has arrived, but for those that are `unnamed`. */
export interface Outcome {
  readonly retry?: readonly Item[]
  /** It will never be taken. */
  readonly dead?: readonly { readonly item: Item; readonly reason: string }[]
  /** So many of the rest were refused for good, and nobody says which: they can't be put aside. */
  readonly unnamed?: { readonly count: number; readonly reason: string }
  /** Of `retry`. */
  readonly reason?: string
  /** The receiver said when. */
  readonly afterMs?: number
  /** One of `retry` is not taken, and nobody says which: they are sent in halves. */
  readonly split?: boolean
}

export interface Transport {
  /** Its receiver knows a batch that comes again by what is in it: a batch that was begun is made the same again, also by another process. */
  readonly isKnownAgain?: boolean
  /** A throw is as `retry` with all of them. */
  send(items: readonly Item[], signal: AbortSignal): Promise<Outcome>
  close(): Promise<void>
}

/**
 * RunResponse and WatchResponse with their events left encoded: whoever reads them decides what of an event it needs. The bytes are the same as those of the
 * generated code. Throws for bytes that are no RunResponse, as decoding them would.
 */
import {
  type IRunEnded,
  type IRunStarted,
  type IWatchDropped,
  type IWatchStarted,
  RunResponse,
  WatchResponse,
} from './codec.js'
import { WireReader } from './wire-reader.js'

/** Numbers of fields in proto/sluice/v1. */
const RESPONSE_EVENTS = 2
const EVENTS_EVENT = 1

/** One of the three is there. */
export interface RunMessage {
  readonly started?: IRunStarted
  /** Each the bytes of one Event: views into the message. */
  readonly events?: readonly Buffer[]
  readonly ended?: IRunEnded
}

export function readRunResponse(bytes: Buffer): RunMessage {
  const events = readEvents(bytes)
  if (events !== null) return { events }
  const { started, ended } = RunResponse.decode(bytes)
  return { ...(started ? { started } : {}), ...(ended ? { ended } : {}) }
}

/** As RunMessage: one of them is there. */
export interface WatchMessage {
  readonly started?: IWatchStarted
  readonly events?: readonly Buffer[]
  readonly dropped?: IWatchDropped
}

/** Its events are in the field of the same number as those of a run. */
export function readWatchResponse(bytes: Buffer): WatchMessage {
  const events = readEvents(bytes)
  if (events !== null) return { events }
  const { started, dropped } = WatchResponse.decode(bytes)
  return { ...(started ? { started } : {}), ...(dropped ? { dropped } : {}) }
}

/** Null for a message that holds something else. */
function readEvents(bytes: Buffer): Buffer[] | null {
  const reader = new WireReader(bytes)
  const events: Buffer[] = []
  while (reader.next()) {
    if (reader.field !== RESPONSE_EVENTS) return null
    const inside = reader.inside()
    while (inside.next()) if (inside.field === EVENTS_EVENT) events.push(inside.bytes)
  }
  return events
}

/** Where the events of a run go that has a reader: what happens where a reader does not keep up. */
import type { RunServerCall } from '../proto/rpc.js'
import type { BackPressure } from './back-pressure.js'
import { BoundedStream, type StreamBudget } from './bounded-stream.js'
import { type EventSink, EventStream } from './event-stream.js'
import { gapFor } from './gap-for.js'
import type { Journal } from './journal/journal.js'

export function sinksOf(of: {
  isAgent: boolean
  budget: StreamBudget
  backPressure: BackPressure
  journal: Journal | null
}): (call: RunServerCall) => EventSink {
  const { isAgent, budget, backPressure, journal } = of
  // What a reader has, the journal has: an engine that goes on goes by its readers.
  const before = () => journal?.flush()
  return (call) => (isAgent ? boundedSink(call, budget, before) : new EventStream(call, backPressure, before))
}

/** Of an agent: a client that does not keep up holds up neither the sensor nor the other clients. */
function boundedSink(call: RunServerCall, budget: StreamBudget, before: () => void): BoundedStream {
  const stream = new BoundedStream({
    budget,
    send(events) {
      before()
      return call.send(events)
    },
    sendLeftOut: (leftOut) => call.send({ events: { events: [gapFor(leftOut)] } }),
  })
  call.onDrain(() => stream.ready())
  return stream
}

/**
 * What the node's agent sees, from now on. Guards that reading goes no faster than showing, and that it ends when it should: with its
 * reader, at a time, or with the agent, which is an error. What is shown is not its business.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { SluiceError } from '../../base/error.js'
import { Event, toBigInt } from '../../proto/codec.js'
import { eventToJson } from '../../proto/event-json.js'
import { connectAgent } from '../agent-client.js'
import type { ShownEvent } from '../shown-event.js'

const NS_PER_MS = 1_000_000n
/** Of setTimeout; a later end is looked at again then. */
const TIMER_MS_MAX = 2 ** 31 - 1

export interface LiveEvents {
  readonly socket: string
  /** An id or a name; empty: all that this user may see. */
  readonly sandbox: string
  /** Null: no end. */
  readonly untilUnixNs: bigint | null
  /** Ends it. */
  readonly signal: AbortSignal
  onEvent(event: ShownEvent): Promise<void>
  /** So many were left out here. */
  onDropped(count: bigint): void
}

/** Throws IO when the agent goes away. */
export async function followAgent(live: LiveEvents): Promise<void> {
  const client = await connectAgent(live.socket)
  const call = client.watch({ sandbox: live.sandbox })
  let ended = false
  const end = () => {
    ended = true
    call.cancel()
  }
  const timer = new AbortController()
  live.signal.addEventListener('abort', end)
  if (live.untilUnixNs !== null) void endAt(live.untilUnixNs, timer.signal).then((isTime) => isTime && end())
  try {
    for await (const { events, dropped } of call.messages) {
      if (dropped) live.onDropped(toBigInt(dropped.count))
      for (const event of events ?? []) {
        if (live.signal.aborted) return
        await live.onEvent(eventToJson(Event.decode(event)))
      }
    }
    if (!ended) throw new SluiceError('IO', 'the agent has ended the stream', { hint: 'its log says why' })
  } finally {
    timer.abort()
    live.signal.removeEventListener('abort', end)
    client.close()
  }
}

/** True at that time, false if it is given up before. */
async function endAt(unixNs: bigint, signal: AbortSignal): Promise<boolean> {
  for (;;) {
    const leftMs = Number(unixNs / NS_PER_MS) - Date.now()
    if (leftMs <= 0) return true
    try {
      await sleep(Math.min(leftMs, TIMER_MS_MAX), undefined, { signal, ref: false })
    } catch {
      return false
    }
  }
}

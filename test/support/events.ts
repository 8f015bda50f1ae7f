/** Picks the events of one kind out of a record, typed, and checks what holds for every record. */
import { expect } from 'vitest'
import type { EventJson, EventKind, ProcessJson } from '../../src/proto/event-json.js'

type Of<K extends string> = Extract<EventJson, Record<K, unknown>>
type WithProcess<T> = T & { process: ProcessJson }

export type ExecEvent = WithProcess<Of<'exec'>>
export type ExitEvent = WithProcess<Of<'exit'>>
export type OpenEvent = WithProcess<Of<'fileOpen'>>
export type ConnectEvent = WithProcess<Of<'connect'>>
export type ListenEvent = WithProcess<Of<'listen'>>
export type ClosedEvent = WithProcess<Of<'connectionClosed'>>

export const execs = (events: EventJson[]) => events.filter((event): event is ExecEvent => 'exec' in event)
export const exits = (events: EventJson[]) => events.filter((event): event is ExitEvent => 'exit' in event)
/** One for each open: a folded event comes as often as it counts. */
export const opens = (events: EventJson[]) =>
  openEvents(events).flatMap((event) => new Array<OpenEvent>(Number(event.fileOpen.count)).fill(event))
export const openEvents = (events: EventJson[]) => events.filter((event): event is OpenEvent => 'fileOpen' in event)
/** What tried to reach somebody. */
export const connects = (events: EventJson[]) =>
  events.filter((event): event is ConnectEvent => 'connect' in event && event.connect.via !== 'SOCKET')
/** Without what a shell asks of the machine itself: bash looks its user up, over a unix socket, where the environment names no SHELL. */
export const tcpConnects = (events: EventJson[]) => connects(events).filter(({ connect }) => connect.protocol === 'TCP')
/** Sockets that were made. */
export const sockets = (events: EventJson[]) =>
  events.filter((event): event is ConnectEvent => 'connect' in event && event.connect.via === 'SOCKET')
export const listens = (events: EventJson[]) => events.filter((event): event is ListenEvent => 'listen' in event)
export const closes = (events: EventJson[]) =>
  events.filter((event): event is ClosedEvent => 'connectionClosed' in event)
export const gaps = (events: EventJson[]) => events.filter((event): event is Of<'gap'> => 'gap' in event)

/** The one exec whose arguments hold `word`. */
export function execWith(events: EventJson[], word: string): ExecEvent {
  const found = execs(events).filter((event) => event.process.args.includes(word))
  expect(found.length, `execs with the argument ${word}`).toBe(1)
  return found[0] as ExecEvent
}

export function hasExecWith(events: EventJson[], word: string): boolean {
  return execs(events).some((event) => event.process.args.includes(word))
}

/** The one open of exactly this path as passed. */
export function openOf(events: EventJson[], userPath: string): OpenEvent['fileOpen'] {
  const found = opens(events).filter((event) => event.fileOpen.userPath === userPath)
  expect(found.length, `opens of ${userPath.slice(0, 200)}`).toBe(1)
  return (found[0] as OpenEvent).fileOpen
}

/** How often what `kind` tells of happened: an event can stand for many. */
export function happened(events: EventJson[], kind: EventKind): number {
  return events.reduce((sum, event) => {
    if (!(kind in event)) return sum
    if ('fileOpen' in event) return sum + Number(event.fileOpen.count)
    return sum + ('connect' in event ? Number(event.connect.count) : 1)
  }, 0)
}

/** Events of `kind` that the record says are missing. */
export function lost(events: EventJson[], kind: string): number {
  return gaps(events)
    .filter((event) => event.gap.kind === kind)
    .reduce((sum, event) => sum + Number(event.gap.count), 0)
}

/** Begins with sandboxStarted, ends with sandboxEnded, says that nothing is missing, and its `seq` has no hole. */
export function expectComplete(events: EventJson[]): void {
  expectGapless(events)
  expect(gaps(events)).toEqual([])
  const last = events.at(-1)
  expect(last !== undefined && 'sandboxEnded' in last && last.sandboxEnded.summary).toMatchObject({
    complete: true,
    lost: '0',
    events: String(events.length),
  })
}

export function expectGapless(events: EventJson[]): void {
  expect(events[0]).toHaveProperty('sandboxStarted')
  expect(events.map((event) => event.seq)).toEqual(events.map((_, index) => String(index + 1)))
}

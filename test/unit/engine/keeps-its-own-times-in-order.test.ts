/** The engine's own clock and the times of its own events: they follow the kernel's, whatever the wall clock does. */
import { describe, expect, it } from 'vitest'
import { BootClock } from '../../../src/engine/boot-clock.js'
import { Session } from '../../../src/engine/session.js'
import { RunningSummary } from '../../../src/engine/summary.js'
import { fromBigInt, type IEvent, Stage, toBigInt } from '../../../src/proto/codec.js'
import { BOOT_TO_UNIX_NS, ns } from './kernel-frames.js'

const at = (ms: number) => BOOT_TO_UNIX_NS + ns(ms)
const HOUR_NS = ns(3_600_000)
const END = { exitCode: 0, signal: 0, killed: 0 }

function sessionAt(startMs: number) {
  const events: IEvent[] = []
  const session = new Session({
    schema: 1,
    node: { name: 'node' },
    begin: { id: 'session', sandbox: { id: 'job' }, started: {}, ownerUid: 0, startUnixNs: at(startMs) },
    summary: new RunningSummary(),
    deriver: null,
    publish: (event) => events.push(event),
  })
  const last = () => toBigInt(events.at(-1)?.timeUnixNs)
  return { session, events, last }
}

function exitEvent(ms: number, startMs: number): IEvent {
  const runtimeMs = fromBigInt(BigInt(ms - startMs))
  return {
    timeUnixNs: fromBigInt(at(ms)),
    process: { startTimeUnixNs: fromBigInt(at(startMs)) },
    exit: { code: 0, runtimeMs },
  }
}

describe('the clock', () => {
  it('goes by the time since boot, and a step of the wall clock changes nothing', () => {
    let bootNs = ns(1_000)
    let offsetNs = BOOT_TO_UNIX_NS
    const clock = new BootClock({ bootTimeNs: () => bootNs, bootToUnixNs: () => offsetNs }, 'here')
    clock.sensorConnected('here')
    const before = clock.nowUnixNs()
    bootNs += ns(5)
    offsetNs -= HOUR_NS
    clock.follow(0n)
    expect(clock.nowUnixNs() - before).toBe(ns(5))
  })

  it('has the offset of the sensor that is connected', () => {
    let offsetNs = BOOT_TO_UNIX_NS
    const clock = new BootClock({ bootTimeNs: () => ns(7), bootToUnixNs: () => offsetNs }, 'here')
    clock.follow(BOOT_TO_UNIX_NS + 3n)
    expect(clock.nowUnixNs()).toBe(at(7) + 3n)
    offsetNs += HOUR_NS
    clock.sensorConnected('here')
    expect(clock.nowUnixNs()).toBe(at(7) + HOUR_NS)
  })

  it('is not that of a sensor on another machine', () => {
    const clock = new BootClock({ bootTimeNs: () => ns(7), bootToUnixNs: () => BOOT_TO_UNIX_NS }, 'here')
    clock.sensorConnected('there')
    clock.follow(BOOT_TO_UNIX_NS + HOUR_NS)
    expect(clock.nowUnixNs()).toBe(at(7))
    clock.sensorConnected('here')
    clock.follow(BOOT_TO_UNIX_NS + HOUR_NS)
    expect(clock.nowUnixNs()).toBe(at(7) + HOUR_NS)
  })
})

describe('a session', () => {
  const gap = { stage: Stage.STAGE_UPLINK, kind: '', count: 1n, exact: false, cause: 'x' }

  it('puts a gap and the end not before what came last', () => {
    const { session, events, last } = sessionAt(10)
    session.observe({ timeUnixNs: fromBigInt(at(50)), fileOpen: {} })
    session.gap({ ...gap, fromUnixNs: at(40), toUnixNs: at(30) }, at(20))
    expect(last()).toBe(at(50))
    expect(toBigInt(events.at(-1)?.gap?.toUnixNs)).toBe(at(40))
    session.gap({ ...gap, fromUnixNs: at(40), toUnixNs: at(60) }, at(60))
    expect(last()).toBe(at(60))
    session.end(END, at(55))
    expect(last()).toBe(at(60))
    expect(toBigInt(events.at(-1)?.sandboxEnded?.summary?.durationMs)).toBe(50n)
  })

  it.each([
    ['before it: the launcher waited', 5, 20n],
    ['with it', 20, 20n],
    ['in it', 25, 15n],
  ])('counts no runtime from before its start: a process that began %s', (_, startMs, runtimeMs) => {
    const { session, events } = sessionAt(20)
    session.observe(exitEvent(40, startMs))
    expect(toBigInt(events[1]?.exit?.runtimeMs)).toBe(runtimeMs)
    expect(toBigInt(events[1]?.process?.startTimeUnixNs)).toBe(at(startMs))
  })
})

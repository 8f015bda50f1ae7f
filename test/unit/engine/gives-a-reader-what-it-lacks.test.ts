/** An engine that goes on with a session whose reader has more than the saved state knows of: every event once, numbered without a hole. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { uuidV7 } from '../../../src/base/uuid.js'
import { StreamPlace } from '../../../src/cli/run/stream-place.js'
import { ReopenedSession } from '../../../src/engine/reopened-session.js'
import { type Deriver, Session, type SessionState } from '../../../src/engine/session.js'
import { RunningSummary, type SummaryState } from '../../../src/engine/summary.js'
import { Event, encodeBuffer, fromBigInt, type IEvent, toBigInt } from '../../../src/proto/codec.js'

const START_MS = 1_769_860_800_000n
const NS_PER_MS = 1_000_000n
const END = { exitCode: 0, signal: 0, killed: 0 }

/** Finds something at these facts, by their number. */
function finder(at: ReadonlySet<number>): Deriver {
  return {
    state: null,
    take: (event) => {
      const number = event.connect?.port ?? -1
      if (!at.has(number)) return null
      const uid = uuidV7({ unixMs: START_MS, cpu: 99, seq: BigInt(number), hash: 1 })
      return { toolCallId: '', events: [{ uid, toolCallId: '', kind: { detection: { reason: String(number) } } }] }
    },
  }
}

/** The kernel's `number`-th fact; equal ones are one and the same. */
function fact(number: number, stepMs = 1): IEvent {
  const unixMs = START_MS + BigInt(number * stepMs)
  const uid = uuidV7({ unixMs, cpu: number % 2, seq: BigInt(number), hash: 1 })
  return {
    schema: 1,
    source: 'tp_btf/sys_exit',
    uid,
    timeUnixNs: fromBigInt(unixMs * NS_PER_MS),
    connect: { port: number },
  }
}

function engine(found: ReadonlySet<number>, publish: (event: IEvent) => void, goOn?: SessionState): Session {
  return new Session({
    ...{ schema: 1, node: { name: 'node', bootId: 'boot' }, publish, deriver: finder(found) },
    summary: new RunningSummary(goOn?.summary as SummaryState | undefined),
    begin: goOn
      ? { goOn }
      : { id: 's', sandbox: { id: 'box' }, ownerUid: 0, startUnixNs: START_MS * NS_PER_MS, started: {} },
  })
}

const encoded = (event: IEvent) => encodeBuffer(Event, event)

interface Story {
  facts: number
  savedAt: number
  killedAt: number
  heldAt: number
  before: number[]
  after: number[]
  /** Facts that come to nothing before the reader is back. */
  comesAgain?: (number: number) => boolean
  stepMs?: number
}

/** What a reader has in the end, of an engine that saved its state at one fact, was killed behind another, and of the one after it. */
function told({ facts, savedAt, killedAt, heldAt, before, after, comesAgain = () => true, stepMs }: Story): IEvent[] {
  const place = new StreamPlace()
  const has: IEvent[] = []
  const read = (event: IEvent) => {
    place.has([encoded(event)])
    has.push(Event.decode(encoded(event)))
  }
  const first = engine(new Set(before), read)
  let saved = first.state
  for (let number = 0; number <= killedAt; number++) {
    if (number === savedAt) saved = structuredClone(first.state)
    if (number < killedAt) first.observe(fact(number, stepMs))
  }
  const reopened = new ReopenedSession({ cgroupId: 1n, uncertain: false, givenSeq: saved.seq })
  const next = engine(new Set(after), (event) => reopened.publish(event), saved)
  for (let number = savedAt; number < facts; number++) {
    if (number === Math.max(heldAt, savedAt)) reopened.attach(next, place.resume, 0n, read)
    if (number >= killedAt || comesAgain(number)) next.observe(fact(number, stepMs))
  }
  if (Math.max(heldAt, savedAt) >= facts) reopened.attach(next, place.resume, 0n, read)
  next.end(END, START_MS * NS_PER_MS)
  return has
}

const story = fc
  .record({
    facts: fc.integer({ min: 1, max: 60 }),
    at: fc.tuple(fc.nat(60), fc.nat(60)),
    heldAt: fc.nat(70),
    before: fc.array(fc.nat(60), { maxLength: 6 }),
    after: fc.array(fc.nat(60), { maxLength: 6 }),
  })
  .map(({ facts, at, ...rest }): Story => {
    const [savedAt = 0, killedAt = 0] = at.map((each) => Math.min(each, facts - 1)).sort((a, b) => a - b)
    return { facts, savedAt, killedAt, ...rest }
  })

describe('a reader whose engine was killed', () => {
  it('has every fact once and in order, whatever the next engine finds in them, and numbers without a hole', () => {
    fc.assert(
      fc.property(story, (given) => {
        const has = told(given)
        const ports = has.flatMap(({ connect }) => (connect ? [connect.port] : []))
        expect(ports).toEqual(Array.from({ length: given.facts }, (_, number) => number))
        expect(has.map(({ seq }) => Number(toBigInt(seq)))).toEqual(has.map((_, n) => n + 1))
        expect(new Set(has.map(({ uid }) => uid)).size).toBe(has.length)
        expect(Number(toBigInt(has.at(-1)?.sandboxEnded?.summary?.events))).toBe(has.length)
        expect(has.filter(({ gap }) => gap)).toEqual([])
      }),
      { numRuns: 500 },
    )
  })

  it('has what was found before and is not found again, and what is found only now', () => {
    const has = told({ facts: 20, savedAt: 5, killedAt: 15, heldAt: 5, before: [3, 7], after: [9, 17] })
    expect(has.flatMap(({ detection }) => detection?.reason ?? [])).toEqual(['3', '7', '9', '17'])
  })

  it('gets all that is younger where the last fact that it has does not come again, and is told so', () => {
    const has = told({
      ...{ facts: 30, savedAt: 5, killedAt: 10, heldAt: 5, before: [], after: [], stepMs: 500 },
      comesAgain: (number) => number !== 9,
    })
    const ports = has.flatMap(({ connect }) => (connect ? [connect.port] : []))
    // Two seconds are given to facts that come late.
    expect(ports.filter((port) => (port ?? 0) > 13)).toHaveLength(16)
    expect(new Set(ports).size).toBe(ports.length)
    const gaps = has.flatMap(({ gap }) => (gap ? [gap] : []))
    expect(gaps).toMatchObject([{ exact: false }])
    expect(Number(toBigInt(gaps[0]?.countMax))).toBe(8)
    expect(has.map(({ seq }) => Number(toBigInt(seq)))).toEqual(has.map((_, n) => n + 1))
  })

  it('that has the end gets nothing more', () => {
    const place = new StreamPlace()
    const has: IEvent[] = []
    const read = (event: IEvent) => {
      place.has([encoded(event)])
      has.push(event)
    }
    const first = engine(new Set(), read)
    const saved = structuredClone(first.state)
    first.observe(fact(0))
    first.end(END, START_MS * NS_PER_MS)
    const reopened = new ReopenedSession({ cgroupId: 1n, uncertain: false, givenSeq: saved.seq })
    const next = engine(new Set([0]), (event) => reopened.publish(event), saved)
    reopened.attach(next, place.resume, 0n, read)
    next.observe(fact(0))
    next.end(END, (START_MS + 5n) * NS_PER_MS)
    expect(has).toHaveLength(3)
    expect(next.lastSeq).toBe(3n)
  })

  it('says of what is no fact only the latest, and all of those that it need say', () => {
    const place = new StreamPlace()
    const uid = (number: number) => uuidV7({ unixMs: START_MS, cpu: 0, seq: BigInt(number), hash: 1 })
    for (let number = 0; number < 10_000; number++) {
      place.has([encoded({ source: 'gateway', uid: uid(number), seq: fromBigInt(BigInt(number + 1)), dns: {} })])
    }
    const { lastSeq, lastFactUid, otherUids } = place.resume
    expect(toBigInt(lastSeq)).toBe(10_000n)
    expect(lastFactUid).toBe('')
    expect(otherUids).toEqual(Array.from({ length: 4_096 }, (_, n) => uid(5_904 + n)))
  })
})

/** The same session, looked at while it happens and when its record is replayed: the same facts, calls and findings, with the same uids. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createLog } from '../../../src/base/log.js'
import { Commands } from '../../../src/engine/detect/command.js'
import { factOf } from '../../../src/engine/detect/fact-of.js'
import { LoopDetector } from '../../../src/engine/detect/loop.js'
import { FIRST, keyOf, PROCESSES_MAX, ProcessTable } from '../../../src/engine/detect/process-table.js'
import { SessionDetection } from '../../../src/engine/detect/session-detection.js'
import type { ToolCallsState } from '../../../src/engine/detect/tool-calls.js'
import { LiveDetection } from '../../../src/engine/live-detection.js'
import { LiveFacts } from '../../../src/engine/live-facts.js'
import { Replay } from '../../../src/engine/replay/derive.js'
import { Session, type SessionState } from '../../../src/engine/session.js'
import { RunningSummary, type SummaryState } from '../../../src/engine/summary.js'
import {
  Access,
  Decision,
  Event,
  encodeBuffer,
  fromBigInt,
  type IEvent,
  type IProcess,
  Protocol,
  Via,
} from '../../../src/proto/codec.js'
import { type EventJson, eventLine, eventToJson } from '../../../src/proto/event-json.js'
import { detectionBy, syntax } from '../../support/bash-grammar.js'

const silentLog = createLog({ role: 'test', level: 'silent' })

const OF = { sessionId: 's1', sandboxId: 'box', agent: '', ownerUid: 0 }
const START_NS = 1_769_860_800_123_456_789n
const bytes = (text: string) => Buffer.from(text)
const process = (pid: number, parent: number, args: readonly string[], more: Partial<IProcess> = {}): IProcess => ({
  ...{ execId: `boot-${pid}-s-1`, parentExecId: parent === 0 ? '' : `boot-${parent}-s-1`, pid, tid: pid, ppid: parent },
  ...{ exe: bytes(`/usr/bin/${args[0]}`), args: args.map(bytes), cwd: bytes('/w'), ...more },
})
const AGENT = process(1, 0, ['agent'])

const commands = new Commands(syntax)
const detection = (goOn: ToolCallsState | null) =>
  new SessionDetection({ commands, detectors: [new LoopDetector()], goOn })

/** As the engine makes one; `given` is what readers get, as they get it. */
function liveSession(goOn?: SessionState) {
  const live = new LiveDetection({ detection, baselines: null, log: silentLog })
  const given: IEvent[] = []
  let at = START_NS
  const session = new Session({
    ...{ schema: 1, node: { name: 'node', bootId: 'boot' }, deriver: live.deriver(OF, goOn?.derived ?? null) },
    summary: new RunningSummary(goOn?.summary as SummaryState | undefined),
    publish: (event) => given.push(Event.decode(encodeBuffer(Event, event))),
    begin: goOn
      ? { goOn }
      : {
          ...{ id: 's1', sandbox: { id: 'box' }, ownerUid: 0, startUnixNs: START_NS },
          started: { workdir: bytes('/w'), command: [] },
        },
  })
  const say = (event: IEvent) => {
    at += 1_234_567n
    session.observe({
      schema: 1,
      source: 'x',
      node: { name: 'node', bootId: 'boot' },
      uid: `uid-${at}`,
      timeUnixNs: fromBigInt(at),
      ...event,
    })
  }
  return { live, session, given, say, end: () => session.end({ exitCode: 0, signal: 0, killed: 0 }, at) }
}

function replayed(lines: readonly string[]): EventJson[] {
  const replay = new Replay({ openSession: () => detectionBy(new LoopDetector()) })
  return lines.flatMap((line) => replay.take(line)).map((line) => JSON.parse(line) as EventJson)
}

function call(say: (event: IEvent) => void, pid: number, command: string): void {
  const bash = process(pid, 1, ['bash', '-c', command])
  say({ process: bash, exec: {} })
  say({ process: bash, fileOpen: { path: bytes('/w/made\\\xff'), access: Access.ACCESS_WRITE } })
  say({ process: bash, exit: {} })
}

const decision = fc.constantFrom(Decision.DECISION_ALLOW, Decision.DECISION_DENY, Decision.DECISION_WOULD_DENY)
const path = fc.uint8Array({ maxLength: 12 }).map((tail) => Buffer.concat([Buffer.from('/w/'), tail]))
const errno = fc.constantFrom(0, 0, 13)
const KINDS: readonly fc.Arbitrary<IEvent>[] = [
  fc.record({ path, errno, access: fc.constantFrom(0, 1, 2, 3) }).map((fileOpen) => ({ fileOpen })),
  fc.record({ script: path, memfd: fc.boolean() }).map((exec) => ({ exec })),
  fc.record({ code: fc.nat(255), signal: fc.nat(31) }).map((exit) => ({ exit })),
  fc.record({ op: fc.nat(10), path, newPath: path, errno }).map((fileChange) => ({ fileChange })),
  fc.record({ text: path }).map((stdin) => ({ stdin })),
  fc
    .record({
      ...{ protocol: fc.constantFrom(Protocol.PROTOCOL_TCP, Protocol.PROTOCOL_UNIX), port: fc.nat(65535) },
      ...{ via: fc.constantFrom(Via.VIA_CONNECT, Via.VIA_SOCKET), address: fc.string(), hostname: fc.string() },
      ...{ verdict: decision.map((each) => ({ decision: each })), count: fc.nat(9).map((n) => fromBigInt(BigInt(n))) },
    })
    .map((connect) => ({ connect })),
  fc.record({ name: fc.string(), verdict: decision.map((each) => ({ decision: each })) }).map((dns) => ({ dns })),
  fc.record({ workdir: path }).map((sandboxStarted) => ({ sandboxStarted })),
  ...[
    { sandboxEnded: {} },
    { gap: {} },
    { listen: {} },
    { connectionClosed: {} },
    { quarantine: {} },
    { limitHit: {} },
  ].map((kind) => fc.constant<IEvent>(kind)),
]

describe('detection while it happens', () => {
  it('sees in an event what its JSON says', () => {
    const event = fc.tuple(fc.oneof(...KINDS), fc.bigInt({ min: 0n, max: 2n ** 62n }), fc.boolean())
    fc.assert(
      fc.property(event, ([kind, unixNs, byProcess]) => {
        const by = byProcess ? { process: process(7, 1, ['a\\b', '\xff'], { spawnerExecId: 'boot-3-s-1' }) } : {}
        const made = Event.decode(encodeBuffer(Event, { uid: 'u', timeUnixNs: fromBigInt(unixNs), ...by, ...kind }))
        const seen = new LiveFacts().of(made)
        const read = factOf(eventToJson(made))
        expect(seen && { ...seen, time: '' }).toEqual(read && { ...read, time: '' })
      }),
      { numRuns: 2_000 },
    )
  })

  it('gives a record that a replay derives the same of, event for event', () => {
    const { say, end, given } = liveSession()
    say({ process: AGENT, exec: {} })
    for (let at = 0; at < 6; at += 1) call(say, 10 + at, `grep -rn "é ${'x'.repeat(90)}" .`)
    // Of a subshell, which is known by what it came of.
    const inner = process(40, 39, ['ls'], { parentExecId: 'boot-39-s-0', spawnerExecId: 'boot-1-s-1' })
    say({ process: inner, exec: {} })
    end()
    const lines = given.map(eventLine)
    const again = replayed(lines)
    expect(given.filter(({ detection }) => detection)).toHaveLength(1)
    expect(given.filter(({ toolCall }) => toolCall)).toHaveLength(7)
    const own = again.map(({ recordedSeq: _, ...event }: EventJson & { recordedSeq?: string }) => event)
    expect(own).toEqual(lines.map((line) => JSON.parse(line)))
    expect(again.at(-1)).toMatchObject({
      seq: String(given.length),
      sandboxEnded: { summary: { events: String(given.length) } },
    })
  })

  it('numbers what is derived behind its cause, with its time, and says of each event which call it is a part of', () => {
    const { say, given } = liveSession()
    say({ process: AGENT, exec: {} })
    call(say, 10, 'make')
    expect(given.map(({ seq }) => seq?.low)).toEqual([1, 2, 3, 4, 5, 6])
    const [, agent, exec, open, exit, over] = given
    expect(over?.toolCall).toMatchObject({ processes: 1, ended: true, command: bytes('make') })
    expect(over?.timeUnixNs).toEqual(exit?.timeUnixNs)
    expect(agent?.toolCallId).toBe('')
    expect(new Set([exec, open, exit, over].map((event) => event?.toolCallId)).size).toBe(1)
  })

  it('goes on with the calls that an engine before it knew', () => {
    const first = liveSession()
    first.say({ process: AGENT, exec: {} })
    const bash = process(10, 1, ['bash', '-c', 'make'])
    first.say({ process: bash, exec: {} })
    const next = liveSession(structuredClone(first.session.state))
    next.say({ process: process(11, 10, ['cc']), exec: {} })
    next.say({ process: bash, exit: {} })
    const ids = [...first.given.slice(2), ...next.given].map(({ toolCallId }) => toolCallId)
    expect(new Set(ids).size).toBe(1)
    expect(next.given.at(-1)?.toolCall).toMatchObject({ processes: 2, command: bytes('make') })
  })

  it('saves of its processes those that there are, and goes on with what an earlier version saved of them', () => {
    const table = new ProcessTable()
    const keys = Array.from({ length: 40 }, (_, at) => keyOf(`boot-${at}-s-1`))
    for (const [at, key] of keys.entries()) table.put(key, at + 1, FIRST)
    const { state } = table
    expect(state.keys).toHaveLength(40)
    const whole = { keys: new Int32Array(PROCESSES_MAX), values: new Uint32Array(PROCESSES_MAX), isEmpty: false }
    for (const [at, place] of (state.places ?? []).entries()) {
      whole.keys[place] = state.keys[at] ?? 0
      whole.values[place] = state.values[at] ?? 0
    }
    for (const saved of [structuredClone(state), whole]) {
      const next = new ProcessTable(saved)
      const calls = keys.map((key) => next.call(next.find(key)))
      expect(calls).toEqual(keys.map((_, at) => at + 1))
      expect(next.flags(next.find(keys[7] ?? 0))).toBe(FIRST)
      expect(next.state).toEqual(state)
    }
  })

  it('gives out an event that it can not look at', () => {
    const live = new LiveDetection({
      detection: () =>
        detectionBy({
          fact: () => {
            throw new Error('a detector is wrong')
          },
        }),
      ...{ baselines: null, log: silentLog },
    })
    expect(live.deriver(OF, null).take({ uid: 'u', process: AGENT, exec: {} })).toBeNull()
    expect(live.failed).toBe(1)
  })
})

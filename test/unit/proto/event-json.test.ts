import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  Access,
  CgroupChange,
  CgroupOp,
  Checkpoint,
  Connect,
  ConnectionClosed,
  Decision,
  Dns,
  Event,
  Exec,
  ExecFailed,
  Exit,
  encodeBuffer,
  FileChange,
  FileOpen,
  fromBigInt,
  Gap,
  type IEvent,
  Listen,
  Process,
  Protocol,
  Quarantine,
  QuarantineCause,
  Sandbox,
  SandboxStarted,
  Stage,
  Stdin,
  Summary,
  Tally,
  Verdict,
  Via,
} from '../../../src/proto/codec.js'
import {
  ACCESSES,
  CGROUP_OPS,
  DECISIONS,
  EVENT_KINDS,
  type EventKind,
  eventKind,
  eventLine,
  eventToJson,
  PROTOCOLS,
  QUARANTINE_CAUSES,
  VIAS,
} from '../../../src/proto/event-json.js'
import { parseEventLine } from '../../../src/proto/event-line.js'
import { STAGES } from '../../../src/proto/session-json.js'

const COMMON_KEYS = ['schema', 'source', 'node', 'uid', 'time', 'seq', 'sandbox', 'sessionId', 'toolCallId', 'process']

/** JSON key of a message's field where it is not the field's own name. */
const RENAMED: Record<string, string> = {
  timeUnixNs: 'time',
  startTimeUnixNs: 'startTime',
  endTimeUnixNs: 'endTime',
  lastTimeUnixNs: 'lastTime',
  fromUnixNs: 'from',
  toUnixNs: 'to',
}

/** Fields of a generated class in the order of the .proto file. */
function fieldsOf(message: { prototype: object }): string[] {
  const skipped = ['constructor', '$unknowns']
  return Object.keys(message.prototype)
    .filter((name) => !skipped.includes(name))
    .map((name) => RENAMED[name] ?? name)
}

const EMPTY: Record<EventKind, IEvent> = {
  exec: { exec: {} },
  execFailed: { execFailed: {} },
  exit: { exit: {} },
  stdin: { stdin: {} },
  fileOpen: { fileOpen: {} },
  fileChange: { fileChange: {} },
  connect: { connect: {} },
  connectionClosed: { connectionClosed: {} },
  listen: { listen: {} },
  dns: { dns: {} },
  toolCall: { toolCall: {} },
  detection: { detection: {} },
  response: { response: {} },
  gap: { gap: {} },
  sandboxStarted: { sandboxStarted: {} },
  sandboxEnded: { sandboxEnded: { summary: { programs: [{}] } } },
  policyChanged: { policyChanged: { from: {}, to: {} } },
  limitHit: { limitHit: {} },
  cgroupChange: { cgroupChange: {} },
  quarantine: { quarantine: {} },
  checkpoint: { checkpoint: {} },
}

describe('eventToJson', () => {
  it.each(EVENT_KINDS)('writes the keys of %s last and the common ones in their order', (kind) => {
    const json = eventToJson({ ...EMPTY[kind], process: {} })
    expect(Object.keys(json)).toEqual([...COMMON_KEYS, kind])
    expect(eventKind(json)).toBe(kind)
  })

  it('leaves the process out where there is none', () => {
    expect(Object.keys(eventToJson({ gap: {} }))).not.toContain('process')
  })

  it.each([
    ['exec', Exec, (json: object) => json],
    ['execFailed', ExecFailed, (json: object) => json],
    ['exit', Exit, (json: object) => json],
    ['fileOpen', FileOpen, (json: object) => json],
    ['stdin', Stdin, (json: object) => json],
    ['fileChange', FileChange, (json: object) => json],
    ['cgroupChange', CgroupChange, (json: object) => json],
    ['quarantine', Quarantine, (json: object) => json],
    ['checkpoint', Checkpoint, (json: object) => json],
    ['connect', Connect, (json: object) => json],
    ['connectionClosed', ConnectionClosed, (json: object) => json],
    ['listen', Listen, (json: object) => json],
    ['dns', Dns, (json: object) => json],
    ['gap', Gap, (json: object) => json],
    ['sandboxStarted', SandboxStarted, (json: object) => json],
    ['sandboxEnded', Summary, (json: { summary: object }) => json.summary],
    ['fileOpen', Verdict, (json: { verdict: object }) => json.verdict],
    ['sandboxEnded', Tally, (json: { summary: { programs: object[] } }) => json.summary.programs[0] ?? {}],
  ])('writes every field of %s (%o), also of an empty one', (kind, message, pick) => {
    const json: Record<string, unknown> = { ...eventToJson(EMPTY[kind as EventKind]) }
    const body = pick(json[kind] as never)
    expect(Object.keys(body)).toEqual(fieldsOf(message))
    expect(Object.values(body)).not.toContain(undefined)
    expect(Object.values(body)).not.toContain(null)
  })

  it('writes every field of process and sandbox', () => {
    const json = eventToJson({ exec: {}, process: {} })
    expect(Object.keys(json.process ?? {})).toEqual(fieldsOf(Process))
    expect(Object.keys(json.sandbox)).toEqual(fieldsOf(Sandbox))
  })

  it('knows every enum value of the wire format by its short name', () => {
    const pairs = [
      [Decision, DECISIONS, 'DECISION_'],
      [Access, ACCESSES, 'ACCESS_'],
      [CgroupOp, CGROUP_OPS, 'CGROUP_OP_'],
      [QuarantineCause, QUARANTINE_CAUSES, 'QUARANTINE_CAUSE_'],
      [Protocol, PROTOCOLS, 'PROTOCOL_'],
      [Via, VIAS, 'VIA_'],
      [Stage, STAGES, 'STAGE_'],
    ] as const
    for (const [wire, names, prefix] of pairs) {
      expect(Object.keys(wire)).toEqual(names.map((name) => prefix + name))
      expect(Object.values(wire)).toEqual(names.map((_, index) => index))
    }
  })

  it('writes numbers of 64 bits as strings, times with nine digits, bytes as reversible text', () => {
    const max = fromBigInt(2n ** 64n - 1n)
    const json = eventToJson({
      schema: 1,
      seq: max,
      timeUnixNs: fromBigInt(1_760_000_000_123_456_789n),
      sandbox: { cgroupId: max, labels: { b: '2', a: '1' } },
      process: { args: [Buffer.from([0x2f, 0xff]), Buffer.from('\\')], argsBytes: max },
      fileOpen: { path: Buffer.from([0x2f, 0xfe]), access: 3, flags: ['O_CREAT'], verdict: { decision: 2 } },
    })
    expect(json).toMatchObject({
      seq: '18446744073709551615',
      time: '2025-10-09T08:53:20.123456789Z',
      sandbox: { cgroupId: '18446744073709551615' },
      process: { args: ['/\\xff', '\\\\'], argsBytes: '18446744073709551615' },
      fileOpen: { path: '/\\xfe', access: 'READ_WRITE', flags: ['O_CREAT'], verdict: { decision: 'DENY' } },
    })
    expect(Object.keys(json.sandbox.labels)).toEqual(['a', 'b'])
  })

  it('refuses an event of no kind', () => {
    expect(() => eventToJson({ uid: 'u1' })).toThrow(expect.objectContaining({ code: 'PROTOCOL' }))
  })

  it('writes the same line before and after the wire', () => {
    const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(fromBigInt)
    const bytes = fc.uint8Array({ maxLength: 20 })
    const event = fc.record({
      uid: fc.uuid(),
      seq: u64,
      timeUnixNs: u64,
      sandbox: fc.record({ labels: fc.dictionary(fc.string({ minLength: 1 }), fc.string()) }),
      process: fc.record({ args: fc.array(bytes, { maxLength: 4 }), exe: bytes }),
      connect: fc.record({ protocol: fc.integer({ min: 0, max: 11 }), port: fc.integer({ min: 0, max: 65535 }) }),
    })
    fc.assert(
      fc.property(event, (given) => {
        const line = eventLine(given)
        expect(eventLine(Event.decode(encodeBuffer(Event, given)))).toBe(line)
        expect(line).not.toContain('\n')
        expect(JSON.stringify(parseEventLine(line))).toBe(line)
      }),
    )
  })
})

describe('parseEventLine', () => {
  const line = eventLine({ uid: 'u1', exec: {}, process: {} })
  const changed = (change: object) => JSON.stringify({ ...JSON.parse(line), ...change })

  it('keeps fields that it does not know', () => {
    const event = parseEventLine(changed({ recordedSeq: '5', exec: { later: [1] } }))
    expect(JSON.parse(JSON.stringify(event))).toMatchObject({ recordedSeq: '5', exec: { later: [1] } })
  })

  it.each([
    ['{"schema"', /not JSON/],
    ['[]', /not a JSON object/],
    ['null', /not a JSON object/],
    [changed({ uid: undefined }), /uid is missing/],
    [changed({ uid: 5 }), /uid is not a string/],
    [changed({ schema: '1' }), /schema is not a number/],
    [changed({ seq: 1 }), /seq is not a string of digits/],
    [changed({ time: '2025-10-09T08:53:20Z' }), /time is not a time/],
    [changed({ sandbox: null }), /sandbox is not an object/],
    [changed({ process: [] }), /process is not an object/],
    [changed({ exec: undefined }), /no kind/],
    [changed({ exit: {} }), /two kinds, exec and exit/],
    [changed({ exec: 1 }), /exec is not an object/],
  ])('refuses %s', (bad, message) => {
    expect(() => parseEventLine(bad)).toThrow(expect.objectContaining({ code: 'PROTOCOL' }))
    expect(() => parseEventLine(bad)).toThrow(message)
  })

  it('never throws anything but our own error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(() => parseEventLine(text)).toThrow(expect.objectContaining({ code: 'PROTOCOL' }))
      }),
    )
  })
})

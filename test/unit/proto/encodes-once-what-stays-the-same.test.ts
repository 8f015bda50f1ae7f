/** The two short ways past the generated code: what they make is what it would make, whatever is in an event. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Event, encodeBuffer, FileOpen, fromBigInt, type IEvent, RunResponse } from '../../../src/proto/codec.js'
import { EventEncoder } from '../../../src/proto/event-encoder.js'
import { eventLine } from '../../../src/proto/event-json.js'
import { EventLines } from '../../../src/proto/event-lines.js'
import { readRunResponse } from '../../../src/proto/run-response.js'
import { common, kinds } from '../cli/sample-events.js'

const u32 = fc.oneof(
  fc.constantFrom(0, 1, 127, 128, 16_383, 16_384, 2 ** 32 - 1),
  fc.integer({ min: 0, max: 2 ** 32 - 1 }),
)
const u64 = fc
  .oneof(
    fc.constantFrom(0n, 1n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 64n - 1n),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  )
  .map(fromBigInt)
/** Close together, as the times of a stream are. */
const time = fc.bigInt({ min: 1_769_869_387_000_000_000n, max: 1_769_869_390_000_000_000n }).map(fromBigInt)
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 20 }),
  fc.string({ maxLength: 200 }).map((text) => Buffer.from(text)),
  fc.constantFrom(Buffer.from('/plain/path'), Buffer.from('a"b\\c\u001b'), Buffer.alloc(20_000, 0x61)),
)
const text = fc.oneof(fc.string(), fc.constantFrom('', 'O_CREAT', 'üñî', '"', '\u0000'))
const verdict = fc.record({ decision: fc.integer({ min: 0, max: 5 }), rule: text, reason: text })
const fileOpen = fc.record({
  ...{ path: bytes, userPath: bytes, resolved: fc.boolean(), access: fc.integer({ min: 0, max: 4 }) },
  ...{ flags: fc.array(text, { maxLength: 3 }), created: fc.boolean(), dev: u64, inode: u64, errno: u32 },
  ...{ verdict: fc.option(verdict), count: u64, lastTimeUnixNs: fc.option(fc.oneof(time, u64)) },
})
const process = fc.record({
  execId: text,
  pid: u32,
  tid: u32,
  exe: bytes,
  args: fc.array(bytes, { maxLength: 3 }),
  startTimeUnixNs: u64,
})
const kind = fc.oneof(
  { weight: 3, arbitrary: fileOpen.map((open) => ({ fileOpen: open })) },
  { weight: 1, arbitrary: fc.constantFrom<IEvent>(...Object.values(kinds)) },
)
const event = fc
  .tuple(
    fc.record({
      ...{
        schema: u32,
        source: text,
        uid: text,
        timeUnixNs: fc.oneof(time, u64),
        seq: u64,
        sessionId: text,
        toolCallId: text,
      },
      node: fc.option(fc.record({ name: text, bootId: text })),
      sandbox: fc.option(
        fc.record({ id: text, cgroupId: u64, labels: fc.dictionary(fc.string({ minLength: 1 }), text) }),
      ),
      process: fc.option(process),
    }),
    kind,
  )
  .map(([head, body]): IEvent => ({ ...body, ...head }))

function encoded(events: readonly IEvent[], encoder = new EventEncoder()): readonly Buffer[] {
  for (const one of events) encoder.append(one)
  return readRunResponse(encoder.take()).events ?? []
}

function lineOf(event: Buffer, lines = new EventLines()): string {
  lines.append(event)
  const line = lines.take().toString()
  expect(line.endsWith('\n')).toBe(true)
  return line.slice(0, -1)
}

describe('EventEncoder', () => {
  it('makes of events what the generated code makes of them', () => {
    const encoder = new EventEncoder()
    fc.assert(
      fc.property(fc.array(event, { maxLength: 5 }), (events) => {
        const theirs = events.map((one) => Event.decode(encodeBuffer(Event, one)))
        expect(encoded(events, encoder).map((one) => Event.decode(one))).toEqual(theirs)
        expect(encoder.count).toBe(0)
      }),
    )
  })

  it('knows every field of a file open', () => {
    const open = {
      ...{
        path: Buffer.from('/a'),
        userPath: Buffer.from('a'),
        resolved: true,
        access: 1,
        flags: ['O_CREAT'],
        created: true,
      },
      ...{ dev: fromBigInt(1n), inode: fromBigInt(2n), errno: 3, verdict: { rule: 'none' }, count: fromBigInt(4n) },
      lastTimeUnixNs: fromBigInt(5n),
    }
    const known = Object.keys(FileOpen.prototype).filter((name) => !['constructor', '$unknowns'].includes(name))
    expect(Object.keys(open).sort()).toEqual(known.sort())
    const [back] = encoded([{ ...common, fileOpen: open }])
    expect(Event.decode(back ?? Buffer.alloc(0)).fileOpen).toEqual(FileOpen.decode(encodeBuffer(FileOpen, open)))
    const line = JSON.parse(lineOf(back ?? Buffer.alloc(0)))
    expect(line).toEqual(JSON.parse(eventLine({ ...common, fileOpen: open })))
  })

  it('tells apart what only looks the same', () => {
    const before = { ...common, ...kinds.read }
    const after = { ...before, sandbox: { ...common.sandbox, name: 'other' }, process: { ...common.process, pid: 43 } }
    const lines = new EventLines()
    expect(encoded([before, after, before]).map((one) => lineOf(one, lines))).toEqual(
      [before, after, before].map(eventLine),
    )
  })
})

describe('EventLines', () => {
  it('writes the same lines as the decoded events', () => {
    const lines = new EventLines()
    fc.assert(
      fc.property(event, (given) => {
        const line = eventLine(given)
        expect(lineOf(encoded([given])[0] ?? Buffer.alloc(0), lines)).toBe(line)
        expect(lineOf(encodeBuffer(Event, given), lines)).toBe(line)
      }),
    )
  })

  it('gives many lines at once, also behind one that was no event', () => {
    const lines = new EventLines()
    const events = [kinds.read, kinds.exec, kinds.write].map((kind) => ({ ...common, ...kind }))
    for (const one of events) {
      expect(() => lines.append(encodeBuffer(Event, common))).toThrow()
      lines.append(encodeBuffer(Event, one))
    }
    expect(lines.take().toString()).toBe(events.map((one) => `${eventLine(one)}\n`).join(''))
    expect(lines.take().length).toBe(0)
  })

  it('reads an event that comes in pieces laid end to end', () => {
    const whole = { ...common, ...kinds.write }
    const pieces = Buffer.concat([encodeBuffer(Event, kinds.write), encodeBuffer(Event, common)])
    expect(lineOf(pieces)).toBe(eventLine(whole))
  })

  it('says of each event whether it was denied, and whether it is the last', () => {
    const lines = new EventLines()
    const facts = (given: IEvent) => {
      lines.append(encodeBuffer(Event, { ...common, ...given }))
      return [lines.denied, lines.ended]
    }
    expect(facts(kinds.denied)).toEqual([true, false])
    expect(facts(kinds.read)).toEqual([false, false])
    expect(
      facts({ fileOpen: { ...kinds.read.fileOpen, verdict: { decision: 2 }, lastTimeUnixNs: fromBigInt(1n) } }),
    ).toEqual([true, false])
    expect(facts({ sandboxEnded: {} })).toEqual([false, true])
  })

  it('refuses what is no event', () => {
    const refused = expect.objectContaining({ code: 'PROTOCOL' })
    expect(() => lineOf(Buffer.alloc(0))).toThrow(refused)
    expect(() => lineOf(encodeBuffer(Event, common))).toThrow(refused)
    const cut = encodeBuffer(Event, { ...common, ...kinds.write })
    expect(() => lineOf(cut.subarray(0, -1))).toThrow(refused)
  })
})

describe('readRunResponse', () => {
  it('reads what the generated code writes', () => {
    const [one, two] = [
      { ...common, ...kinds.read },
      { ...common, ...kinds.exec },
    ]
    const response = readRunResponse(encodeBuffer(RunResponse, { events: { events: [one, two] } }))
    expect(response.events?.map((event) => eventLine(Event.decode(event)))).toEqual([one, two].map(eventLine))
    expect(readRunResponse(encodeBuffer(RunResponse, { ended: { problem: 'p' } })).ended).toMatchObject({
      problem: 'p',
    })
    expect(readRunResponse(encodeBuffer(RunResponse, { started: { sessionId: 's' } })).started?.sessionId).toBe('s')
  })
})

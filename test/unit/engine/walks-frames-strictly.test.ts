import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Frame, walkFrame } from '../../../src/engine/frame-walk.js'
import { ConnectRequest, encodeBuffer, fromBigInt, KernelEvent } from '../../../src/proto/codec.js'
import { batch, fact, loss, lossOf, open, SANDBOX } from './kernel-frames.js'

function batchOf(frame: Frame) {
  if (frame.kind !== 'batch') throw new Error(`a ${frame.kind}, not a batch`)
  return frame.batch
}

function lengthDelimited(field: number, bytes: Buffer): Buffer {
  const head: number[] = [(field << 3) | 2]
  let length = bytes.length
  for (; length >= 0x80; length >>= 7) head.push((length & 0x7f) | 0x80)
  return Buffer.concat([Buffer.from([...head, length]), bytes])
}

describe('a frame', () => {
  it('of each kind is told apart', () => {
    expect(walkFrame(encodeBuffer(ConnectRequest, { hello: { abiVersion: 1 } })).kind).toBe('hello')
    expect(walkFrame(encodeBuffer(ConnectRequest, { result: { id: fromBigInt(1n) } })).kind).toBe('result')
    expect(walkFrame(batch({ seq: 1, events: [], watermarkMs: 1 })).kind).toBe('batch')
  })

  it.each([
    ['empty', []],
    ['field number 0', [0x00]],
    ['a group', [0x0b]],
    ['a length beyond the end', [0x0a, 0x05, 0x00]],
    ['hello as a number', [0x08, 0x01]],
    ['a varint without an end', Array.from({ length: 11 }, () => 0xff)],
    ['two messages', [0x0a, 0x00, 0x1a, 0x00]],
    ['an unknown message alone', [0x7a, 0x00]],
  ])('is malformed: %s', (_, bytes) => {
    expect(walkFrame(Uint8Array.from(bytes)).kind).toBe('malformed')
  })

  it('gives the header, the losses, and events that decode to what was sent', () => {
    const sent = [open({ ms: 16384, pid: 127 }, '/a'), fact({ ms: 5, pid: 16383 }, { exit: { status: 256 } })]
    const walked = batchOf(walkFrame(batch({ seq: 300, events: sent, watermarkMs: 9, losses: [loss(4, 128, 3)] })))
    expect(walked).toMatchObject({ batchSeq: 300n, watermarkNs: 9_000_000n, unreadable: 0, unreadableExact: true })
    expect(walked.losses).toEqual([
      { kind: 4, attempted: 1128n, dropped: 128n, missed: 3n, taken: 0n, takenMoreAtMost: 0n },
    ])
    expect(walked.events.map(({ kind, timeNs }) => [kind, timeNs])).toEqual([
      [4, 16_384_000_000],
      [3, 5_000_000],
    ])
    expect(walked.events.map((event) => KernelEvent.decode(event.bytes).pid)).toEqual([127, 16383])
  })

  it('tells the losses of sandboxes from those of the node', () => {
    const losses = [lossOf(SANDBOX, 4, 5), loss(4, 128), lossOf(2n ** 53n - 1n, 5, 6)]
    const walked = batchOf(walkFrame(batch({ seq: 1, events: [], watermarkMs: 1, losses })))
    expect(walked.losses.map(({ dropped }) => dropped)).toEqual([128n])
    expect(walked.sandboxLosses).toEqual([
      { sandbox: Number(SANDBOX), kind: 4, dropped: 5n },
      { sandbox: Number.MAX_SAFE_INTEGER, kind: 5, dropped: 6n },
    ])
    const tooBig = batchOf(walkFrame(batch({ seq: 1, events: [], watermarkMs: 1, losses: [lossOf(2n ** 53n, 4, 1)] })))
    expect(tooBig).toMatchObject({ unreadable: 1, sandboxLosses: [] })
  })

  it('reads a batch that comes in two pieces as one', () => {
    const one = batch({ seq: 1, events: [open({ ms: 1 }, '/a')], watermarkMs: 1, eventCount: 2 })
    const two = encodeBuffer(ConnectRequest, { batch: { events: [open({ ms: 2 }, '/b')] } })
    const walked = batchOf(walkFrame(Buffer.concat([one, two])))
    expect(walked.events).toHaveLength(2)
    expect(walked.unreadable).toBe(0)
  })

  it('skips fields that it does not know', () => {
    const known = batch({ seq: 1, events: [], watermarkMs: 1 })
    expect(walkFrame(Buffer.concat([Buffer.from([0x7a, 0x01, 0x00, 0x79, 1, 2, 3, 4, 5, 6, 7, 8]), known])).kind).toBe(
      'batch',
    )
  })

  it('that is cut gives what is whole and counts the rest', () => {
    const whole = batch({ seq: 1, events: [1, 2, 3].map((ms) => open({ ms }, '/some/path')), watermarkMs: 1 })
    const walked = batchOf(walkFrame(whole.subarray(0, whole.length - 5)))
    expect(walked.events).toHaveLength(2)
    expect(walked).toMatchObject({ unreadable: 1, unreadableExact: true })
  })

  it('with one event without a time loses only that one', () => {
    const events = [open({ ms: 1 }, '/a'), { kind: 4 }, open({ ms: 2 }, '/b')]
    const walked = batchOf(walkFrame(batch({ seq: 1, events, watermarkMs: 1 })))
    expect(walked.events).toHaveLength(2)
    expect(walked).toMatchObject({ unreadable: 1, unreadableExact: true })
  })

  it('with fewer events than it says counts the difference', () => {
    const walked = batchOf(walkFrame(batch({ seq: 1, events: [open({ ms: 1 }, '/a')], watermarkMs: 1, eventCount: 4 })))
    expect(walked).toMatchObject({ unreadable: 3, unreadableExact: true })
  })

  it('reads events in the order of fields of the addon as it reads any other order', () => {
    const bits = (max: number) =>
      fc.integer({ min: 0, max }).chain((n) => fc.bigInt({ min: 0n, max: (1n << BigInt(n)) - 1n }))
    const facts = fc.record({
      kind: fc.constantFrom(0, 1, 4, 127, 128, 70_000),
      time: bits(64),
      seq: bits(64),
      sandbox: bits(60),
    })
    const walked = (events: Buffer[]) => {
      const body = Buffer.concat(events.map((bytes) => lengthDelimited(15, bytes)))
      return batchOf(walkFrame(lengthDelimited(2, body)))
    }
    const seen = (events: Buffer[]) => {
      const { unreadable, events: slices } = walked(events)
      return { unreadable, slices: slices.map(({ kind, timeNs, sandbox }) => ({ kind, timeNs, sandbox })) }
    }
    fc.assert(
      fc.property(fc.array(facts, { minLength: 1, maxLength: 5 }), fc.nat(40), (many, length) => {
        const usual = many.map(({ kind, time, seq, sandbox }) =>
          Buffer.from(
            KernelEvent.encode({
              kind,
              timeNs: fromBigInt(time),
              cpuSeq: fromBigInt(seq),
              sandbox: fromBigInt(sandbox),
              fileOpen: { path: Buffer.alloc(length) },
            }).finish(),
          ),
        )
        // An unknown field in front makes every one unusual.
        const unusual = usual.map((bytes) => Buffer.concat([Buffer.from([0xa0, 0x06, 0x01]), bytes]))
        const readable = many.filter(
          ({ kind, time, sandbox }) => kind !== 0 && time !== 0n && sandbox !== 0n && sandbox < 2n ** 53n,
        )
        expect(seen(usual)).toEqual(seen(unusual))
        expect(seen(usual).slices).toEqual(
          readable.map(({ kind, time, sandbox }) => ({ kind, timeNs: Number(time), sandbox: Number(sandbox) })),
        )
        expect(seen(usual).unreadable).toBe(readable.length < many.length ? 1 : 0)
      }),
      { numRuns: 300 },
    )
  })

  it('never throws and never gives bytes from outside, whatever it is', () => {
    const valid = batch({
      seq: 1,
      events: [open({ ms: 1 }, '/a'), open({ ms: 2 }, '/b')],
      watermarkMs: 1,
      losses: [loss(1, 2)],
    })
    const mutated = fc
      .array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 4 })
      .map((changes) => changes.reduce((bytes, [at, value]) => bytes.fill(value, at, at + 1), Buffer.from(valid)))
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), mutated), (raw) => {
        const frame = walkFrame(raw)
        if (frame.kind !== 'batch') return
        for (const event of frame.batch.events) {
          expect(event.bytes.byteOffset).toBeGreaterThanOrEqual(raw.byteOffset)
          expect(event.bytes.byteOffset + event.bytes.length).toBeLessThanOrEqual(raw.byteOffset + raw.length)
        }
      }),
      { numRuns: 500 },
    )
  })
})

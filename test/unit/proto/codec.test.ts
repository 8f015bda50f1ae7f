import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  BATCH_HEAD_BYTES,
  batchRequestInPlace,
  ConnectRequest,
  Event,
  EventBatch,
  encodeBatchRequest,
  encodeBuffer,
  fromBigInt,
  KernelEvent,
  toBigInt,
} from '../../../src/proto/codec.js'

const U64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })

describe('64-bit fields', () => {
  it('are exact as varint and as fixed64', () => {
    fc.assert(
      fc.property(U64, U64, (seq, timeUnixNs) => {
        const bytes = encodeBuffer(Event, { seq: fromBigInt(seq), timeUnixNs: fromBigInt(timeUnixNs) })
        const event = Event.decode(bytes)
        expect(toBigInt(event.seq)).toBe(seq)
        expect(toBigInt(event.timeUnixNs)).toBe(timeUnixNs)
      }),
    )
  })

  it('are 0n where absent', () => {
    expect(toBigInt(Event.decode(Buffer.alloc(0)).seq)).toBe(0n)
    expect(toBigInt(undefined)).toBe(0n)
    expect(toBigInt(null)).toBe(0n)
  })
})

describe('encodeBuffer', () => {
  it('gives a Buffer, for an empty message too', () => {
    expect(Buffer.isBuffer(encodeBuffer(Event, {}))).toBe(true)
    expect(Buffer.isBuffer(encodeBuffer(Event, { source: 'x'.repeat(10_000) }))).toBe(true)
  })
})

describe('encodeBatchRequest', () => {
  it('makes one ConnectRequest of a header and events that were encoded elsewhere', () => {
    fc.assert(
      fc.property(U64, fc.array(fc.nat(), { maxLength: 200 }), (batchSeq, pids) => {
        // A batch that holds nothing but events is what the addon writes.
        const events = EventBatch.encode({ events: pids.map((pid) => ({ kind: 3, pid })) }).finish()
        const raw = encodeBatchRequest({ batchSeq: fromBigInt(batchSeq), eventCount: pids.length }, events)
        const { batch } = ConnectRequest.decode(raw)
        expect(toBigInt(batch?.batchSeq)).toBe(batchSeq)
        expect(batch?.eventCount ?? 0).toBe(pids.length)
        expect((batch?.events ?? []).map((event) => event.pid)).toEqual(pids)
      }),
    )
  })

  it('is the same as encoding all at once', () => {
    const events = [{ kind: 1, exec: { exe: Buffer.from('/bin/sh'), args: Buffer.from('sh\0-c\0') } }]
    const header = { batchSeq: fromBigInt(7n), eventCount: 1, losses: [{ kind: 1, attempted: fromBigInt(9n) }] }
    const raw = encodeBatchRequest(header, EventBatch.encode({ events }).finish())
    expect(raw.equals(encodeBuffer(ConnectRequest, { batch: { ...header, events } }))).toBe(true)
  })
})

describe('batchRequestInPlace', () => {
  it('gives the bytes of encodeBatchRequest as a view into the buffer', () => {
    fc.assert(
      fc.property(U64, U64, fc.uint8Array({ maxLength: 20_000 }), (batchSeq, ns, events) => {
        const header = { batchSeq: fromBigInt(batchSeq), bootToUnixNs: fromBigInt(ns), watermarkNs: fromBigInt(ns) }
        const buffer = Buffer.alloc(BATCH_HEAD_BYTES + 20_000)
        buffer.set(events, BATCH_HEAD_BYTES)
        const raw = batchRequestInPlace({ ...header, eventCount: 0xffffffff }, buffer, events.length)
        expect(raw.buffer).toBe(buffer.buffer)
        expect(raw.equals(encodeBatchRequest({ ...header, eventCount: 0xffffffff }, events))).toBe(true)
      }),
    )
  })

  it('refuses a header that has no room', () => {
    const losses = Array.from({ length: 40 }, (_, kind) => ({ kind, attempted: fromBigInt(9n) }))
    expect(() => batchRequestInPlace({ losses }, Buffer.alloc(100), 0)).toThrow(RangeError)
  })
})

it('refuses bytes that are no message', () => {
  expect(() => KernelEvent.decode(Buffer.from([0x0a, 0xff]))).toThrow()
})

/** The stream of one reader of an agent: bounded, exact about what it leaves out, in order. */
import { describe, expect, it } from 'vitest'
import { BoundedStream, type LeftOut, StreamBudget } from '../../../src/engine/bounded-stream.js'
import { gapFor, incomplete } from '../../../src/engine/gap-for.js'
import { Event, fromBigInt, type IEvent, toBigInt } from '../../../src/proto/codec.js'
import { readRunResponse } from '../../../src/proto/run-response.js'

const MESSAGE_MS = 50

function opened(seq: number, bytes = 100): IEvent {
  return {
    ...{ schema: 1, source: 'test', uid: `u${seq}`, seq: fromBigInt(BigInt(seq)), sessionId: 's' },
    timeUnixNs: fromBigInt(BigInt(seq) * 1000n),
    fileOpen: { path: Buffer.alloc(bytes, 0x61) },
  }
}

/** A reader that takes nothing until it is told to. */
function scene(options: { bytesMax?: number; budget?: StreamBudget } = {}) {
  const got: ({ seq: number } | { leftOut: bigint; first: number })[] = []
  let takes = true
  const budget = options.budget ?? new StreamBudget()
  const stream = new BoundedStream({
    budget,
    ...(options.bytesMax === undefined ? {} : { bytesMax: options.bytesMax }),
    send(bytes) {
      for (const event of readRunResponse(bytes).events ?? [])
        got.push({ seq: Number(toBigInt(Event.decode(event).seq)) })
      return takes
    },
    sendLeftOut({ first, count }: LeftOut) {
      got.push({ leftOut: count, first: Number(toBigInt(first.seq)) })
      return takes
    },
  })
  const take = (value: boolean) => {
    takes = value
  }
  return { stream, got, budget, take }
}

const settle = () => new Promise((resolve) => setTimeout(resolve, MESSAGE_MS))
const seqs = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => ({ seq: from + n }))

describe('the stream of a reader', () => {
  it('who keeps up has everything, in order', async () => {
    const { stream, got } = scene()
    for (let seq = 1; seq <= 5_000; seq++) stream.push(opened(seq))
    await settle()
    expect(got).toEqual(seqs(1, 5_000))
    expect(stream.lost).toBe(0n)
  })

  it('who does not is told exactly what was left out, where it was, and goes on from there', async () => {
    const { stream, got, take } = scene({ bytesMax: 20_000 })
    take(false)
    for (let seq = 1; seq <= 1_000; seq++) stream.push(opened(seq))
    await settle()
    const first = got.length
    take(true)
    stream.ready()
    await settle()
    for (let seq = 1_001; seq <= 1_100; seq++) stream.push(opened(seq))
    await settle()
    const kept = got.filter((one) => 'seq' in one)
    const gap = got.find((one) => 'leftOut' in one)
    expect(first).toBeLessThan(1_000)
    expect(gap).toEqual({ leftOut: stream.lost, first: kept.length - 100 + 1 })
    expect(BigInt(kept.length) + stream.lost).toBe(1_100n)
    expect(got).toEqual([...seqs(1, kept.length - 100), gap, ...seqs(1_001, 1_100)])
  })

  it('counts a gap that it leaves out as what the gap told of', async () => {
    const { stream, take } = scene({ bytesMax: 1 })
    take(false)
    stream.push(opened(1))
    stream.push({ ...opened(2), fileOpen: null, gap: { count: fromBigInt(40n) } })
    stream.push(opened(3))
    expect(stream.lost).toBe(41n)
    stream.close()
  })

  it('always has the end of a session, and all that waited when it is flushed', () => {
    const { stream, got, take } = scene({ bytesMax: 1_000 })
    take(false)
    for (let seq = 1; seq <= 100; seq++) stream.push(opened(seq))
    stream.push({ ...opened(101), fileOpen: null, sandboxEnded: {} })
    stream.flush()
    expect(got.at(-1)).toEqual({ seq: 101 })
    const told = got.reduce((sum, one) => sum + ('leftOut' in one ? one.leftOut : 1n), 0n)
    expect(told).toBe(101n)
  })

  it('gives back what it took of what all share', async () => {
    const budget = new StreamBudget(30_000)
    const slow = scene({ budget })
    slow.take(false)
    for (let seq = 1; seq <= 1_000; seq++) slow.stream.push(opened(seq))
    expect(slow.stream.lost).toBeGreaterThan(0n)
    expect(budget.isSpent).toBe(true)
    slow.stream.close()
    expect(budget.isSpent).toBe(false)
    const other = scene({ budget })
    for (let seq = 1; seq <= 200; seq++) other.stream.push(opened(seq))
    await settle()
    expect(other.got).toEqual(seqs(1, 200))
    // To the byte: what is sent is given back, too.
    budget.take(29_999)
    expect(budget.isSpent).toBe(false)
    budget.take(1)
    expect(budget.isSpent).toBe(true)
  })
})

describe('what a slow reader gets instead', () => {
  it('is a gap in the place of the first event, as long as the hole', () => {
    const gap = gapFor({ first: opened(7), last: opened(9), count: 3n })
    expect(toBigInt(gap.seq)).toBe(7n)
    expect(gap.sessionId).toBe('s')
    expect(toBigInt(gap.gap?.count)).toBe(3n)
    expect(gap.gap).toMatchObject({ exact: true, cause: expect.stringContaining('too slow') })
    expect(gapFor({ first: opened(7), last: opened(9), count: 3n }).uid).toBe(gap.uid)
  })

  it('is a summary that says so', () => {
    const ended = { sandboxEnded: { summary: { complete: true, lost: fromBigInt(1n), execs: fromBigInt(2n) } } }
    const summary = incomplete(ended, 3n).sandboxEnded?.summary
    expect([summary?.complete, toBigInt(summary?.lost), toBigInt(summary?.execs)]).toEqual([false, 4n, 2n])
    expect(ended.sandboxEnded.summary.complete).toBe(true)
  })
})

import { describe, expect, it } from 'vitest'
import { createLog } from '../../../src/base/log.js'
import { ConnectRequest, EventBatch, encodeBatchRequest, fromBigInt, toBigInt } from '../../../src/proto/codec.js'
import { openOutbox } from '../../../src/sensor/open-outbox.js'
import { Outbox, UNACKED_FRAMES_MAX } from '../../../src/sensor/outbox.js'
import { Spool } from '../../../src/sensor/spool.js'
import { type BatchFrame, KINDS_MAX } from '../../../src/sensor/spool-record.js'
import { withTempDir } from '../../support/sluice-run.js'

const log = createLog({ role: 'test', level: 'silent' })
const MB = 1024 * 1024
const row = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, n) => first + n)

function frame(seq: number, room = 0): BatchFrame {
  const kinds = new Uint32Array(KINDS_MAX)
  kinds[2] = 3
  const cause = 'x'.repeat(room)
  return {
    seq,
    kinds,
    bytes: encodeBatchRequest({ batchSeq: fromBigInt(BigInt(seq)), dropped: { cause } }, new Uint8Array(0)),
  }
}

/** An engine that keeps what it gets; `room`: messages until it is full. */
class Engine {
  readonly got: (number | string)[] = []
  readonly dropped: { last: number; events: number }[] = []
  room = Number.POSITIVE_INFINITY

  send(bytes: Buffer): boolean {
    const { batch, result } = ConnectRequest.decode(bytes)
    if (result) this.got.push(`result ${toBigInt(result.id)}`)
    else this.got.push(Number(toBigInt(batch?.batchSeq)))
    const events = EventBatch.decode(EventBatch.encode(batch ?? {}).finish()).dropped?.events ?? []
    if (events.length > 0) {
      const count = events.reduce((sum, each) => sum + Number(toBigInt(each.count)), 0)
      this.dropped.push({ last: Number(toBigInt(batch?.batchSeq)), events: count })
    }
    this.room -= 1
    return this.room > 0
  }
}

const result = (id: number) => Buffer.from(ConnectRequest.encode({ result: { id: fromBigInt(BigInt(id)) } }).finish())

async function withOutbox(
  body: (scene: {
    outbox: Outbox
    spool: Spool
    push(...seqs: number[]): boolean[]
    rooms(): number
    done: number[]
  }) => void,
  keepsAll = false,
): Promise<void> {
  await withTempDir(async (dir) => {
    const spool = new Spool({ dir, bytesMax: MB, log })
    let rooms = 0
    const standIn = ({ last, kinds }: { last: number; kinds: Uint32Array }) => {
      const events = [...kinds].flatMap((count, kind) => (count ? [{ kind, count: fromBigInt(BigInt(count)) }] : []))
      return encodeBatchRequest({ batchSeq: fromBigInt(BigInt(last)), dropped: { events } }, new Uint8Array(0))
    }
    const outbox = new Outbox({ spool, keepsAll, hole: null, standIn, onRoom: () => (rooms += 1) })
    const done: number[] = []
    const push = (...seqs: number[]) => seqs.map((seq) => outbox.push(frame(seq), () => done.push(seq)))
    body({ outbox, spool, push, rooms: () => rooms, done })
    outbox.close()
  })
}

describe('the outbox', () => {
  it('sends at once what it keeps until it is acknowledged', async () => {
    await withOutbox(({ outbox, spool, push, done }) => {
      const engine = new Engine()
      outbox.connected(engine, 0)
      push(1, 2, 3)
      expect(engine.got).toEqual([1, 2, 3])
      expect(done).toEqual([])
      outbox.acked(2)
      expect(done).toEqual([1, 2])
      expect(spool.bytes).toBe(0)
    })
  })

  it('keeps what comes without an engine, and sends it first, then what comes meanwhile', async () => {
    await withOutbox(({ outbox, push, done }) => {
      expect(push(...row(1, 5))).toEqual(row(1, 5).map(() => true))
      expect(done).toEqual(row(1, 5))
      const engine = new Engine()
      engine.room = 3
      outbox.connected(engine, 0)
      expect(engine.got).toEqual([1, 2, 3])
      push(6)
      engine.room = Number.POSITIVE_INFINITY
      outbox.drained()
      push(7)
      expect(engine.got).toEqual(row(1, 7))
      expect(outbox.live).toBe(true)
    })
  })

  it('sends again to the next engine what the last one had not acknowledged, and no more', async () => {
    await withOutbox(({ outbox, push }) => {
      const first = new Engine()
      outbox.connected(first, 0)
      push(...row(1, 10))
      outbox.acked(4)
      outbox.disconnected()
      push(11, 12)
      const second = new Engine()
      outbox.connected(second, 6)
      expect(second.got).toEqual(row(7, 12))
      // Dies before it has acknowledged anything.
      outbox.disconnected()
      push(13)
      const third = new Engine()
      outbox.connected(third, 6)
      expect(third.got).toEqual(row(7, 13))
    })
  })

  it('stops at its limit, goes on with the acknowledgement, and says so once', async () => {
    await withOutbox(({ outbox, push, rooms }) => {
      const engine = new Engine()
      outbox.connected(engine, 0)
      const taken = push(...row(1, UNACKED_FRAMES_MAX))
      expect(taken.slice(0, -1).every(Boolean)).toBe(true)
      expect(taken.at(-1)).toBe(false)
      expect(rooms()).toBe(0)
      outbox.acked(1)
      expect(rooms()).toBe(1)
      outbox.acked(2)
      expect(rooms()).toBe(1)
    })
  })

  it('frees whoever waits for room when the engine goes', async () => {
    await withOutbox(({ outbox, push, rooms }) => {
      const engine = new Engine()
      engine.room = 1
      outbox.connected(engine, 0)
      expect(push(1)).toEqual([false])
      outbox.disconnected()
      expect(rooms()).toBe(1)
      expect(push(2)).toEqual([true])
    })
  })

  it('lets no answer overtake a batch before it, and drops those of an engine that is gone', async () => {
    await withOutbox(({ outbox, push }) => {
      push(...row(1, 5))
      outbox.answer(result(1))
      const engine = new Engine()
      engine.room = 2
      outbox.connected(engine, 0)
      outbox.answer(result(2))
      push(6)
      engine.room = Number.POSITIVE_INFINITY
      outbox.drained()
      outbox.answer(result(3))
      expect(engine.got).toEqual([1, 2, 3, 4, 5, 'result 2', 6, 'result 3'])
    })
  })

  it('tells an engine in the right place what is gone, once, with what the engine has not got', async () => {
    await withOutbox(({ outbox, spool }) => {
      const engine = new Engine()
      outbox.connected(engine, 0)
      for (const seq of row(1, 20)) outbox.push(frame(seq, 20_000), () => {})
      outbox.disconnected()
      for (const seq of row(21, 200)) outbox.push(frame(seq, 20_000), () => {})
      const { first } = spool
      expect(first).toBeGreaterThan(20)
      // It had taken ten before it died, without having said so.
      const next = new Engine()
      outbox.connected(next, 10)
      const told = next.dropped.reduce((sum, { events }) => sum + events, 0)
      expect(told).toBe(3 * (first - 1 - 10))
      expect(next.got.slice(-(200 - first + 1))).toEqual(row(first, 200))
      expect([...next.got]).toEqual([...next.got].sort((a, b) => Number(a) - Number(b)))
    })
  })
})

describe('a sensor that is started again', () => {
  const parts = {
    bytesMax: MB,
    log,
    keepsAll: false,
    bootId: 'boot',
    onRoom: () => {},
    addon: { bootToUnixNs: () => 7n },
  }

  it('goes on with name, numbers and clock where the one before it stopped in order', async () => {
    await withTempDir(async (dir) => {
      const first = openOutbox({ ...parts, dir })
      const seqs = [1, 2, 3].map(() => first.stream.next())
      expect(seqs).toEqual([1, 2, 3])
      first.outbox.push(frame(3), () => {})
      first.outbox.close()
      first.stream.close()
      const second = openOutbox({ ...parts, dir, addon: { bootToUnixNs: () => 99n } })
      expect(second.stream.id).toBe(first.stream.id)
      expect(second.stream.bootToUnixNs).toBe(7n)
      expect(second.stream.next()).toBe(4)
      second.outbox.close()
    })
  })

  it('leaves a hole that it tells of where the one before it was killed', async () => {
    await withTempDir(async (dir) => {
      const first = openOutbox({ ...parts, dir })
      for (let n = 0; n < 5; n += 1) first.outbox.push(frame(first.stream.next()), () => {})
      const second = openOutbox({ ...parts, dir })
      const next = second.stream.next()
      expect(next).toBeGreaterThan(6)
      const sent: Buffer[] = []
      second.outbox.connected({ send: (bytes) => sent.push(Buffer.from(bytes)) > 0 }, 0)
      const last = ConnectRequest.decode(sent.at(-1) ?? Buffer.alloc(0)).batch
      expect(sent.length).toBe(6)
      expect(Number(toBigInt(last?.batchSeq))).toBe(next - 1)
      expect(last?.dropped).toMatchObject({ unknown: true })
      expect(Number(toBigInt(last?.dropped?.firstBatchSeq))).toBe(6)
      second.outbox.close()
    })
  })

  it('goes on with what the one before it had underway, where it keeps all', async () => {
    await withTempDir(async (dir) => {
      const first = openOutbox({ ...parts, dir, keepsAll: true })
      first.outbox.connected(new Engine(), 0)
      for (let n = 0; n < 5; n += 1) first.outbox.push(frame(first.stream.next()), () => {})
      first.outbox.acked(2)
      const second = openOutbox({ ...parts, dir, keepsAll: true })
      const engine = new Engine()
      second.outbox.connected(engine, 2)
      expect(engine.got.slice(0, 3)).toEqual([3, 4, 5])
      // And what it may have had besides.
      expect(engine.got.length).toBe(4)
      second.outbox.close()
    })
  })

  it('can tell of all from where its hole begins', async () => {
    await withTempDir(async (dir) => {
      const first = openOutbox({ ...parts, dir, keepsAll: true })
      first.outbox.connected(new Engine(), 0)
      for (let n = 0; n < 5; n += 1) first.outbox.push(frame(first.stream.next()), () => {})
      first.outbox.acked(5)
      const second = openOutbox({ ...parts, dir, keepsAll: true })
      expect(second.outbox.first).toBe(1)
      second.outbox.close()
    })
  })

  it('keeps nothing that overtakes what found no room on the disk', async () => {
    await withOutbox(({ outbox, spool, push }) => {
      const engine = new Engine()
      outbox.connected(engine, 0)
      push(1)
      const big = frame(2, 2 * MB)
      outbox.push(big, () => {})
      push(3)
      expect(spool.last).toBe(1)
      outbox.disconnected()
      // The big one has no room at all, and is told of; the row goes on behind it.
      expect(spool.dropped.map(({ last }) => last)).toContain(2)
      expect(spool.last).toBe(3)
    }, true)
  })

  it('begins anew after another boot', async () => {
    await withTempDir(async (dir) => {
      const first = openOutbox({ ...parts, dir })
      first.outbox.push(frame(first.stream.next()), () => {})
      const second = openOutbox({ ...parts, dir, bootId: 'another' })
      expect(second.stream.id).not.toBe(first.stream.id)
      expect(second.stream.next()).toBe(1)
      expect(second.outbox.first).toBe(1)
      second.outbox.close()
    })
  })
})

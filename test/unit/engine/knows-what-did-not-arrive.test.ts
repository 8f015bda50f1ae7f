/** What a sensor that died took from the rings and did not send: told by kind and number by what the one after it reports, once. */
import { describe, expect, it } from 'vitest'
import { walkFrame } from '../../../src/engine/frame-walk.js'
import { Pipeline } from '../../../src/engine/pipeline.js'
import type { PipelineState } from '../../../src/engine/pipeline-state.js'
import { Redactor } from '../../../src/engine/redact.js'
import type { Session } from '../../../src/engine/session.js'
import {
  ConnectRequest,
  encodeBuffer,
  fromBigInt,
  type IEvent,
  type IEventBatch,
  type IKernelEvent,
  type IKindLoss,
  type IRunResume,
  toBigInt,
} from '../../../src/proto/codec.js'
import { BOOT_TO_UNIX_NS, ns, open, SANDBOX } from './kernel-frames.js'

const EXEC = 1
const OPEN = 4
const long = (value: number) => fromBigInt(BigInt(value))

/** `more`: so many more may have been taken. */
function counted(kind: number, taken: number, { dropped = 0, more = 0 } = {}): IKindLoss {
  return {
    ...{ kind, attempted: long(taken + dropped), dropped: long(dropped) },
    ...{ taken: long(taken), takenMoreAtMost: long(more) },
  }
}

const opens = (from: number, count: number): IKernelEvent[] =>
  Array.from({ length: count }, (_, n) => open({ ms: from + n, cpuSeq: from + n }, `/f${from + n}`))

class Engine {
  readonly events: IEvent[] = []
  readonly pipeline: Pipeline
  #session: Session | null = null

  constructor(earlier: PipelineState | null = null) {
    this.pipeline = new Pipeline({
      ...{ redactor: new Redactor(Buffer.alloc(32, 1)), nowUnixNs: () => BOOT_TO_UNIX_NS + ns(0.5) },
      earlier: earlier === null ? null : structuredClone(earlier),
    })
  }

  connected(counters = 'c', firstBatchSeq = 1): void {
    this.pipeline.connected(
      { nodeName: 'node', bootId: 'boot', instance: 'one', stream: 's', counters },
      { sandboxes: [], firstBatchSeq: BigInt(firstBatchSeq) },
    )
  }

  openSession(cgroupId = SANDBOX): void {
    const publish = (event: IEvent) => void this.events.push(event)
    this.#session ??= this.pipeline.open({ cgroupId, sandbox: { id: `job-${cgroupId}` }, started: {}, publish })
  }

  resume(id: string, has: IRunResume): void {
    const resumed = this.pipeline.resume(id, has, (event) => void this.events.push(event))
    this.#session = resumed?.session ?? null
  }

  get session(): Session {
    if (this.#session === null) throw new Error('there is no session')
    return this.#session
  }

  push(seq: number, batch: Omit<IEventBatch, 'batchSeq' | 'watermarkNs'> & { watermarkMs?: number }): void {
    const { watermarkMs = 0, ...rest } = batch
    const frame = walkFrame(
      encodeBuffer(ConnectRequest, {
        batch: {
          ...{ bootToUnixNs: fromBigInt(BOOT_TO_UNIX_NS), eventCount: rest.events?.length ?? 0, ...rest },
          ...{ batchSeq: long(seq), watermarkNs: fromBigInt(ns(watermarkMs)) },
        },
      }),
    )
    if (frame.kind !== 'batch') throw new Error(frame.kind)
    this.pipeline.push(frame.batch)
  }

  end(): void {
    this.pipeline.close(SANDBOX, this.session, { exitCode: 0, signal: 0, killed: 0 })
  }

  get gaps() {
    return this.events.flatMap(({ gap }) =>
      gap ? [{ kind: gap.kind, count: Number(gap.count), most: Number(gap.countMax), exact: gap.exact }] : [],
    )
  }
}

/** A sensor that reports, sends five opens, and dies; batches 4 to 100 were set aside by it. */
function withDeadSensor(engine = new Engine()): Engine {
  engine.connected()
  engine.push(1, { counters: 'c', losses: [] })
  engine.openSession()
  engine.push(2, { events: opens(10, 5) })
  engine.push(3, { watermarkMs: 50, losses: [counted(OPEN, 5)] })
  return engine
}

const STAND_IN: IEventBatch = { dropped: { firstBatchSeq: long(4), unknown: true, cause: 'a sensor died' } }

describe('what did not arrive', () => {
  it('is told exactly, before what came after it, and where that begins', () => {
    const engine = withDeadSensor()
    engine.push(100, STAND_IN)
    engine.push(101, { counters: 'c', losses: [counted(OPEN, 12), counted(EXEC, 2)] })
    engine.push(102, { events: opens(80, 3) })
    engine.push(103, { watermarkMs: 100, losses: [counted(OPEN, 15)] })
    engine.end()
    expect(engine.gaps).toEqual([
      { kind: 'fileOpen', count: 7, most: 7, exact: true },
      { kind: 'exec', count: 2, most: 2, exact: true },
    ])
    const places = engine.events.map(({ gap, fileOpen }) => (gap ? 'gap' : fileOpen ? 'open' : 'other'))
    expect(places.slice(1, -1)).toEqual([...Array(5).fill('open'), 'gap', 'gap', ...Array(3).fill('open')])
    const [gap] = engine.events.flatMap((event) => (event.gap ? [event.gap] : []))
    expect(gap?.cause).toBe('a sensor died')
    expect(toBigInt(gap?.fromUnixNs) - BOOT_TO_UNIX_NS).toBe(ns(50))
    expect(toBigInt(gap?.toUnixNs) - BOOT_TO_UNIX_NS).toBe(ns(80) - 1n)
  })

  it('is nothing where all was delivered, and then nothing is said', () => {
    const engine = withDeadSensor()
    engine.push(100, STAND_IN)
    engine.push(101, { counters: 'c', losses: [counted(OPEN, 5)] })
    engine.push(102, { watermarkMs: 100 })
    engine.end()
    expect(engine.gaps).toEqual([])
  })

  it('comes with its bounds where it is not known exactly, and is not told again when it is', () => {
    const engine = withDeadSensor()
    engine.push(100, STAND_IN)
    engine.push(101, { counters: 'c', losses: [counted(OPEN, 12, { more: 4 })] })
    engine.push(102, { watermarkMs: 100, losses: [counted(OPEN, 12)] })
    // Three of the four were indeed taken, and another sensor lost two more.
    engine.push(200, { dropped: { firstBatchSeq: long(103), unknown: true, cause: 'another died' } })
    engine.push(201, { counters: 'c', losses: [counted(OPEN, 17)] })
    engine.push(202, { watermarkMs: 200 })
    engine.end()
    expect(engine.gaps).toEqual([
      { kind: 'fileOpen', count: 7, most: 11, exact: false },
      { kind: 'fileOpen', count: 1, most: 5, exact: false },
    ])
  })

  it('counts as often as it happened, in what arrived too', () => {
    const engine = new Engine()
    engine.connected()
    engine.push(1, { counters: 'c', losses: [] })
    engine.openSession()
    // As the sensor's addon writes it: right behind the sandbox.
    const { kind, timeNs, cpuSeq, sandbox, ...rest } = open({ ms: 10 }, '/f', { repeats: long(41) })
    const parts = [{ kind: kind ?? 0, timeNs: timeNs ?? null, cpuSeq: cpuSeq ?? null, sandbox: sandbox ?? null }]
    const event = Buffer.concat(
      [...parts, { happened: long(41) }, rest].map((part) =>
        encodeBuffer(ConnectRequest, { batch: { events: [part] } }).subarray(4),
      ),
    )
    const head = encodeBuffer(ConnectRequest, { batch: { batchSeq: long(2), eventCount: 1 } }).subarray(2)
    const body = Buffer.concat([head, Buffer.from([0x7a, event.length]), event])
    const frame = walkFrame(Buffer.concat([Buffer.from([0x12, body.length]), body]))
    if (frame.kind !== 'batch') throw new Error(frame.kind)
    expect(frame.batch.events.map(({ happened }) => happened)).toEqual([41])
    engine.pipeline.push(frame.batch)
    engine.push(3, { watermarkMs: 50, losses: [counted(OPEN, 41)] })
    engine.push(100, STAND_IN)
    engine.push(101, { counters: 'c', losses: [counted(OPEN, 51)] })
    engine.push(102, { watermarkMs: 100 })
    engine.end()
    expect(engine.gaps).toEqual([{ kind: 'fileOpen', count: 10, most: 10, exact: true }])
  })

  it('is told as unknown where the counters are others, and exactly from then on', () => {
    const engine = withDeadSensor()
    engine.push(100, STAND_IN)
    engine.connected('other')
    engine.push(101, { counters: 'other', losses: [counted(OPEN, 1)] })
    engine.push(102, { watermarkMs: 100 })
    engine.push(200, { dropped: { firstBatchSeq: long(103), unknown: true, cause: 'another died' } })
    engine.push(201, { counters: 'other', losses: [counted(OPEN, 3)] })
    engine.push(202, { watermarkMs: 200 })
    engine.end()
    expect(engine.gaps).toEqual([
      { kind: '', count: 0, most: 0, exact: false },
      { kind: 'fileOpen', count: 2, most: 2, exact: true },
    ])
  })

  it('is told as unknown by a session that ends before it is known', () => {
    const engine = withDeadSensor()
    engine.push(100, STAND_IN)
    engine.end()
    expect(engine.gaps).toEqual([{ kind: '', count: 0, most: 0, exact: false }])
  })

  it('has bounds for each of several sandboxes', () => {
    const engine = withDeadSensor()
    const other: IEvent[] = []
    engine.pipeline.open({ cgroupId: 9n, sandbox: { id: 'other' }, started: {}, publish: (event) => other.push(event) })
    engine.push(100, STAND_IN)
    engine.push(101, { counters: 'c', losses: [counted(OPEN, 12)] })
    engine.push(102, { watermarkMs: 100 })
    engine.push(103, { watermarkMs: 110 })
    expect(engine.gaps).toEqual([{ kind: 'fileOpen', count: 0, most: 7, exact: false }])
    expect(other.flatMap(({ gap }) => (gap ? [Number(gap.countMax)] : []))).toEqual([7])
  })

  it('does not count what the spool had to drop and told', () => {
    const engine = withDeadSensor()
    engine.push(6, { dropped: { firstBatchSeq: long(4), events: [{ kind: OPEN, count: long(7) }], cause: 'full' } })
    engine.push(7, { watermarkMs: 100, losses: [counted(OPEN, 12)] })
    engine.end()
    expect(engine.gaps).toEqual([{ kind: 'fileOpen', count: 7, most: 7, exact: true }])
  })

  it('is what an engine that died with the sensor had not given out, neither more nor less', () => {
    const engine = withDeadSensor()
    // Two are given out, three wait for a later watermark.
    engine.push(4, { events: [...opens(60, 2), ...opens(90, 3)] })
    engine.push(5, { watermarkMs: 80, losses: [counted(OPEN, 10)] })
    const { state } = engine.pipeline
    const given = engine.events.length
    const next = new Engine(state)
    next.connected('c', 4)
    next.resume(engine.session.id, { lastSeq: long(given) })
    next.push(100, { dropped: { firstBatchSeq: long(6), unknown: true, cause: 'both died' } })
    next.push(101, { counters: 'c', losses: [counted(OPEN, 10)] })
    next.push(102, { watermarkMs: 200 })
    next.end()
    expect(next.gaps).toEqual([{ kind: 'fileOpen', count: 3, most: 3, exact: true }])
  })

  it('is nothing for an engine that gets again what the one before it had not given out', () => {
    const engine = withDeadSensor()
    const batch = { events: [...opens(60, 2), ...opens(90, 3)] }
    engine.push(4, batch)
    engine.push(5, { watermarkMs: 80, losses: [counted(OPEN, 10)] })
    const { state } = engine.pipeline
    const given = engine.events.length
    const next = new Engine(state)
    next.connected('c', 4)
    next.resume(engine.session.id, { lastSeq: long(given) })
    next.push(4, batch)
    next.push(5, { watermarkMs: 80, losses: [counted(OPEN, 10)] })
    next.push(6, { counters: 'c', watermarkMs: 200, losses: [counted(OPEN, 10)] })
    next.end()
    expect(next.gaps).toEqual([])
    expect(next.events.filter(({ fileOpen }) => fileOpen).length).toBe(3)
    const seqs = [...engine.events.slice(0, given), ...next.events].map(({ seq }) => Number(toBigInt(seq)))
    expect(seqs).toEqual(seqs.map((_, n) => n + 1))
  })
})

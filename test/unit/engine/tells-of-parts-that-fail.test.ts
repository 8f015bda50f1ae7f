/** What keeps or sends events and fails is told of as an event of the node: once as it fails for good, once as it works again. */
import { beforeEach, describe, expect, it } from 'vitest'
import { SinksWatch } from '../../../src/engine/kept-parts.js'
import { PartFaults, type PartState } from '../../../src/engine/part-faults.js'
import type { IEvent } from '../../../src/proto/codec.js'
import { eventToJson } from '../../../src/proto/event-json.js'
import type { SinkStatus, SinksStatus } from '../../../src/proto/spool/sinks-status.js'

const SINK: SinkStatus = {
  ...{ name: 'siem', type: 'http', behind: 0, delivered: 10, failures: 0, dead: 0, filtered: 0 },
  ...{ isFailing: false, lastError: null, lastDelivery: null },
}

describe('parts of an engine that fail', () => {
  let nowMs = 0
  let unixNs = 0n
  let parts: PartState[] = []
  let told: IEvent[] = []
  let faults: PartFaults
  beforeEach(() => {
    nowMs = 0
    unixNs = 1_800_000_000_000_000_000n
    told = []
    faults = new PartFaults({
      look: () => parts,
      tell: (event) => void told.push(event),
      node: () => ({ name: 'n1', bootId: 'b1' }),
      nowUnixNs: () => unixNs,
      nowMs: () => nowMs,
    })
  })
  /** Looks each second, so many times. */
  const look = (problem: string | null, seconds: number, part = 'spool') => {
    for (let second = 0; second < seconds; second++) {
      parts = [{ part, problem }]
      faults.look()
      nowMs += 1_000
    }
  }
  const titles = () => told.map(({ detection }) => detection?.title)

  it('are told of once, and once when they work again', () => {
    look(null, 3)
    look('disk full', 600)
    expect(titles()).toEqual(['the spool fails'])
    expect(faults.parts).toEqual([{ part: 'spool', problem: 'disk full' }])
    look(null, 600)
    expect(titles()).toEqual(['the spool fails', 'the spool works again'])
    look('disk full', 600)
    expect(titles()).toHaveLength(3)
    expect(new Set(told.map(({ uid }) => uid)).size).toBe(3)
    expect(told.map((event) => eventToJson(event))[0]).toMatchObject({
      ...{ node: { name: 'n1' }, sessionId: '', seq: '0' },
      detection: { detector: 'delivery', severity: 'MEDIUM', reason: 'the spool fails: disk full' },
    })
  })

  it('are not told of where they fail now and then', () => {
    for (let round = 0; round < 50; round++) {
      look('busy', 3, 'sink:siem')
      look(null, 1, 'sink:siem')
    }
    expect(told).toEqual([])
  })

  it('are told of whatever the clock on the wall does', () => {
    look('disk full', 2)
    unixNs -= 86_400_000_000_000n
    look('disk full', 10)
    look(null, 2)
    expect(titles()).toEqual(['the spool fails', 'the spool works again'])
  })

  it('that are gone do not fail any more', () => {
    look('no route', 10, 'sink:old')
    look(null, 1, 'sink:new')
    expect(titles()).toEqual(['the sink old fails', 'the sink old works again'])
  })
})

describe('the sinks, which are another process', () => {
  let nowMs = 0
  let status: SinksStatus | null = null
  let time = 0
  const write = (...sinks: Partial<SinkStatus>[]) => {
    time++
    status = { time: String(time), sinks: sinks.map((sink) => ({ ...SINK, ...sink })) }
  }
  const watch = () =>
    new SinksWatch(
      () => status,
      () => nowMs,
    )
  beforeEach(() => {
    nowMs = 0
    status = null
  })

  it('fail one by one', () => {
    const sinks = watch()
    const failing = { name: 'a', isFailing: true, lastError: 'certificate has expired' }
    for (let second = 0; second < 2; second++) {
      write(failing, { name: 'b' })
      expect(sinks.states().slice(0, 1)).toEqual([{ part: 'sinks', problem: null }])
    }
    expect(sinks.states().slice(1)).toEqual([
      { part: 'sink:a', problem: 'certificate has expired' },
      { part: 'sink:b', problem: null },
    ])
  })

  it('do not fail where they deliver between two failures', () => {
    const sinks = watch()
    for (let delivered = 0; delivered < 10; delivered++) {
      write({ isFailing: true, delivered })
      expect(sinks.states()[1]).toEqual({ part: 'sink:siem', problem: null })
    }
  })

  it('fail together where nothing is heard of them, from the start or later', () => {
    const sinks = watch()
    expect(sinks.states()).toEqual([{ part: 'sinks', problem: null }])
    nowMs += 10_000
    expect(sinks.states()).toEqual([{ part: 'sinks', problem: expect.stringContaining('nothing was heard') }])
    write({})
    expect(sinks.states()).toHaveLength(2)
    nowMs += 10_000
    expect(sinks.states()).toEqual([{ part: 'sinks', problem: expect.stringContaining('nothing was heard') }])
  })
})

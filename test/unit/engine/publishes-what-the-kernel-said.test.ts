import { describe, expect, it } from 'vitest'
import { walkFrame } from '../../../src/engine/frame-walk.js'
import { Pipeline } from '../../../src/engine/pipeline.js'
import { Redactor } from '../../../src/engine/redact.js'
import type { Session } from '../../../src/engine/session.js'
import { Access, Decision, Event, type IEvent, Protocol, Stage, toBigInt, Via } from '../../../src/proto/codec.js'
import {
  type BatchOptions,
  BOOT_TO_UNIX_NS,
  batch,
  exec,
  fact,
  loss,
  lossOf,
  ns,
  open,
  SANDBOX,
} from './kernel-frames.js'

const text = (bytes: Uint8Array | null | undefined) => Buffer.from(bytes ?? []).toString()
const kindOf = (event: IEvent) => Event.decode(Event.encode(event).finish()).kind

function setUp(cgroupId = SANDBOX) {
  const pipeline = new Pipeline({
    redactor: new Redactor(Buffer.alloc(32, 1)),
    nowUnixNs: () => BOOT_TO_UNIX_NS + ns(0.5),
  })
  pipeline.connected(
    { nodeName: 'node', bootId: 'boot', instance: 'one', stream: '', counters: '' },
    { sandboxes: [], firstBatchSeq: 1n },
  )
  const events: IEvent[] = []
  const session = pipeline.open({
    cgroupId,
    sandbox: { id: 'job-01', name: 'job' },
    started: { mode: 'monitor', command: ['x', '--token=abc'].map((arg) => Buffer.from(arg)) },
    publish: (event) => events.push(event),
  }) as Session
  const push = (options: BatchOptions) => {
    const frame = walkFrame(batch(options))
    if (frame.kind === 'batch') pipeline.push(frame.batch)
  }
  const end = () => pipeline.close(cgroupId, session, { exitCode: 3, signal: 0, killed: 2 })
  return { pipeline, session, events, push, end, kinds: () => events.map(kindOf) }
}

function expectGapless(events: readonly IEvent[]): void {
  expect(events.map((event) => toBigInt(event.seq))).toEqual(events.map((_, i) => BigInt(i + 1)))
}

describe('the pipeline', () => {
  it('publishes a whole run in time order with gapless seq and one identity', () => {
    const { events, push, end, kinds } = setUp()
    const addr = Buffer.from('00000000000000000000ffff7f000001', 'hex')
    push({
      seq: 1,
      watermarkMs: 100,
      events: [
        exec({ ms: 10 }, '/bin/bash', ['bash', '-c', 'TOKEN=abc ls']),
        fact({ ms: 20 }, { fork: { childPid: 101, childStartTimeNs: exec({ ms: 20 }, '', []).timeNs ?? null } }),
        fact({ ms: 50 }, { exit: { status: 3 << 8 } }),
        open({ ms: 30, pid: 101, startMs: 20, execCount: 0 }, '/etc/passwd', { flags: 0o2000000 }),
        fact({ ms: 25 }, { connect: { addr, port: 80, protocol: 6, via: 1, family: 2, error: 115 } }),
      ],
    })
    end()
    expect(kinds()).toEqual(['sandboxStarted', 'exec', 'connect', 'fileOpen', 'exit', 'sandboxEnded'])
    expectGapless(events)
    const times = events.map((event) => toBigInt(event.timeUnixNs))
    expect(times).toEqual([...times].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)))
    expect(new Set(events.map((event) => event.sessionId)).size).toBe(1)
    expect(new Set(events.map((event) => event.uid)).size).toBe(events.length)
    const [started, bash, connect, fileOpen, exit, ended] = events
    expect(text(started?.sandboxStarted?.command?.[1])).toMatch(/^--token=\[redacted:[0-9a-f]{8}\]$/)
    expect(text(bash?.process?.args?.[2])).toMatch(/^TOKEN=\[redacted:[0-9a-f]{8}\] ls$/)
    expect(toBigInt(bash?.process?.argsBytes)).toBe(21n)
    expect(connect?.connect).toMatchObject({
      address: '127.0.0.1',
      port: 80,
      protocol: Protocol.PROTOCOL_TCP,
      via: Via.VIA_CONNECT,
      errno: 115,
      verdict: { decision: Decision.DECISION_ALLOW, rule: 'none', policy: '', enforcedBy: 'none' },
    })
    expect(fileOpen?.process).toMatchObject({ pid: 101, parentExecId: bash?.process?.execId })
    expect(text(fileOpen?.process?.exe)).toBe('/bin/bash')
    expect(fileOpen?.fileOpen).toMatchObject({ resolved: true, access: Access.ACCESS_READ, flags: ['O_CLOEXEC'] })
    expect(exit?.exit).toMatchObject({ code: 3, signal: 0 })
    expect(ended?.sandboxEnded?.summary).toMatchObject({ exitCode: 3, killedAtEnd: 2, complete: true })
    expect(toBigInt(ended?.sandboxEnded?.summary?.events)).toBe(6n)
    expect(toBigInt(ended?.sandboxEnded?.summary?.processes)).toBe(2n)
  })

  it('gives the same fact the same uid whenever it is read', () => {
    const uids = [1, 2].map(() => {
      const { events, push } = setUp()
      push({ seq: 1, watermarkMs: 100, events: [open({ ms: 10, cpu: 3, cpuSeq: 9 }, '/a')] })
      return events[1]?.uid
    })
    expect(uids[0]).toBe(uids[1])
    expect(uids[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/)
  })

  it.each([
    ['absolute', '/', '/tmp/../etc//x', '/etc/x'],
    ['relative', '/srv', './a/../b', '/srv/b'],
    ['above the root', '/', '../../x', '/x'],
    ['of an unknown directory', '', 'a/b', 'a/b'],
    ['not UTF-8', '/\xff', '\xfe', '/\xff/\xfe'],
  ])('an unresolved open has a lexical path: %s', (_, base, user, expected) => {
    const { events, push } = setUp()
    const [path, userPath] = [base, user].map((part) => Buffer.from(part, 'latin1'))
    push({
      seq: 1,
      watermarkMs: 100,
      events: [
        fact({ ms: 1 }, { fileOpen: { path: path ?? null, userPath: userPath ?? null, pathFlags: 8, error: 2 } }),
      ],
    })
    expect(events[1]?.fileOpen).toMatchObject({ resolved: false, errno: 2 })
    expect(Buffer.from(events[1]?.fileOpen?.path ?? []).toString('latin1')).toBe(expected)
  })

  it.each([
    ['a rename', { op: 1, base: '/w', path: 'a', newBase: '/w/d', newPath: '../b' }, ['/w/a', '/w/b']],
    ['an absolute name beside a relative one', { op: 3, path: '/x', newBase: '/w', newPath: 'y' }, ['/x', '/w/y']],
    ['a change by descriptor', { op: 5, base: '/w/file' }, ['/w/file', '']],
    ['a symlink, whose target is text', { op: 4, path: '../a', newBase: '/w', newPath: 'l' }, ['../a', '/w/l']],
    ['a removal, which has one name', { op: 2, base: '/w', path: 'a', newPath: 'stray' }, ['/w/a', '']],
  ])('names both ends of %s', (_, facts, expected) => {
    const { events, push } = setUp()
    const bytes = (text: string | undefined) => Buffer.from(text ?? '')
    const { base, path, newBase, newPath } = { base: '', path: '', newBase: '', newPath: '', ...facts }
    const fileChange = {
      ...{ op: facts.op, error: 13 },
      ...{ base: bytes(base), path: bytes(path), newBase: bytes(newBase), newPath: bytes(newPath) },
    }
    push({ seq: 1, watermarkMs: 100, events: [fact({ ms: 1 }, { fileChange })] })
    const change = events[1]?.fileChange
    expect(change).toMatchObject({ op: facts.op, errno: 13, verdict: { decision: Decision.DECISION_ALLOW } })
    expect([text(change?.path), text(change?.newPath)]).toEqual(expected)
  })

  it('tells an exec that failed, by the process that tried', () => {
    const { events, push } = setUp()
    const execFailed = { base: Buffer.from('/w'), path: Buffer.from('./tool'), error: 2 }
    push({ seq: 1, watermarkMs: 100, events: [fact({ ms: 1 }, { execFailed })] })
    expect(events[1]?.execFailed).toMatchObject({ errno: 2 })
    expect(text(events[1]?.execFailed?.path)).toBe('/w/tool')
    expect(events[1]?.process?.pid).toBeGreaterThan(0)
  })

  it('tells exactly what the kernel dropped and skipped, once', () => {
    const { events, push, end } = setUp()
    push({ seq: 1, watermarkMs: 100, events: [open({ ms: 10 }, '/a')], losses: [loss(4, 7, 2)] })
    push({ seq: 2, watermarkMs: 200, events: [open({ ms: 150 }, '/b')], losses: [loss(4, 10, 2)] })
    push({ seq: 3, watermarkMs: 300, events: [] })
    end()
    const gaps = events.flatMap((event) => (event.gap ? [event.gap] : []))
    expect(gaps.map((gap) => [gap.kind, toBigInt(gap.count), gap.exact, gap.stage])).toEqual([
      ['fileOpen', 7n, true, Stage.STAGE_KERNEL_RING],
      ['fileOpen', 2n, true, Stage.STAGE_KERNEL_RING],
      ['fileOpen', 3n, true, Stage.STAGE_KERNEL_RING],
    ])
    expect(toBigInt(gaps[2]?.fromUnixNs)).toBe(BOOT_TO_UNIX_NS + ns(100))
    expect(toBigInt(gaps[2]?.toUnixNs)).toBe(BOOT_TO_UNIX_NS + ns(200))
    expectGapless(events)
    expect(events.at(-1)?.sandboxEnded?.summary).toMatchObject({ complete: false })
    expect(toBigInt(events.at(-1)?.sandboxEnded?.summary?.lost)).toBe(12n)
  })

  it('does not call a loss exact that several sandboxes share', () => {
    const { pipeline, events, push } = setUp()
    pipeline.open({ cgroupId: 9n, sandbox: { id: 'other' }, started: {}, publish: () => {} })
    push({ seq: 1, watermarkMs: 100, events: [], losses: [loss(4, 7)] })
    push({ seq: 2, watermarkMs: 200, events: [] })
    expect(events[1]?.gap).toMatchObject({ exact: false })
    expect(events[1]?.gap?.cause).toContain('2 sandboxes')
  })

  it('tells what was counted for a sandbox to its own session, exactly and once', () => {
    const { pipeline, events, push, end } = setUp()
    const other: IEvent[] = []
    const second = pipeline.open({
      ...{ cgroupId: 9n, sandbox: { id: 'other' }, started: {} },
      publish: (event) => other.push(event),
    }) as Session
    push({ seq: 1, watermarkMs: 100, events: [], losses: [lossOf(SANDBOX, 4, 7), lossOf(9n, 5, 2), lossOf(77n, 4, 9)] })
    push({ seq: 2, watermarkMs: 200, events: [], losses: [lossOf(SANDBOX, 4, 9), lossOf(9n, 5, 2), lossOf(9n, 5, 1)] })
    end()
    pipeline.close(9n, second, { exitCode: 0, signal: 0, killed: 0 })
    const told = (all: IEvent[]) => all.flatMap(({ gap }) => (gap ? [[gap.kind, toBigInt(gap.count), gap.exact]] : []))
    expect(told(events)).toEqual([
      ['fileOpen', 7n, true],
      ['fileOpen', 2n, true],
    ])
    expect(told(other)).toEqual([['connect', 2n, true]])
    expect(events.at(-1)?.sandboxEnded?.summary).toMatchObject({ complete: false })
  })

  it('counts from nothing for a sandbox that comes back', () => {
    const { pipeline, events, push, session } = setUp()
    push({ seq: 1, watermarkMs: 100, events: [], losses: [lossOf(SANDBOX, 4, 7)] })
    pipeline.drop(SANDBOX, session)
    pipeline.open({
      ...{ cgroupId: SANDBOX, sandbox: { id: 'again' }, started: {} },
      publish: (event) => events.push(event),
    })
    push({ seq: 2, watermarkMs: 200, events: [], losses: [lossOf(SANDBOX, 4, 3)] })
    push({ seq: 3, watermarkMs: 300, events: [] })
    expect(toBigInt(events.at(-1)?.gap?.count)).toBe(3n)
  })

  it.each([
    ['an address of the wrong length', fact({ ms: 10 }, { connect: { addr: Buffer.alloc(3) } }), 'connect'],
    ['a kind that is not known', { ...open({ ms: 10 }, '/a'), kind: 30, fileOpen: null }, 'kind-30'],
  ])('counts a fact it can not read as a gap and goes on: %s', (_, bad, kind) => {
    const { events, push } = setUp()
    push({ seq: 1, watermarkMs: 100, events: [bad, open({ ms: 20 }, '/b')] })
    expect(events[1]?.gap).toMatchObject({ stage: Stage.STAGE_DECODE, kind, exact: true })
    expect(text(events[2]?.fileOpen?.path)).toBe('/b')
    expectGapless(events)
  })

  it('says that batches are missing', () => {
    const { events, push, end } = setUp()
    push({ seq: 1, watermarkMs: 100, events: [] })
    push({ seq: 3, watermarkMs: 200, events: [] })
    end()
    expect(events[1]?.gap).toMatchObject({ stage: Stage.STAGE_UPLINK, exact: false })
  })

  it('delivers what it holds and says so when the sensor goes, and ends all the same', () => {
    const { pipeline, events, push, end, kinds } = setUp()
    push({ seq: 1, watermarkMs: 5, events: [open({ ms: 10 }, '/a')] })
    pipeline.disconnected('the sensor is gone')
    end()
    expect(kinds()).toEqual(['sandboxStarted', 'fileOpen', 'gap', 'sandboxEnded'])
    expect(events[2]?.gap).toMatchObject({ stage: Stage.STAGE_UPLINK, exact: false })
    expectGapless(events)
  })

  it('gives nothing of one sandbox to another', () => {
    const { pipeline, events, push } = setUp()
    push({ seq: 1, watermarkMs: 100, events: [open({ ms: 10, sandbox: 77n }, '/secret')] })
    expect(events).toHaveLength(1)
    expect(pipeline.stray).toBe(1)
  })

  // Paths of an open are views: they go out with the event, nothing here keeps them.
  it('keeps no view into the batch of what it remembers of a process', () => {
    const { events, pipeline } = setUp()
    const raw = batch({
      seq: 1,
      watermarkMs: 100,
      events: [exec({ ms: 1 }, '/bin/x', ['x', 'y']), open({ ms: 2 }, '/f')],
    })
    const frame = walkFrame(raw)
    if (frame.kind === 'batch') pipeline.push(frame.batch)
    raw.fill(0x20)
    expect(text(events[1]?.process?.exe)).toBe('/bin/x')
    expect(text(events[1]?.process?.args?.[1])).toBe('y')
    expect(text(events[2]?.process?.exe)).toBe('/bin/x')
  })

  it('bounds the lists of the summary and counts what they left out', () => {
    const { events, push, end } = setUp()
    const opens = Array.from({ length: 80 }, (_, n) => open({ ms: n + 1 }, `/f${n}`, { flags: 1 }))
    push({ seq: 1, watermarkMs: 1000, events: opens })
    end()
    const summary = events.at(-1)?.sandboxEnded?.summary
    expect(summary?.writtenPaths).toHaveLength(64)
    expect([toBigInt(summary?.more), toBigInt(summary?.filesWritten)]).toEqual([16n, 80n])
  })
})

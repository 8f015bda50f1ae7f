import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createLog } from '../../../../src/base/log.js'
import { consumeEvents } from '../../../../src/cli/run/event-consumer.js'
import { openRecordFile } from '../../../../src/cli/run/open-record.js'
import { DRAIN_IDLE_MS, openSession } from '../../../../src/cli/run/session.js'
import { END_DEADLINE_MS } from '../../../../src/engine/sensor-commands.js'
import { fromBigInt, type IEvent } from '../../../../src/proto/codec.js'
import { connectControl, type RunServerCall, serveUnix } from '../../../../src/proto/rpc.js'
import { onlyRuns, SELF } from '../../../support/control-handler.js'
import { common, kinds } from '../sample-events.js'

const DEADLINE_MS = 15_000
const event = (seq: bigint, kind: IEvent = kinds.exec): IEvent => ({ ...common, ...kind, seq: fromBigInt(seq) })

describe('the client of a run', () => {
  let dir = ''
  const closers: (() => Promise<void> | void)[] = []
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-cli-'))
  })
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close()
    rmSync(dir, { recursive: true, force: true })
  })

  /** A server that speaks the protocol and does what the test says. */
  async function serve(run: (call: RunServerCall) => void) {
    const path = join(dir, 'control.sock')
    const log = createLog({ role: 'engine', level: 'silent' })
    const server = await serveUnix({
      path,
      mode: 0o600,
      check: () => ({ allowed: true, caller: SELF }),
      log,
      services: { control: onlyRuns(run) },
    })
    closers.push(() => server.close(DEADLINE_MS))
    const control = await connectControl(path, DEADLINE_MS)
    closers.push(() => control.close())
    return control
  }

  it('gets every event in order and the word that it was all', async () => {
    const control = await serve((call) =>
      call.onMessage((message) => {
        if (message.start) {
          call.send({ started: { sessionId: 's' } })
          call.send({ events: { events: [event(1n, kinds.started), event(2n)] } })
        }
        if (message.end) {
          expect(message.end).toMatchObject({ exitCode: 4, signal: 0 })
          call.send({ events: { events: [event(3n, kinds.denied), event(4n, kinds.ended)] } })
          call.send({ ended: { problem: '' } })
          call.end()
        }
      }),
    )
    const record = openRecordFile(join(dir, 'r'), null)
    const consumer = consumeEvents(record, null)
    const session = openSession({
      ...{ call: control.run(), start: { pid: 1 } },
      consume: (events) => consumer.consume(events),
    })
    expect((await session.started()).sessionId).toBe('s')
    expect(await session.finish({ code: 4, signal: 0 })).toBeNull()
    await record.close()
    expect(sequence(join(dir, 'r'))).toEqual(['1', '2', '3', '4'])
    expect(consumer.denied()).toBe(1)
    expect(consumer.summary()?.exitCode).toBe(2)
  })

  it('says in the record that the engine went away', async () => {
    const control = await serve((call) =>
      call.onMessage(() => {
        call.send({ started: { sessionId: 's' } })
        call.send({ events: { events: [event(1n), event(2n)] } })
        call.fail('out of memory')
      }),
    )
    const record = openRecordFile(join(dir, 'r'), null)
    const consumer = consumeEvents(record, null)
    const session = openSession({
      ...{ call: control.run(), start: { pid: 1 } },
      consume: (events) => consumer.consume(events),
    })
    await session.started()
    const problem = await session.finish({ code: 0, signal: 0 })
    expect(problem).toEqual({ cause: 'the engine is gone (out of memory)', lost: true })
    expect(await consumer.writeGap('the engine is gone', 1_800_000_000_000)).toBe(true)
    await record.close()
    const last = JSON.parse(readFileSync(join(dir, 'r'), 'utf8').trim().split('\n').at(-1) ?? '')
    expect(last).toMatchObject({
      source: 'cli',
      seq: '3',
      sessionId: 'session-1',
      time: '2027-01-15T08:00:00.000000000Z',
    })
    expect(last.gap).toMatchObject({ stage: 'UPLINK', exact: false, count: '0', cause: 'the engine is gone' })
    expect(last).not.toHaveProperty('process')
  })

  it('says so too where it went away before the first event', async () => {
    const control = await serve((call) =>
      call.onMessage(() => {
        call.send({ started: { sessionId: 's', sandbox: { id: 'box' } } })
        call.fail('killed')
      }),
    )
    const record = openRecordFile(join(dir, 'r'), null)
    const consumer = consumeEvents(record, null)
    const session = openSession({
      ...{ call: control.run(), start: { pid: 1 } },
      consume: (events) => consumer.consume(events),
    })
    consumer.begin(await session.started())
    expect(await session.over).toMatchObject({ lost: true })
    expect(await consumer.writeGap('the engine is gone', 1_800_000_000_000)).toBe(true)
    await record.close()
    const [line, ...more] = readFileSync(join(dir, 'r'), 'utf8').trim().split('\n')
    expect(more).toEqual([])
    expect(JSON.parse(line ?? '')).toMatchObject({
      ...{ source: 'cli', seq: '1', sessionId: 's', sandbox: { id: 'box' }, time: '2027-01-15T08:00:00.000000000Z' },
      gap: { stage: 'UPLINK', exact: false, from: '2027-01-15T08:00:00.000000000Z' },
    })
  })

  it('does not start where the engine refuses', async () => {
    const control = await serve((call) => call.onMessage(() => call.fail('no such process')))
    const session = openSession({ call: control.run(), start: { pid: 1 }, consume: async () => {} })
    await expect(session.started()).rejects.toMatchObject({
      ...{ code: 'PROTOCOL', message: 'the session did not start: the engine is gone (no such process)' },
    })
  })

  it('says the end once to the engine that goes on, also where the command ends before that has the session', async () => {
    let ends = 0
    const engines: RunServerCall[] = []
    const control = await serve((call) => {
      const isFirst = engines.push(call) === 1
      call.onMessage((message) => {
        if (message.start) {
          call.send({ started: { sessionId: 's' } })
          call.fail('killed')
        }
        if (message.end) ends += 1
        if (!message.end || isFirst) return
        call.send({ events: { events: [event(1n, kinds.ended)] } })
        call.send({ ended: { problem: '' } })
        call.end()
      })
    })
    const session = openSession({
      ...{ call: control.run(), start: { pid: 1 }, consume: async () => {} },
      reconnect: async () => control.run(),
    })
    await session.started()
    await vi.waitFor(() => expect(engines.length).toBe(2), { timeout: DEADLINE_MS })
    const over = session.finish({ code: 0, signal: 0 })
    // As an engine that waits for its sensor: long after it was asked.
    await sleep(100)
    expect(ends).toBe(0)
    engines[1]?.send({ started: { sessionId: 's' } })
    expect(await over).toBeNull()
    expect(ends).toBe(1)
  })

  it('waits longer for the last word than the engine itself waits for the sensor', () => {
    expect(DRAIN_IDLE_MS).toBeGreaterThan(END_DEADLINE_MS)
  })

  it('takes a stream that just ends for a lost one', async () => {
    const control = await serve((call) =>
      call.onMessage(() => {
        call.send({ started: {} })
        call.end()
      }),
    )
    const session = openSession({ call: control.run(), start: { pid: 1 }, consume: async () => {} })
    await session.started()
    expect(await session.over).toEqual({ cause: 'the engine ended the stream early', lost: true })
  })
})

function sequence(path: string): string[] {
  const lines = readFileSync(path, 'utf8').trim().split('\n')
  return lines.map((line) => (JSON.parse(line) as { seq: string }).seq)
}

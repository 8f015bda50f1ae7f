import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLog } from '../../../src/base/log.js'
import { Access } from '../../../src/engine/access.js'
import { Adoptions } from '../../../src/engine/adoptions.js'
import { BackPressure } from '../../../src/engine/back-pressure.js'
import { BaselinesAdmin } from '../../../src/engine/baselines-admin.js'
import { BootClock } from '../../../src/engine/boot-clock.js'
import { StreamBudget } from '../../../src/engine/bounded-stream.js'
import { ControlApi } from '../../../src/engine/control-api.js'
import { EventStream } from '../../../src/engine/event-stream.js'
import { Ingest } from '../../../src/engine/ingest.js'
import { peerCheck } from '../../../src/engine/peer-check.js'
import { Pipeline } from '../../../src/engine/pipeline.js'
import { NodePolicies } from '../../../src/engine/policy/node-policies.js'
import { PolicyDesk } from '../../../src/engine/policy-desk.js'
import { PolicyKeeper } from '../../../src/engine/policy-keeper.js'
import { Redactor } from '../../../src/engine/redact.js'
import { Responder } from '../../../src/engine/respond/responder.js'
import { ResponseHands } from '../../../src/engine/response-hands.js'
import type { RunParts } from '../../../src/engine/run-parts.js'
import { SandboxAdmin } from '../../../src/engine/sandbox-admin.js'
import { SandboxBook } from '../../../src/engine/sandbox-book.js'
import { SandboxRegistry } from '../../../src/engine/sandbox-registry.js'
import { Watchers } from '../../../src/engine/watchers.js'
import {
  ConnectRequest,
  Event,
  encodeBuffer,
  fromBigInt,
  type ICommand,
  type IConnectRequest,
  type IConnectResponse,
  type IEvent,
  toBigInt,
} from '../../../src/proto/codec.js'
import { connectControl, connectUplink, type RunCall, serveUnix, type UplinkCall } from '../../../src/proto/rpc.js'
import type { RunMessage } from '../../../src/proto/run-response.js'
import { SELF } from '../../support/control-handler.js'
import { BOOT_TO_UNIX_NS, batch, exec, fact, open, SANDBOX } from './kernel-frames.js'

const DEADLINE_MS = 15_000
const log = createLog({ role: 'engine', level: 'silent' })
const hello = { abiVersion: 1, nodeName: 'node', bootId: 'boot', instance: 'one', degraded: ['lsm'] }
const request = (message: IConnectRequest) => encodeBuffer(ConnectRequest, message)

/** The far end of the uplink: speaks the protocol, and does with commands what the test says. */
class ScriptedSensor {
  readonly call: UplinkCall
  readonly received: IConnectResponse[] = []
  readonly ended: Promise<Error | null>

  constructor(call: UplinkCall, onCommand: (command: ICommand, sensor: ScriptedSensor) => void) {
    this.call = call
    this.ended = new Promise((resolve) => call.onEnd(resolve))
    call.onMessage((message) => {
      this.received.push(message)
      if (message.command) onCommand(message.command, this)
    })
  }

  say(message: IConnectRequest): void {
    this.call.send(request(message))
  }

  done(command: ICommand, more: { killed?: number; error?: string } = {}): void {
    const place = command.startSandbox ? { cgroupId: fromBigInt(SANDBOX), cgroupPath: '/sluice/none-of-ours' } : {}
    this.say({ result: { id: command.id ?? null, ...place, ...more } })
  }
}

/** As the engine of one run composes it; which process may be the first is not of these tests. */
function controlOf(
  parts: Pick<RunParts, 'pipeline' | 'registry' | 'sensor' | 'progressed' | 'vet'> & { backPressure: BackPressure },
): ControlApi {
  const book = new SandboxBook()
  const watchers = new Watchers(new StreamBudget())
  const access = new Access({ memberGid: null, adminGid: null })
  const tap = (event: IEvent, ownerUid: number) => watchers.publish(event, ownerUid)
  const names = { serve: async () => {}, drop: () => null }
  const { verdicts } = parts.pipeline
  const policies = new PolicyDesk({ verdicts, names, log, sensor: parts.sensor, onComplete() {} })
  const node = new NodePolicies([])
  const nowUnixNs = () => BigInt(Date.now()) * 1_000_000n
  const keeper = new PolicyKeeper({ node, desk: policies, book, log, nowUnixNs, holdFound() {} })
  const adoptions = new Adoptions({ ...parts, book, log, tap, keeper })
  const hands = new ResponseHands({ book, keeper, desk: policies, sensor: parts.sensor })
  const responder = new Responder({ hands, log, nowUnixMs: () => Date.now(), tell: () => '', hold() {}, changed() {} })
  return new ControlApi({
    runs: {
      ...{ ...parts, book, log, tap, policies, keeper, orphans: null },
      openSink: (call) => new EventStream(call, parts.backPressure),
      checkLauncher: async () => ({ ok: true, still: () => true }),
      userOf: (_, claimed) => claimed,
      vet: parts.vet,
    },
    access,
    watchers,
    baselines: new BaselinesAdmin({ access, kept: null, log }),
    admin: new SandboxAdmin({ access, book, adoptions, keeper, node, log, responder, sensor: parts.sensor }),
    vet: parts.vet,
  })
}

describe('the engine over unix sockets', () => {
  const directory = () => mkdtempSync(join(tmpdir(), 'sluice-engine-'))
  let dir = ''
  let cleanUps: (() => unknown)[] = []
  let ingest: Ingest
  let backPressure: BackPressure
  /** Why the caller is not served. */
  let insideOf: string | null
  const uplinkSocket = () => join(dir, 'uplink.sock')
  const controlSocket = () => join(dir, 'control.sock')

  beforeEach(async () => {
    dir = directory()
    cleanUps = []
    insideOf = null
    backPressure = new BackPressure()
    const registry = new SandboxRegistry()
    const clock = new BootClock(
      { bootTimeNs: () => process.hrtime.bigint(), bootToUnixNs: () => BOOT_TO_UNIX_NS },
      'boot',
    )
    const pipeline = new Pipeline({
      redactor: new Redactor(Buffer.alloc(32, 3)),
      nowUnixNs: () => clock.nowUnixNs(),
    })
    const control = controlOf({
      ...{ pipeline, backPressure, registry },
      sensor: () => ingest.sensor,
      progressed: (how) => ingest.progressed(how),
      vet: async () => insideOf,
    })
    ingest = new Ingest({
      pipeline,
      backPressure,
      clock,
      log,
      engineInstance: 'engine',
      readers: control,
      onConnected: () => control.sensorConnected(),
    })
    // Who is at the other end is asked of the kernel by the addon; here it is this very process.
    const peer = () => ({ ...SELF, alive: true })
    const uids = [process.getuid?.() ?? -1]
    const sandboxOf = (pid: number) => registry.sandboxOf(pid)
    const onRefused = () => {}
    const servers = await Promise.all([
      serveUnix({
        path: uplinkSocket(),
        mode: 0o600,
        check: peerCheck({ peer, uids, sandboxOf, onRefused }),
        log,
        services: { uplink: ingest.handler },
      }),
      serveUnix({
        path: controlSocket(),
        mode: 0o660,
        check: peerCheck({ peer, uids, sandboxOf, onRefused }),
        log,
        services: { control },
      }),
    ])
    cleanUps.push(async () => {
      control.stop()
      await Promise.all(servers.map((server) => server.close(500)))
      rmSync(dir, { recursive: true })
    })
  })

  afterEach(async () => {
    for (const cleanUp of cleanUps.reverse()) await cleanUp()
  })

  async function sensor(onCommand: (command: ICommand, sensor: ScriptedSensor) => void): Promise<ScriptedSensor> {
    const scripted = new ScriptedSensor(await connectUplink(uplinkSocket(), DEADLINE_MS), onCommand)
    cleanUps.push(() => scripted.call.end())
    scripted.say({ hello })
    await until(() => scripted.received.length > 0)
    return scripted
  }

  async function client(): Promise<RunCall> {
    const control = await connectControl(controlSocket(), DEADLINE_MS)
    cleanUps.push(() => control.close())
    return control.run()
  }

  async function until(condition: () => boolean): Promise<void> {
    for (const end = Date.now() + DEADLINE_MS; !condition(); ) {
      if (Date.now() > end) throw new Error('it did not happen in time')
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  const start = { pid: 4242, name: 'My Job', command: [Buffer.from('ls')], user: 'root', degraded: ['seccomp'] }

  async function readAll(run: RunCall, onStarted: () => void): Promise<{ messages: RunMessage[]; events: IEvent[] }> {
    const messages: RunMessage[] = []
    for await (const message of run.messages) {
      messages.push(message)
      if (message.started) onStarted()
    }
    return {
      messages,
      events: messages.flatMap((message) => (message.events ?? []).map((event) => Event.decode(event))),
    }
  }

  it('starts, delivers everything that the sensor sent before its last result, and ends', async () => {
    const scripted = await sensor((command, self) => {
      if (command.endSandbox) {
        self.call.send(batch({ seq: 2, watermarkMs: 42, events: [fact({ ms: 40 }, { exit: { status: 0 } })] }))
      }
      self.done(command, { killed: command.endSandbox ? 1 : 0 })
    })
    const run = await client()
    run.send({ start })
    const { messages, events } = await readAll(run, () => {
      scripted.call.send(
        batch({ seq: 1, watermarkMs: 30, events: [open({ ms: 20 }, '/a'), exec({ ms: 10 }, '/bin/ls', ['ls'])] }),
      )
      run.send({ end: { exitCode: 0, signal: 9 } })
    })
    expect(messages[0]?.started?.sandbox?.id).toMatch(/^my-job-[0-9a-f]{8}$/)
    expect(messages.at(-1)?.ended?.problem).toBe('')
    expect(
      events.map((event) => [
        toBigInt(event.seq),
        Object.keys(event).find((key) => /^(exec|exit|fileOpen|sandbox\w+)$/.test(key)),
      ]),
    ).toEqual([
      [1n, 'sandboxStarted'],
      [2n, 'exec'],
      [3n, 'fileOpen'],
      [4n, 'exit'],
      [5n, 'sandboxEnded'],
    ])
    expect(events[0]?.sandboxStarted).toMatchObject({ mode: 'monitor', degraded: ['lsm', 'seccomp'], user: 'root' })
    expect(events.at(-1)?.sandboxEnded?.summary).toMatchObject({ signal: 9, killedAtEnd: 1, complete: true })
    const acks = () => scripted.received.flatMap(({ ack }) => (ack ? [toBigInt(ack.batchSeq)] : []))
    await until(() => acks().includes(2n))
    expect(acks()).toEqual([...new Set(acks())].sort())
    expect(scripted.received[0]?.welcome?.engineInstance).toBe('engine')
  })

  it('ends a run whose sensor has gone, with a gap and the reason', async () => {
    const scripted = await sensor((command, self) => self.done(command))
    const run = await client()
    run.send({ start })
    const { messages, events } = await readAll(run, () => {
      scripted.call.end()
      void until(() => ingest.sensor === null).then(() => run.send({ end: { exitCode: 1 } }))
    })
    expect(messages.at(-1)?.ended?.problem).toContain('the sensor')
    const causes = events.flatMap((event) => (event.gap ? [event.gap.cause ?? ''] : []))
    expect(causes).toHaveLength(1)
    expect(causes[0]?.match(/the sensor is gone/g)?.length ?? 0).toBeLessThan(2)
    expect(events.at(-1)?.sandboxEnded?.summary).toMatchObject({ exitCode: 1, complete: false })
  })

  it('passes on why the sensor could not tag', async () => {
    await sensor((command, self) => self.done(command, command.startSandbox ? { error: 'no such process' } : {}))
    const run = await client()
    run.send({ start })
    await expect(readAll(run, () => {})).rejects.toThrow('no such process')
  })

  it.each([
    ['no sensor', { start }, 'no sensor is connected'],
    ['a bad field', { start: { ...start, name: 'a\nb' } }, 'name: control characters'],
    ['an end before a start', { end: {} }, 'the run is waiting'],
  ])('fails a run with the reason: %s', async (_, message, reason) => {
    const run = await client()
    run.send(message)
    await expect(readAll(run, () => {})).rejects.toThrow(reason)
  })

  it.each([
    ['who is in a sandbox by now', 'process 7 is in the sandbox x', 'the engine does not answer: process 7 is in'],
    ['of a session that nobody knows', null, 'does not know the session any more'],
  ])('lets nobody go on with a run %s', async (_, inside, reason) => {
    const run = await client()
    insideOf = inside
    run.send({ resume: { sessionId: 'any', lastSeq: fromBigInt(0n) } })
    const refused = expect(readAll(run, () => {})).rejects.toThrow(reason)
    // Without a sensor nobody can say who it is.
    await sensor(() => {})
    await refused
  })

  it('takes one sensor at a time, and the next one when it has gone', async () => {
    const first = await sensor(() => {})
    const second = new ScriptedSensor(await connectUplink(uplinkSocket(), DEADLINE_MS), () => {})
    second.say({ hello })
    expect((await second.ended)?.message).toBe(
      'the engine does not take this sensor: another sensor is connected, that of node node',
    )
    expect(second.received).toEqual([])
    first.call.end()
    await until(() => ingest.sensor === null)
    await sensor(() => {})
    expect(ingest.refused).toBe(1)
  })

  it.each([
    ['a batch before Hello', batch({ seq: 1, events: [], watermarkMs: 1 })],
    ['another record version', request({ hello: { ...hello, abiVersion: 99 } })],
    ['no identity', request({ hello: { ...hello, bootId: '' } })],
    ['garbage', Buffer.from([0xff, 0xff])],
  ])('refuses a sensor that starts with %s', async (_, bytes) => {
    const scripted = new ScriptedSensor(await connectUplink(uplinkSocket(), DEADLINE_MS), () => {})
    scripted.call.send(bytes)
    expect((await scripted.ended)?.message).toMatch(/^the engine does not take this sensor: ./)
    expect(ingest.sensor).toBeNull()
  })

  it('survives garbage after Hello, and the run says that something is missing', async () => {
    const scripted = await sensor((command, self) => self.done(command))
    const run = await client()
    run.send({ start })
    const { events } = await readAll(run, () => {
      scripted.call.send(Buffer.from([0xff, 0xff]))
      scripted.call.send(batch({ seq: 1, watermarkMs: 30, events: [open({ ms: 10 }, '/a')] }))
      void until(() => scripted.received.some(({ ack }) => ack)).then(() => run.send({ end: {} }))
    })
    expect(events.filter((event) => event.gap)).toHaveLength(1)
    expect(events.filter((event) => event.fileOpen)).toHaveLength(1)
  })

  it('reads no more from the sensor while a client does not read, and loses nothing', async () => {
    const batches = 400
    const many = Array.from({ length: 64 }, (_, n) => n)
    const path = `/${'x'.repeat(1_000)}`
    let refused = false
    const scripted = await sensor((command, self) => self.done(command))
    const run = await client()
    run.send({ start })
    const reader = run.messages[Symbol.asyncIterator]()
    expect((await reader.next()).value?.started).toBeTruthy()
    let next = 1
    const sendMore = () => {
      while (next <= batches) {
        const at = next++ * 100
        const events = many.map((n) => open({ ms: at + n, cpuSeq: at + n }, path))
        if (scripted.call.send(batch({ seq: at / 100, watermarkMs: at + 99, events }))) continue
        refused = true
        return
      }
    }
    scripted.call.onDrain(sendMore)
    sendMore()
    await until(() => backPressure.held && refused)
    let opens = 0
    let ending = false
    for (let one = await reader.next(); !one.done; one = await reader.next()) {
      opens += one.value.events?.filter((event) => Event.decode(event).fileOpen).length ?? 0
      if (opens < batches * many.length || ending) continue
      ending = true
      run.send({ end: {} })
    }
    expect(opens).toBe(batches * many.length)
    expect(backPressure.held).toBe(false)
  })

  it('forgets the run of a client that goes away and goes on serving', async () => {
    await sensor((command, self) => self.done(command))
    const gone = await client()
    gone.send({ start })
    const reader = gone.messages[Symbol.asyncIterator]()
    await reader.next()
    gone.cancel()
    // The same cgroup id can only be opened again once the first session is gone.
    for (let tries = 0; ; tries++) {
      const run = await client()
      run.send({ start })
      try {
        const { messages } = await readAll(run, () => run.send({ end: {} }))
        expect(messages.at(-1)?.ended?.problem).toBe('')
        break
      } catch (error) {
        if (tries > 20) throw error
      }
    }
  })
})

describe('a process in a sandbox', () => {
  it('is recognised by its cgroup, and so is one that can not be looked at', async () => {
    const child = spawn('sleep', ['30'])
    const cgroups = new Map([
      [1, '0::/\n'],
      [2, '12:pids:/x\n0::/sluice/run-1/job-2\n'],
      [3, '0::/sluice/run-1/job-2/inner\n'],
      [4, '0::/sluicegate/job-22\n'],
      [7, '0::/elsewhere/job-3/inner (deleted)\n'],
      [8, '0::/elsewhere/job-33\n'],
      [5, '12:pids:/x\n'],
    ])
    const registry = new SandboxRegistry((pid) => {
      const text = cgroups.get(pid)
      if (text === undefined) throw new Error('ESRCH')
      return text
    })
    expect(registry.add('/elsewhere/job-3')).toBe(true)
    expect(registry.add('/')).toBe(false)
    const sandboxes = (...pids: number[]) => pids.map((pid) => registry.sandboxOf(pid))
    // Below /sluice are the sandboxes of all engines, known to this one or not.
    expect(sandboxes(1, 2, 3, 4)).toEqual([null, '/sluice/run-1/job-2', '/sluice/run-1/job-2/inner', null])
    expect(sandboxes(5, 6)).toEqual(['unknown', 'unknown'])
    expect(sandboxes(7, 8)).toEqual(['/elsewhere/job-3/inner', null])
    registry.remove('elsewhere/job-3/')
    expect(sandboxes(7)).toEqual([null])
    // By the real /proc: a live process of ours is in no sandbox.
    expect(new SandboxRegistry().sandboxOf(child.pid ?? 0)).toBeNull()
    child.kill()
  })
})

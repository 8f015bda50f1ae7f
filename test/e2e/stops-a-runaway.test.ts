/**
 * What a detection leads to, done to real processes by a real agent: frozen and let go on, shut and opened again, killed while it forks as fast as it
 * can; each told with what the kernel says of it. An operator has the last word, and an engine that dies in between changes nothing.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { execa } from 'execa'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { EventJson } from '../../src/proto/event-json.js'
import { startTestAgent, type TestAgent } from '../support/agent-process.js'
import { compileC } from '../support/c-program.js'
import { cgroupMount } from '../support/cgroup-folder.js'
import { expectGapless } from '../support/events.js'
import { patient } from '../support/patience.js'
import { privileged } from '../support/privileged.js'
import { isAlive, startSluice, until } from '../support/sluice-process.js'
import { readRecord, SLUICE_BIN, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const LOOP = `sh -c 'grep -c root /etc/passwd > /dev/null; :'`

const responses = (events: EventJson[]) =>
  events.flatMap((event) => ('response' in event ? [{ ...event.response, time: event.time }] : []))
const states = (events: EventJson[]) => responses(events).map(({ action, state }) => `${action} ${state}`)

describe.skipIf(skip)(`a runaway ${reason}`, () => {
  let agent: TestAgent
  let server: Server
  let port: number
  /** How often. */
  let reached = 0
  beforeEach(async () => {
    agent = await startTestAgent()
    server = createServer((socket) => {
      reached += 1
      socket.end()
    }).listen(0, '127.0.0.1')
    await until('the server listens', () => server.listening)
    const address = server.address()
    port = typeof address === 'object' && address !== null ? address.port : 0
  })
  afterEach(async () => {
    server.close()
    await agent?.stop()
  })

  const sandboxes = (...args: string[]) => execa(SLUICE_BIN, ['sandboxes', '--socket', agent.socket, ...args])

  function start(dir: string, script: string, respond: string | null, more = 'mode: monitor') {
    const policy = join(dir, 'policy.yaml')
    writeFileSync(policy, `version: 1\nname: calm\n${more}\n${respond === null ? '' : `respond: ${respond}\n`}`)
    const options = ['--socket', agent.socket, '--policy', policy, '--name', 'runaway']
    return startSluice(['bash', '-c', `${script}\n:`], { dir, options, cwd: dir })
  }

  /** The cgroup, once the record has its first event. */
  const begun = (record: string) => {
    try {
      return readRecord(record)[0]?.sandbox.cgroupPath
    } catch {
      return null
    }
  }

  const recorded = (record: string, state: string) =>
    until(state, () => {
      try {
        return states(readRecord(record)).includes(state)
      } catch {
        return false
      }
    })

  test('is frozen, goes on by itself, and its work is completed', async () => {
    await withTempDir(async (dir) => {
      const run = start(
        dir,
        `for n in $(seq 30); do ${LOOP}; sleep 0.05; done; echo done`,
        '{loop: [{do: freeze, for: 2s}]}',
      )
      const { exitCode, stdout } = await run.result
      expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: 'done\n' })
      const events = readRecord(run.record)
      expectGapless(events)
      expect(states(events).slice(0, 3)).toEqual(['FREEZE REQUESTED', 'FREEZE APPLIED', 'FREEZE REVERTED'])
      const [requested, applied, reverted] = responses(events)
      const detection = events.find(({ uid }) => uid === requested?.trigger)
      expect(detection).toMatchObject({ detection: { detector: 'loop' } })
      expect(applied).toMatchObject({ observed: 'cgroup.events says frozen 1', trigger: requested?.trigger, step: 1 })
      expect(reverted).toMatchObject({ observed: 'cgroup.events says frozen 0', undoneBy: 'time' })
      // It stood still for as long, but for what it took to freeze it and to look.
      const times = events.flatMap(({ process, time }) => (process ? [Date.parse(time)] : []))
      expect(Math.max(...times.slice(1).map((time, at) => time - (times[at] ?? time)))).toBeGreaterThan(1_000)
    })
  })

  test('is throttled by the kernel’s own limits, and not for ever', async () => {
    await withTempDir(async (dir) => {
      // Until it was let go once, and some rounds more.
      const rounds = `for n in $(seq 400); do ${LOOP}; sleep 0.05; [ -e stop ] && break; done`
      const run = start(
        dir,
        `${rounds}; for n in 1 2 3; do ${LOOP}; done; echo done`,
        '{loop: [{do: throttle, for: 2s}]}',
      )
      await recorded(run.record, 'THROTTLE REVERTED')
      writeFileSync(join(dir, 'stop'), '')
      const { exitCode, stdout } = await run.result
      expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: 'done\n' })
      const events = readRecord(run.record)
      expect(states(events).slice(0, 3)).toEqual(['THROTTLE REQUESTED', 'THROTTLE APPLIED', 'THROTTLE REVERTED'])
      const [, applied, reverted] = responses(events)
      expect(applied?.observed).toBe('the kernel has connects 1/s, execs 2/s')
      expect(reverted?.observed).toBe('the kernel has connects unlimited, execs unlimited')
    })
  })

  test('is slowed down where the policy is enforced and says nothing', async () => {
    await withTempDir(async (dir) => {
      const rounds = `for n in $(seq 100); do ${LOOP}; [ -e stop ] && break; done`
      const run = start(dir, `${rounds}; echo done`, null, 'mode: enforce\nallow_brokers: true')
      await recorded(run.record, 'THROTTLE APPLIED')
      writeFileSync(join(dir, 'stop'), '')
      const { exitCode, stdout } = await run.result
      expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: 'done\n' })
      expect(responses(readRecord(run.record))[0]).toMatchObject({ action: 'THROTTLE', state: 'REQUESTED', step: 3 })
    })
  })

  test('goes on when an operator says so, and no detection stops it again', async () => {
    await withTempDir(async (dir) => {
      const run = start(dir, `for n in $(seq 60); do ${LOOP}; sleep 0.05; done; echo done`, '{loop: [freeze, kill]}')
      await recorded(run.record, 'FREEZE APPLIED')
      expect((await sandboxes('show', 'runaway')).stdout).toMatch(
        /state +frozen[\s\S]*responses +freeze until .*, for /,
      )
      expect((await sandboxes('thaw', 'runaway')).stdout).toMatch(/goes on$/)
      const { exitCode, stdout } = await run.result
      expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: 'done\n' })
      const told = responses(readRecord(run.record))
      expect(told.map(({ action, state }) => `${action} ${state}`)).toEqual([
        ...['FREEZE REQUESTED', 'FREEZE APPLIED', 'FREEZE REVERTED'],
      ])
      expect(told.at(-1)?.undoneBy).toMatch(/^operator: user \d+$/)
    })
  })

  test.each([
    ['stays', '3s'],
    // Time for another one to be there, also on a machine that is busy.
    ['dies', '6s'],
  ])('gets nothing out for a while, and then again, while the engine %s', async (engine, time) => {
    await withTempDir(async (dir) => {
      const reach = `(exec 3<>/dev/tcp/127.0.0.1/${port}) 2> /dev/null && echo out || echo in`
      const tries = `for n in $(seq 400); do ${reach}; sleep 0.1; [ -e stop ] && break; done`
      const script = `${reach}; for n in 1 2 3 4 5; do ${LOOP}; done; ${tries}`
      const run = start(dir, script, `{loop: [{do: deny, for: ${time}}]}`)
      await recorded(run.record, 'DENY APPLIED')
      if (engine === 'dies') {
        const before = agent.pids().engine
        process.kill(before, 'SIGKILL')
        await until('there is another', () => agent.pids().engine !== before && isAlive(agent.pids().engine))
      }
      await recorded(run.record, 'DENY REVERTED')
      const before = reached
      await until('some tries reach it', () => reached > before + 2)
      writeFileSync(join(dir, 'stop'), '')
      const { exitCode, stdout } = await run.result
      expect(exitCode).toBe(0)
      expect(stdout.replaceAll('\n', ' ')).toMatch(/^out (?:out )*(?:in )+(?:out )+$/)
      const events = readRecord(run.record)
      expectGapless(events)
      const applied = responses(events).find(({ state }) => state === 'APPLIED')
      expect(applied?.observed).toMatch(/^the kernel holds it to egress-shut, generation \d+$/)
      const refused = events.filter((event) => 'connect' in event && event.connect.verdict.policy === 'egress-shut')
      expect(refused.length).toBeGreaterThan(0)
    })
  })

  /** Of each try `out`, or how many ms a refused one took up to the next instruction of whoever made it. */
  const CONNECTS = `
import socket, sys, time
def connect():
    began = time.monotonic()
    try:
        socket.create_connection(('127.0.0.1', int(sys.argv[1]))).close()
        return 'out'
    except PermissionError:
        return int((time.monotonic() - began) * 1000)
print(*[connect() for _ in range(int(sys.argv[2]))], flush=True)
`
  /** The kernel lets nobody go on before that. */
  const STOPPED_MS = 2_900
  const LIMITED = `mode: enforce
local: {listeners: any}
allow_brokers: true
limits: {connects: {rate: 1/h, burst: 5}}`

  function startConnects(dir: string, tries: number, respond: string) {
    writeFileSync(join(dir, 'connects.py'), CONNECTS)
    return start(dir, `python3 connects.py ${port} ${tries}`, respond, LIMITED)
  }
  const refused = (stdout: string) => stdout.trim().split(' ').slice(5).map(Number)

  test('stands still from the call on that reaches a limit; not again once an operator had it go on', async () => {
    await withTempDir(async (dir) => {
      const run = startConnects(dir, 9, '{limits: [freeze]}')
      await recorded(run.record, 'FREEZE APPLIED')
      expect((await sandboxes('thaw', 'runaway')).stdout).toMatch(/goes on$/)
      const { exitCode, stdout } = await run.result
      expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: expect.stringMatching(/^(out ){5}(\d+ ?){4}\n$/) })
      const [first, ...others] = refused(stdout)
      expect(first).toBeGreaterThan(STOPPED_MS)
      expect(Math.min(...others)).toBeLessThan(STOPPED_MS)
      const events = readRecord(run.record)
      expectGapless(events)
      // Where the kernel let it go on before it was frozen, it is asked for once more.
      const told = states(events)
      expect([[...new Set(told)], told.at(-1)]).toEqual([
        ['FREEZE REQUESTED', 'FREEZE APPLIED', 'FREEZE REVERTED'],
        'FREEZE REVERTED',
      ])
      const hit = events.find(({ uid }) => uid === responses(events)[0]?.trigger)
      expect(hit).toMatchObject({ limitHit: { what: 'connects', verdict: { decision: 'DENY' } } })
    })
  })

  test('is thawed in its time by the next engine, if the one that froze it died before it could say so', async () => {
    await withTempDir(async (dir) => {
      const script = `for n in 1 2 3 4 5; do ${LOOP}; sleep 0.05; done; sleep 4; echo done`
      const run = start(dir, script, '{loop: [{do: freeze, for: 2s}]}')
      const path = await until('it began', () => begun(run.record))
      const file = join(cgroupMount() ?? '', path, 'cgroup.events')
      // At once: another look would be too late.
      const end = performance.now() + patient(30_000)
      while (!readFileSync(file, 'utf8').includes('frozen 1')) {
        expect(performance.now(), readFileSync(run.record, 'utf8')).toBeLessThan(end)
        await setImmediate()
      }
      const before = agent.pids().engine
      process.kill(before, 'SIGKILL')
      await until('there is another', () => agent.pids().engine !== before && isAlive(agent.pids().engine))
      const { exitCode, stdout } = await run.result
      expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: 'done\n' })
      const events = readRecord(run.record)
      const told = responses(events).slice(0, 4)
      expect(told.map(({ state }) => state)).toContain('APPLIED')
      expect(told.find(({ state }) => state === 'REVERTED')).toMatchObject({
        ...{ action: 'FREEZE', undoneBy: 'time', observed: 'cgroup.events says frozen 0' },
      })
    })
  })

  test('is killed while it forks as fast as it can, and nothing of it is left', async () => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      // For as long as the engine may need to come to it behind all that they tell.
      const script = `${storm} forks 200000 & ${storm} forks 200000 & for n in $(seq 1500); do ${LOOP}; sleep 0.05; done; wait`
      const run = start(dir, script, '{loop: [alert, kill]}')
      const { exitCode } = await run.result
      expect(exitCode).toBe(137)
      expect(states(readRecord(run.record)).slice(0, 2)).toEqual(['KILL REQUESTED', 'KILL APPLIED'])
      expect((await sandboxes('ls')).stdout).not.toContain('runaway')
      expect((await execa('pgrep', ['-fc', `^${storm} `], { reject: false })).stdout).toBe('0')
    })
  })
})

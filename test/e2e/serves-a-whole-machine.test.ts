/** `sluice agent`: one for the machine, kept running, and runs that use it as they would use parts of their own. */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestAgent, type TestAgent, withAgent } from '../support/agent-process.js'
import { cgroupMount } from '../support/cgroup-folder.js'
import { execs, expectComplete, gaps } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { untilThere } from '../support/shell-loops.js'
import { isAlive, startSluice, until } from '../support/sluice-process.js'
import { readRecord, SLUICE_BIN, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const RUNS_AT_ONCE = 4
/** For what must not happen to happen. */
const SETTLE_MS = 200

describe.skipIf(skip)(`an agent ${reason}`, () => {
  let agent: TestAgent
  beforeAll(async () => {
    agent = await startTestAgent()
  })
  afterAll(async () => {
    await agent?.stop()
  })
  const through = () => ['--socket', agent.socket]

  test('runs a command for whoever asks, with its streams, its exit code and a whole record', async () => {
    const script = 'cat; echo err >&2; exit 7'
    const run = await sluiceRun(['sh', '-c', script], { options: through(), input: 'typed' })
    expect(run).toMatchObject({ exitCode: 7, stdout: 'typed', stderr: 'err' })
    expectComplete(run.events)
    expect(execs(run.events).map((event) => event.process.args[0])).toEqual(['sh', 'cat'])
    expect(readdirSync(join(agent.dir, 'run')).filter((name) => name.startsWith('run-'))).toEqual([])
  })

  test('keeps runs that are side by side apart', async () => {
    const words = Array.from({ length: RUNS_AT_ONCE }, (_, n) => `word-${n}`)
    const runs = await Promise.all(
      words.map((word) =>
        sluiceRun(['sh', '-c', `for n in 1 2 3; do /bin/true ${word}; done`], { options: through() }),
      ),
    )
    for (const [index, run] of runs.entries()) {
      expect(run.exitCode).toBe(0)
      expectComplete(run.events)
      const words = execs(run.events).flatMap((event) => event.process.args.filter((arg) => arg.startsWith('word-')))
      expect(words).toEqual(Array(3).fill(`word-${index}`))
    }
  })

  test('kills what a command leaves behind, and says so', async () => {
    const run = await sluiceRun(['sh', '-c', 'setsid sleep 60 & exit 0'], { options: through() })
    expectComplete(run.events)
    expect(run.events.at(-1)).toMatchObject({ sandboxEnded: { summary: { killedAtEnd: 1 } } })
  })

  test.each([
    [['/no/such/program'], 127],
    [['/etc/passwd'], 126],
  ])('says why a command does not start: %j', async (command, exitCode) => {
    const run = await sluiceRun(command, { options: through() })
    expect(run.exitCode).toBe(exitCode)
    expect(run.stderr).toMatch(/^sluice: cannot run/)
  })

  test('goes on watching what its client left', async () => {
    await withTempDir(async (dir) => {
      const script = `touch started; ${untilThere('go')}`
      const run = startSluice(['sh', '-c', script], { dir, cwd: dir, options: through() })
      await until('it runs', () => existsSync(join(dir, 'started')))
      process.kill(run.child.pid ?? 0, 'SIGKILL')
      await until('the agent knows', () =>
        agent.log().some((line) => line.msg.startsWith('the client of a run is gone')),
      )
      const ended = () => agent.log().filter((line) => line.msg === 'run ended').length
      const before = ended()
      await sleep(SETTLE_MS)
      expect(ended()).toBe(before)
      writeFileSync(join(dir, 'go'), '')
      await until('it ended', () => ended() === before + 1)
    })
  })

  test('has a gateway without privileges, which its engine takes', async () => {
    const { gateway } = agent.pids()
    const status = readFileSync(`/proc/${gateway}/status`, 'utf8')
    const uid = (await execa('id', ['-u', 'sluice-gateway'])).stdout
    expect(status).toMatch(new RegExp(`^Uid:\\s+${uid}\\s+${uid}\\s+${uid}\\s+${uid}$`, 'm'))
    expect(status).toMatch(/^CapEff:\s+0+$/m)
    await until('it is connected', () => agent.log().some((line) => line.msg === 'gateway connected'))
  })

  test('is the only one', async () => {
    const second = await execa(SLUICE_BIN, ['agent', '--config', agent.config], { reject: false })
    expect(second.exitCode).toBe(1)
    expect(second.stderr.trim().split('\n')).toEqual([
      expect.stringMatching(
        /^sluice: another agent runs on this machine; it holds .*agent\.lock; stop it first, or use it$/,
      ),
    ])
    expect((await sluiceRun(['true'], { options: through() })).exitCode).toBe(0)
  })

  test.each(['gateway', 'engine', 'sensor'] as const)(
    'starts its %s again when that dies, and serves on',
    async (part) => {
      const before = agent.pids()[part]
      process.kill(before, 'SIGKILL')
      await until('it is back', () => agent.pids()[part] !== before)
      await until('the sensor is back', () => isAlive(agent.pids().sensor) && isAlive(agent.pids().engine))
      const told = agent.log().filter((line) => line.part === part && line.level === 'error')
      expect(told.at(-1)).toMatchObject({ msg: `the ${part} ended; it is started again`, why: 'killed by SIGKILL' })
      await sleep(SETTLE_MS)
      const run = await sluiceRun(['/bin/true', 'again'], { options: through() })
      expect(run.exitCode).toBe(0)
      expectComplete(run.events)
    },
  )

  test.each(['SIGTERM', 'SIGINT'] as const)('stops in order on %s, and leaves nothing', async (signal) => {
    const own = await startTestAgent()
    const { sensor, engine, gateway } = own.pids()
    own.child.kill(signal)
    expect(await own.exited).toEqual({ code: 0, signal: null })
    expect([sensor, engine, gateway].filter(isAlive)).toEqual([])
    expect(readdirSync(join(own.dir, 'run'))).toEqual(['agent', 'agent.lock', 'state'])
    await own.stop()
  })

  test('tells the service manager when it is ready and when it stops', async () => {
    await withTempDir(async (dir) => {
      const path = join(dir, 'notify')
      const script = `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); print('bound', flush=True)
for _ in range(2): print(s.recv(100).decode(), flush=True)`
      const manager = spawn('python3', ['-c', script, path], { stdio: ['ignore', 'pipe', 'inherit'] })
      let said = ''
      manager.stdout.on('data', (chunk: Buffer) => {
        said += chunk.toString()
      })
      await until('the manager listens', () => said.includes('bound'))
      const own = await startTestAgent({ env: { NOTIFY_SOCKET: path } })
      await until('it was told', () => said === 'bound\nREADY=1\n')
      await own.stop()
      await until('it was told', () => said === 'bound\nREADY=1\nSTOPPING=1\n')
    })
  })

  test.each([['a file', (path: string) => writeFileSync(path, 'mine'), 'is there and is not a socket']])(
    'never takes the place of what is not its own: %s',
    async (_, make, message) => {
      await withTempDir(async (dir) => {
        const path = join(dir, 'x.sock')
        make(path)
        await expect(startTestAgent({ args: ['--socket', path] })).rejects.toThrow(message)
        expect(readFileSync(path, 'utf8')).toBe('mine')
      })
    },
  )
})

/** Side by side, each with an agent of its own: most of the time they wait, for what may come back. */
describe.skipIf(skip)(`an agent that is hurt ${reason}`, () => {
  test.concurrent.each([
    ['engine', 'while exits are seen', ['engine']],
    ['engine and sensor', 'while exits are lost', ['engine', 'sensor']],
  ] as const)('goes on with what a client left that died with the %s, %s', async (_, __, parts) => {
    await withAgent(async (agent, dir) => {
      const through = ['--socket', agent.socket]
      const storm = untilThere('go', '/bin/true; sleep 0.01')
      const run = startSluice(['sh', '-c', `touch started; ${storm}`], { dir, cwd: dir, options: through })
      await until('it runs', () => existsSync(join(dir, 'started')))
      await until('the record has begun', () => statSync(run.record).size > 0)
      const { sandbox } = readRecord(run.record)[0] ?? {}
      const before = agent.pids()
      process.kill(run.child.pid ?? 0, 'SIGKILL')
      for (const part of parts) process.kill(before[part], 'SIGKILL')
      await until('they are back', () => parts.every((part) => agent.pids()[part] !== before[part]))
      const left = (line: { msg: string; sandbox?: unknown }) =>
        line.sandbox === sandbox?.id && line.msg.startsWith('the client of a run did not come back')
      await until('the engine takes it up', () => agent.log().some(left))
      const list = await execa(SLUICE_BIN, ['sandboxes', 'ls', '-o', 'json', ...through])
      expect(list.stdout).toContain(sandbox?.id)
      const cgroup = join(cgroupMount() ?? '', sandbox?.cgroupPath ?? '/none')
      expect(existsSync(cgroup)).toBe(true)
      writeFileSync(join(dir, 'go'), '')
      await until('its cgroup is gone', () => !existsSync(cgroup))
      const after = await execa(SLUICE_BIN, ['sandboxes', 'ls', '-o', 'json', ...through])
      expect(after.stdout).not.toContain(sandbox?.id)
    })
  })

  test.concurrent('that dies leaves commands running, their records say what is missing, and the next one cleans up', async () => {
    await withAgent(async (own, dir) => {
      const script = `touch started; ${untilThere('go')}; exit 5`
      const run = startSluice(['sh', '-c', script], { dir, cwd: dir, options: ['--socket', own.socket] })
      await until('it runs', () => existsSync(join(dir, 'started')))
      await until('the record has begun', () => statSync(run.record).size > 0)
      process.kill(own.child.pid ?? 0, 'SIGKILL')
      await until('its parts are gone', () => !isAlive(own.pids().engine) && !isAlive(own.pids().sensor))
      writeFileSync(join(dir, 'go'), '')
      const result = await run.result
      expect(result.exitCode).toBe(5)
      // It was waited for, until the command had ended.
      expect(result.stderr).toMatch(/the engine is gone .*: events are missing/)
      const events = readRecord(run.record)
      expect(gaps(events)).toHaveLength(1)
      const cgroup = join(cgroupMount() ?? '', events[0]?.sandbox.cgroupPath ?? '/none')
      expect(existsSync(cgroup)).toBe(true)
      const next = await startTestAgent({ after: own })
      await next.stop()
      expect(existsSync(cgroup)).toBe(false)
    })
  })
})

/** Any part of a run may be killed at any time: the command's exit code stays right, what is missing is said, and nothing stays behind. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { programLookup } from '../support/bpf-programs.js'
import { cgroupMount } from '../support/cgroup-folder.js'
import { execs, expectComplete, expectGapless, gaps } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { untilThere } from '../support/shell-loops.js'
import {
  cgroupOf,
  childrenOf,
  commandLine,
  isAlive,
  isStopped,
  launcherOf,
  type Parts,
  remains,
  type SluiceProcess,
  startSluice,
  type Traces,
  tracesOf,
  until,
} from '../support/sluice-process.js'
import { readRecord, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
/** The kernel frees programs a little after their last descriptor is closed. */
const FREED_WITHIN_MS = 20_000
/** Below the sensor's own wait for an engine, ten seconds. */
const GIVES_UP_WITHIN_MS = 8_000
/** A role's own deadline for stopping, and time to die. */
const STOPS_WITHIN_MS = 7_000

interface Scene {
  dir: string
  run: SluiceProcess
  parts: Parts
  traces: Traces
  /** What is left of the run, once it had its time. */
  left(): Promise<string[]>
}

/** The command writes `dir/started`, waits for `dir/go`, writes `dir/done` and exits 5. */
async function withRun(body: (scene: Scene) => Promise<void>): Promise<void> {
  await withTempDir(async (dir) => {
    const programExists = programLookup(dir)
    const script = `touch started; ${untilThere('go')}; /bin/true late; touch done; exit 5`
    const run = startSluice(['sh', '-c', script], { dir, cwd: dir })
    const parts = await run.running()
    const traces = tracesOf(parts)
    await until('the command has begun', () => existsSync(join(dir, 'started')))
    const pids = [parts.cli, parts.sensor, parts.engine, parts.command]
    const left = async () => {
      const end = performance.now() + FREED_WITHIN_MS
      for (;;) {
        const found = remains(traces, pids, programExists)
        if (found.length === 0 || performance.now() > end) return found
        await sleep(20)
      }
    }
    try {
      await body({ dir, run, parts, traces, left })
    } finally {
      for (const pid of pids) if (isAlive(pid)) process.kill(pid, 'SIGKILL')
    }
  })
}

function go(dir: string): void {
  writeFileSync(join(dir, 'go'), '')
}

async function kill(pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL')
  await until(`${pid} is gone`, () => !isAlive(pid))
}

describe.skipIf(skip)(`a run ${reason}`, () => {
  test('of which nothing is killed leaves nothing, and had something to leave', async () => {
    await withRun(async ({ dir, run, traces, left }) => {
      expect(existsSync(traces.runDir)).toBe(true)
      expect(existsSync(traces.cgroup)).toBe(true)
      expect(traces.programs.length).toBeGreaterThanOrEqual(6)
      go(dir)
      expect(await run.result).toMatchObject({ exitCode: 5, stderr: '' })
      expectComplete(readRecord(run.record))
      expect(await left()).toEqual([])
    })
  })

  test('whose sensor is killed goes on, says so, and has the gap in its record', async () => {
    await withRun(async ({ dir, run, parts, left }) => {
      await kill(parts.sensor)
      await sleep(100)
      expect(isAlive(parts.command)).toBe(true)
      go(dir)
      const result = await run.result
      expect(result.exitCode).toBe(5)
      expect(result.stderr).toMatch(/^sluice: the sensor died: killed by SIGKILL/m)
      const events = readRecord(run.record)
      expectGapless(events)
      expect(gaps(events).length).toBeGreaterThan(0)
      expect(execs(events).some((event) => event.process.args.includes('late'))).toBe(false)
      expect(await left()).toEqual([])
    })
  })

  test('whose engine is killed goes on with another one, says so, and misses nothing', async () => {
    await withRun(async ({ dir, run, parts, left }) => {
      await until('the record has begun', () => statSync(run.record).size > 0)
      await kill(parts.engine)
      expect(isAlive(parts.command)).toBe(true)
      go(dir)
      const result = await run.result
      expect(result.exitCode).toBe(5)
      expect(result.stderr).toBe('sluice: the engine died and was started again\n')
      const events = readRecord(run.record)
      expectComplete(events)
      expect(execs(events).some((event) => event.process.args.includes('late'))).toBe(true)
      expect(await left()).toEqual([])
    })
  })

  test('whose sensor and engine are killed goes on', async () => {
    await withRun(async ({ dir, run, parts, left }) => {
      await until('the record has begun', () => statSync(run.record).size > 0)
      await Promise.all([kill(parts.sensor), kill(parts.engine)])
      go(dir)
      expect(await run.result).toMatchObject({ exitCode: 5 })
      expect(gaps(readRecord(run.record)).length).toBeGreaterThan(0)
      expect(await left()).toEqual([])
    })
  })

  test('that is killed itself leaves the command running, where it came from, and unwatched', async () => {
    await withRun(async ({ dir, parts, traces, left }) => {
      await kill(parts.cli)
      await until('the cgroup is gone', () => !existsSync(traces.cgroup))
      expect(isAlive(parts.command)).toBe(true)
      expect(cgroupOf(parts.command)).toBe(cgroupOf(process.pid))
      await until('the roles are gone', () => !isAlive(parts.sensor) && !isAlive(parts.engine))
      go(dir)
      await until('the command has ended', () => existsSync(join(dir, 'done')) && !isAlive(parts.command))
      expect(await left()).toEqual([])
    })
  })

  test('of which all parts are killed at once is cleaned up by the next one', async () => {
    await withRun(async ({ dir, parts, traces, left }) => {
      const all = [parts.cli, parts.sensor, parts.engine]
      // Stopped first: a sensor that runs on for a moment may see its supervisor die, and give the command back.
      for (const pid of all) process.kill(pid, 'SIGSTOP')
      await until('all are stopped', () => all.every(isStopped))
      for (const pid of all) process.kill(pid, 'SIGKILL')
      await until('all are gone', () => !all.some(isAlive))
      expect(existsSync(traces.cgroup)).toBe(true)
      expect(cgroupOf(parts.command)).toMatch(/^\/sluice\//)
      expect((await sluiceRun(['true'])).exitCode).toBe(0)
      expect(existsSync(traces.cgroup)).toBe(false)
      expect(existsSync(traces.runDir)).toBe(false)
      expect(cgroupOf(parts.command)).toBe(cgroupOf(process.pid))
      go(dir)
      await until('the command has ended', () => existsSync(join(dir, 'done')) && !isAlive(parts.command))
      expect(await left()).toEqual([])
    })
  })

  test('whose launcher is killed while it waits runs nothing, and says so', async () => {
    await withTempDir(async (dir) => {
      const run = startSluice(['touch', join(dir, 'ran')], { dir })
      const launcher = await until('the launcher waits', () => launcherOf(run.child.pid ?? 0))
      process.kill(launcher, 'SIGKILL')
      const result = await run.result
      expect(result).toMatchObject({ exitCode: 137, signal: null, stdout: '' })
      expect(existsSync(join(dir, 'ran'))).toBe(false)
      expect(execs(readRecord(run.record))).toEqual([])
      // Nothing ran and nothing is missing: that is all there is to say.
      expect(result.stderr).toBe(
        "sluice: 'touch' was not started: the launcher ended while it waited (killed by SIGKILL)\n",
      )
    })
  })

  test.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('that is told to stop before it began runs nothing: %s', async (signal, exitCode) => {
    await withTempDir(async (dir) => {
      const run = startSluice(['touch', join(dir, 'ran')], { dir })
      const launcher = await until('the launcher waits', () => launcherOf(run.child.pid ?? 0))
      process.kill(run.child.pid ?? 0, signal)
      expect(await run.result).toMatchObject({ exitCode, signal: null, stdout: '' })
      expect(isAlive(launcher)).toBe(false)
      expect(existsSync(join(dir, 'ran'))).toBe(false)
    })
  })

  test('that is killed while its parts are starting takes them along', async () => {
    await withTempDir(async (dir) => {
      for (const delayMs of [0, 100]) {
        const run = startSluice(['true'], { dir })
        const cli = run.child.pid ?? 0
        const isRole = (pid: number) => commandLine(pid).includes('/main.js')
        await until('the parts are there', () => childrenOf(cli).filter(isRole).length === 2)
        await sleep(delayMs)
        const children = childrenOf(cli)
        process.kill(cli, 'SIGKILL')
        await run.result
        const began = performance.now()
        await until('they are gone', () => !children.some(isAlive))
        // The sensor waits for its engine no longer than a role may take to stop.
        expect(performance.now() - began, `after ${delayMs} ms`).toBeLessThan(STOPS_WITHIN_MS)
      }
    })
  })

  test('whose engine is killed before the sensor has met it gives up at once', async () => {
    await withTempDir(async (dir) => {
      const run = startSluice(['touch', join(dir, 'ran')], { dir })
      const engine = await until('the engine is there', () =>
        childrenOf(run.child.pid ?? 0).find((pid) => commandLine(pid).includes('/dist/engine/main.js')),
      )
      const began = performance.now()
      process.kill(engine, 'SIGKILL')
      const result = await run.result
      expect(result.exitCode).toBe(125)
      expect(result.stderr).toMatch(/^sluice: the engine ended /m)
      expect(performance.now() - began).toBeLessThan(GIVES_UP_WITHIN_MS)
      expect(existsSync(join(dir, 'ran'))).toBe(false)
    })
  })

  test('removes the proof’s cgroup of a sensor that was killed long ago, and no other', async () => {
    const [stale, fresh] = ['stale', 'fresh'].map((name) => join(cgroupMount() ?? '', `sluice-proof-test-${name}`))
    const paths = [stale ?? '', fresh ?? '']
    try {
      for (const path of paths) mkdirSync(path)
      const longAgo = Date.now() / 1000 - 120
      utimesSync(paths[0] ?? '', longAgo, longAgo)
      expect((await sluiceRun(['true'])).exitCode).toBe(0)
      expect(paths.map((path) => existsSync(path))).toEqual([false, true])
    } finally {
      for (const path of paths) if (existsSync(path)) rmdirSync(path)
    }
  })

  test('whose command leaves a process behind kills it, and counts it', async () => {
    await withTempDir(async (dir) => {
      const script = 'setsid sleep 60 & echo $! > left-pid; exit 0'
      const run = startSluice(['sh', '-c', script], { dir, cwd: dir })
      expect((await run.result).exitCode).toBe(0)
      const pid = Number(readFileSync(join(dir, 'left-pid'), 'utf8'))
      expect(isAlive(pid)).toBe(false)
      const events = readRecord(run.record)
      expectComplete(events)
      expect(events.at(-1)).toMatchObject({ sandboxEnded: { summary: { killedAtEnd: 1 } } })
    })
  })
})

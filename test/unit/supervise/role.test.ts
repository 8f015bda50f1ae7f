import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { STOP_DEADLINE_MS } from '../../../src/base/role-process.js'
import { type Role, startRole } from '../../../src/supervise/role.js'

const ROLES = new URL('../../support/roles/', import.meta.url)
const READY_DEADLINE_MS = 15_000
/** Long enough to be a process by then that has said so. */
const IN_START_MS = 3_000

// Some tests run at the same time, each with a directory of its own.
const directories: string[] = []
let journal: string
let started: Role[]

beforeEach(() => {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-role-'))
  directories.push(directory)
  journal = join(directory, 'journal')
  started = []
})

afterEach(async () => {
  for (const role of started) await role.stop()
})

afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true })
})

async function start(behave: string, options: { readyDeadlineMs?: number; signal?: AbortSignal } = {}): Promise<Role> {
  const main = new URL('role.mjs', ROLES)
  const config = { behave, journal }
  const role = await startRole({ name: 'engine', main, config, readyDeadlineMs: READY_DEADLINE_MS, ...options })
  started.push(role)
  return role
}

function journalLines(): string[] {
  return readFileSync(journal, 'utf8').trim().split('\n')
}

function startedAs(): { pid: number; env: Record<string, string>; cwd: string; config: unknown } {
  return JSON.parse(journalLines()[0]?.slice('start '.length) ?? '')
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function untilGone(pid: number, deadlineMs: number): Promise<void> {
  for (const start = performance.now(); isAlive(pid); await sleep(10)) {
    if (performance.now() - start > deadlineMs) throw new Error(`process ${pid} is still there after ${deadlineMs} ms`)
  }
}

describe('starting a role', () => {
  it('resolves when it is ready, and stopping it is in order', async () => {
    const role = await start('ready')
    expect(startedAs()).toMatchObject({ pid: role.pid, config: { behave: 'ready', journal } })
    await role.stop()
    expect(await role.exited).toEqual({ expected: true, detail: 'exit code 0', exitCode: 0 })
    expect(journalLines().slice(1)).toEqual(['stop'])
    expect(isAlive(role.pid)).toBe(false)
  })

  it('gives it nothing of our environment but a PATH, and no directory of ours', async () => {
    await start('ready')
    const { env, cwd } = startedAs()
    expect(Object.keys(env).filter((name) => !name.startsWith('NODE_CHANNEL_'))).toEqual(['PATH'])
    expect(cwd).toBe('/')
  })

  it('puts it into a session of its own', async () => {
    const role = await start('ready')
    const afterName = readFileSync(`/proc/${role.pid}/stat`, 'utf8').split(') ')[1] ?? ''
    expect(Number(afterName.split(' ')[3])).toBe(role.pid)
  })

  it.each([
    ['refuse', { code: 'KERNEL', message: 'the kernel lacks a hook', hint: 'use a newer one' }],
    ['break', { code: 'INTERNAL', message: 'x is not a function', hint: null }],
    ['exit', { code: 'INTERNAL', message: 'the engine ended before it was ready: exit code 9' }],
  ])('rejects with what stopped it: %s', async (behave, error) => {
    await expect(start(behave)).rejects.toMatchObject({ name: 'SluiceError', ...error })
    expect(isAlive(startedAs().pid)).toBe(false)
  })

  it('passes on that its config is not whole', async () => {
    const starting = startRole({
      name: 'engine',
      main: new URL('role.mjs', ROLES),
      config: {},
      readyDeadlineMs: READY_DEADLINE_MS,
    })
    await expect(starting).rejects.toMatchObject({ code: 'USAGE', message: 'behave is missing', hint: 'say how' })
  })

  it('says so when there is no such program', async () => {
    const main = new URL('none.mjs', ROLES)
    const starting = startRole({ name: 'sensor', main, config: {}, readyDeadlineMs: READY_DEADLINE_MS })
    await expect(starting).rejects.toMatchObject({ code: 'INTERNAL', hint: expect.stringMatching(/npm run build/) })
  })

  it('gives up at the deadline and leaves no process', async () => {
    await expect(start('hang-in-start', { readyDeadlineMs: IN_START_MS })).rejects.toMatchObject({ code: 'LIMIT' })
    expect(isAlive(startedAs().pid)).toBe(false)
  })

  it('gives up when told to, with the reason given', async () => {
    const reason = new Error('the other one failed')
    const giveUp = new AbortController()
    const starting = start('hang-in-start', { signal: giveUp.signal })
    setTimeout(() => giveUp.abort(reason), 300)
    await expect(starting).rejects.toBe(reason)
  })
})

describe('a role that goes by itself', () => {
  it('is reported as unexpected when it was killed', async () => {
    const role = await start('ready')
    process.kill(role.pid, 'SIGKILL')
    expect(await role.exited).toEqual({ expected: false, detail: 'killed by SIGKILL', exitCode: null })
    await role.stop()
  })

  it.each([
    ['fail-later', 'the engine is gone (exit code 1)'],
    ['crash-later', 'a bug (exit code 1)'],
  ])('says why, after it stopped in order: %s', async (behave, detail) => {
    const role = await start(behave)
    expect(await role.exited).toEqual({ expected: false, detail, exitCode: 1 })
    expect(journalLines().at(-1)).toBe('stop')
  })
})

describe('stopping a role', () => {
  it('is the same stop however often it is called', async () => {
    const role = await start('ready')
    await Promise.all([role.stop(), role.stop()])
    await role.stop()
    expect(journalLines().filter((line) => line === 'stop')).toHaveLength(1)
  })

  it('tells by the exit code that it went wrong', async () => {
    const role = await start('throw-in-stop')
    await role.stop()
    expect(await role.exited).toMatchObject({ expected: true, exitCode: 1 })
  })

  it.concurrent.each([
    ['hang-in-stop', { detail: 'exit code 1' }],
    ['block-in-stop', { detail: 'killed by SIGKILL' }],
  ])('ends within a bound what does not: %s', async (behave, exit) => {
    const main = new URL('role.mjs', ROLES)
    const role = await startRole({ name: 'engine', main, config: { behave }, readyDeadlineMs: READY_DEADLINE_MS })
    const start = performance.now()
    await role.stop()
    expect(performance.now() - start).toBeLessThan(STOP_DEADLINE_MS + 3_000)
    expect(await role.exited).toMatchObject({ expected: true, ...exit })
  })

  it('is not done by Ctrl-C or a closed terminal', async () => {
    const role = await start('ready')
    process.kill(role.pid, 'SIGINT')
    process.kill(role.pid, 'SIGHUP')
    await sleep(100)
    expect(isAlive(role.pid)).toBe(true)
  })
})

describe('without a supervisor', () => {
  it('a role stops in order when its supervisor is killed', async () => {
    const script = fileURLToPath(new URL('supervisor.mjs', ROLES))
    const config = JSON.stringify({ behave: 'ready', journal })
    const supervisor = spawn(process.execPath, [script, config], { stdio: ['ignore', 'pipe', 'inherit'] })
    const pid = Number(await new Promise<Buffer>((resolve) => supervisor.stdout.once('data', resolve)))
    expect(isAlive(pid)).toBe(true)
    supervisor.kill('SIGKILL')
    await untilGone(pid, 3_000)
    expect(journalLines().at(-1)).toBe('stop')
  })

  it('a role started by hand says what it is and ends', async () => {
    const script = fileURLToPath(new URL('role.mjs', ROLES))
    const child = spawn(process.execPath, [script], { stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.on('data', (chunk) => {
      said += chunk
    })
    const code = await new Promise((resolve) => child.once('close', resolve))
    expect(code).toBe(1)
    expect(said).toMatch(/fixture: this is a part of sluice/)
  })
})

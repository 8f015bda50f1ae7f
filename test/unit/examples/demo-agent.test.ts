/**
 * The demo agent keeps what its README promises: it goes through its steps and exits 0, leaves nothing behind, makes do without
 * the programs it would like, and uses no proxy. What Sluice sees of it is not tested here.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'

const AGENT = fileURLToPath(new URL('../../../examples/demo-agent/agent.mjs', import.meta.url))
const TEST_LIMIT_MS = 60_000
const SHELL_TOOLS = ['bash', 'sh', 'ls', 'cat', 'grep', 'wc']

let directory = ''

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-demo-test-'))
})

afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

function startAgent(args: string[], env: Record<string, string> = {}): ChildProcess {
  return spawn(process.execPath, [AGENT, ...args], {
    env: { PATH: process.env.PATH ?? '', ...env, TMPDIR: directory },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TEST_LIMIT_MS / 2,
  })
}

async function finish(child: ChildProcess): Promise<{ code: number | null; stdout: string; stderr: string }> {
  if (child.stdout === null || child.stderr === null) throw new Error('started without pipes')
  const [[code], stdout, stderr] = await Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)])
  return { code, stdout, stderr }
}

/** A PATH with nothing on it but those of `names` that this machine has. */
function pathOf(names: string[]): string {
  const bin = mkdtempSync(join(tmpdir(), 'sluice-demo-path-'))
  for (const name of names) {
    const places = (process.env.PATH ?? '').split(delimiter).map((dir) => join(dir, name))
    const found = places.find((place) => {
      try {
        accessSync(place, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
    if (found !== undefined) symlinkSync(found, join(bin, name))
  }
  return bin
}

test('goes through its steps, says that it is a script and leaves nothing behind', {
  timeout: TEST_LIMIT_MS,
}, async () => {
  const { code, stdout, stderr } = await finish(startAgent(['--fast']))
  expect(stderr).toBe('')
  expect(code).toBe(0)
  const narration = stdout.split('\n').filter((line) => line.startsWith('● '))
  expect(narration[0]).toContain('I am a script')
  expect(narration).toContain('● read the project')
  expect(narration).toContain('● run the tests again')
  expect(narration.at(-1)).toMatch(/^● done: \d+ steps, \d+ skipped; my workspace is removed$/)
  expect(stdout).toContain('not ok: total is 5, should be 14')
  expect(stdout).toContain('ok: quantities count')
  expect(narration).toContain('● try an address where nothing answers')
  expect(stdout).not.toContain('\x1b')
  expect(readdirSync(directory)).toEqual([])
})

test('skips the steps whose program is missing and says so', { timeout: TEST_LIMIT_MS }, async () => {
  const path = pathOf(SHELL_TOOLS)
  try {
    const { code, stdout, stderr } = await finish(startAgent(['--fast'], { PATH: path }))
    expect(stderr).toBe('')
    expect(code).toBe(0)
    for (const name of ['git', 'python3', 'curl']) expect(stdout).toContain(`skipped: ${name} not found on PATH`)
    expect(stdout).toContain('ok: quantities count')
  } finally {
    rmSync(path, { recursive: true, force: true })
  }
})

test('works with nothing on PATH and a home that is not there', { timeout: TEST_LIMIT_MS }, async () => {
  const env = { PATH: join(directory, 'none'), HOME: join(directory, 'none') }
  const { code, stderr } = await finish(startAgent(['--fast'], env))
  expect(stderr).toBe('')
  expect(code).toBe(0)
  expect(readdirSync(directory)).toEqual([])
})

test('uses no proxy, so nothing leaves loopback', { timeout: TEST_LIMIT_MS }, async () => {
  const proxy = 'http://127.0.0.1:1' // refuses: a request sent there fails
  const env = { http_proxy: proxy, HTTP_PROXY: proxy, all_proxy: proxy, NODE_USE_ENV_PROXY: '1' }
  const { code, stderr } = await finish(startAgent(['--fast'], env))
  expect(stderr).toBe('')
  expect(code).toBe(0)
})

test('removes its workspace when a signal stops it', { timeout: TEST_LIMIT_MS }, async () => {
  for (const [signal, expected] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    const child = startAgent([])
    child.stdout?.once('data', () => setTimeout(() => child.kill(signal), 400))
    const { code, stderr } = await finish(child)
    expect(stderr).toBe(`demo-agent: stopped by ${signal}\n`)
    expect(code).toBe(expected)
    expect(readdirSync(directory)).toEqual([])
  }
})

test('names the directory it cannot make a workspace in', { timeout: TEST_LIMIT_MS }, async () => {
  rmSync(directory, { recursive: true })
  const { code, stderr } = await finish(startAgent(['--fast']))
  expect(code).toBe(1)
  expect(stderr).toBe(
    `demo-agent: no workspace under ${directory} (ENOENT); set TMPDIR to a directory you may write to\n`,
  )
})

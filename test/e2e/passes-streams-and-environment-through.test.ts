/** What the command gets from `sluice run` besides its arguments: the same streams, environment, limits and signals as without it. */
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { expectComplete } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { SLUICE_BIN, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const QUIET = ['run', '--summary', 'none', '--']
const MEBIBYTE = 1024 * 1024

interface Bytes {
  code: number | null
  stdout: Buffer
  stderr: Buffer
}

async function bytesOf(command: string[], input: Buffer, env?: NodeJS.ProcessEnv): Promise<Bytes> {
  const child = spawn(SLUICE_BIN, [...QUIET, ...command], { stdio: 'pipe', ...(env === undefined ? {} : { env }) })
  const exited = once(child, 'exit')
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const [stdout, stderr, [code]] = await Promise.all([buffer(child.stdout), buffer(child.stderr), exited])
  return { code, stdout, stderr }
}

/** The same without us. */
function plain(script: string): string {
  return execFileSync('bash', ['-c', script], { encoding: 'utf8' })
}

describe.skipIf(skip)(`what the command gets ${reason}`, () => {
  test('stdin, stdout and stderr byte for byte, none mixed with the other or with ours', async () => {
    const input = randomBytes(MEBIBYTE)
    const both = 'import sys; b = sys.stdin.buffer.read(); sys.stdout.buffer.write(b); sys.stderr.buffer.write(b[::-1])'
    const { code, stdout, stderr } = await bytesOf(['/usr/bin/python3', '-c', both], input)
    expect(code).toBe(0)
    expect(stdout.equals(input)).toBe(true)
    expect(stderr.reverse().equals(input)).toBe(true)
  })

  test('an end of its stdout that it notices', async () => {
    const script = `${SLUICE_BIN} run -q -- sh -c 'yes; echo "yes: $?" >&2' | head -c 10`
    const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'pipe'] })
    const [stdout, stderr] = await Promise.all([buffer(child.stdout), buffer(child.stderr)])
    expect(stdout.toString()).toBe('y\ny\ny\ny\ny\n')
    expect(stderr.toString()).toMatch(/^yes: 141$/m)
  })

  test('no terminal where there is none', async () => {
    const { stdout } = await sluiceRun(['sh', '-c', 'for fd in 0 1 2; do test -t $fd && echo $fd; done; echo done'])
    expect(stdout).toBe('done')
  })

  test('every variable of the environment, and none of ours', async () => {
    const { PATH, SLUICE_JOURNAL } = process.env
    const env = { PATH, SLUICE_JOURNAL, EMPTY: '', LINES_IN_IT: 'a\nb', 'odd name': 'x', SLUICE_LOG_LEVEL: 'error' }
    const { stdout } = await bytesOf(['env', '-0'], Buffer.alloc(0), env)
    const given = stdout.toString().split('\0').filter(Boolean).sort()
    expect(given).toEqual(
      Object.entries(env)
        .map(([name, value]) => `${name}=${value}`)
        .sort(),
    )
  })

  test('libraries that it preloads, which the launcher does not: it is not watched yet, and root', async () => {
    await withTempDir(async (dir) => {
      chmodSync(dir, 0o755)
      const log = join(dir, 'log')
      writeFileSync(log, '')
      chmodSync(log, 0o666)
      const source = `
        #include <stdio.h>
        #include <errno.h>
        #include <unistd.h>
        __attribute__((constructor)) static void loaded(void) {
          FILE *log = fopen("${log}", "a");
          fprintf(log, "%s %d\\n", program_invocation_short_name, geteuid());
          fclose(log);
        }`
      const library = join(dir, 'loaded.so')
      execFileSync('gcc', ['-D_GNU_SOURCE', '-shared', '-fPIC', '-o', library, '-xc', '-'], { input: source })
      const env = { PATH: process.env.PATH, SLUICE_JOURNAL: process.env.SLUICE_JOURNAL, LD_PRELOAD: library }
      const child = spawn(SLUICE_BIN, ['run', '-q', '--user', 'nobody', '--', 'true'], { stdio: 'ignore', env })
      expect(await once(child, 'exit')).toEqual([0, null])
      const lines = readFileSync(log, 'utf8').trim().split('\n')
      expect(lines).toContain('true 65534')
      expect(lines.filter((line) => line.startsWith('launch'))).toEqual([])
    })
  })

  test('arguments as they were typed', async () => {
    const args = ['', ' ', 'a b', '-q', '--', '$HOME', '*', 'a\nb', 'üñî', '\u001b[31m', 'x'.repeat(100_000)]
    const { stdout } = await bytesOf(['printf', '%s\\0', ...args], Buffer.alloc(0))
    expect(stdout.toString().split('\0').slice(0, -1)).toEqual(args)
  })

  test('no descriptor of ours', async () => {
    const { stdout } = await sluiceRun(['sh', '-c', 'ls -1 /proc/$$/fd'])
    expect(stdout.split('\n')).toEqual(['0', '1', '2'])
  })

  test('our mask, directory, niceness and limits', async () => {
    const script = 'umask; pwd; nice; ulimit -c; ulimit -s; ulimit -u'
    const { stdout } = await sluiceRun(['bash', '-c', script])
    expect(`${stdout}\n`).toBe(plain(script))
  })

  test('the caller’s soft limit of open files, which Node raises for itself', () => {
    const script = `ulimit -Sn 1000; ${SLUICE_BIN} run -q -- sh -c 'ulimit -Sn; ulimit -Hn'; true`
    expect(plain(script)).toBe(plain('ulimit -Sn 1000; ulimit -Sn; ulimit -Hn'))
  })

  test('signals that nobody ignores or blocks', async () => {
    const { stdout } = await sluiceRun(['grep', '-E', '^Sig(Blk|Ign)', '/proc/self/status'])
    expect(stdout.split('\n').map((line) => line.split('\t')[1])).toEqual(['0000000000000000', '0000000000000000'])
  })

  test('--workdir, and the record tells it', async () => {
    const run = await sluiceRun(['pwd'], { options: ['--workdir', '/usr/lib'] })
    expect(run).toMatchObject({ exitCode: 0, stdout: '/usr/lib' })
    expectComplete(run.events)
    expect(run.events[0]).toMatchObject({ sandboxStarted: { workdir: '/usr/lib', command: ['pwd'] } })
    expect(run.events.find((event) => 'exec' in event)?.process?.cwd).toBe('/usr/lib')
  })

  test('nothing of ours with -q, a summary without it', async () => {
    const quiet = await bytesOf(['true'], Buffer.alloc(0))
    expect(quiet.stderr.toString()).toBe('')
    const loud = spawn(SLUICE_BIN, ['run', '--', 'true'], { stdio: ['ignore', 'pipe', 'pipe'] })
    const [stdout, stderr] = await Promise.all([buffer(loud.stdout), buffer(loud.stderr)])
    expect(stdout.toString()).toBe('')
    expect(stderr.toString()).toMatch(/^sluice: exit 0 after /)
  })
})

/** A 32-bit program, and a 64-bit one that calls by x32, are recorded like any other, whichever entry into the kernel they take. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { EventJson } from '../../src/proto/event-json.js'
import { compileC } from '../support/c-program.js'
import { execs, expectComplete, opens } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const ENOENT = 2
const ENOSYS = 38
const ECONNREFUSED = 111
const CLOSED_PORT = 9

function facts(events: EventJson[]): unknown[][] {
  return events.flatMap((event): unknown[][] => {
    if ('exec' in event) return [['exec', event.process?.exe, ...(event.process?.args ?? [])]]
    if ('fileOpen' in event) return [['open', event.fileOpen.path, event.fileOpen.created, event.fileOpen.resolved]]
    if ('execFailed' in event) return [['execFailed', event.execFailed.path, event.execFailed.errno]]
    if ('connect' in event && event.connect.via === 'CONNECT')
      return [['connect', event.connect.address, event.connect.port, event.connect.errno]]
    if (!('fileChange' in event)) return []
    const { op, path, newPath, errno } = event.fileChange
    return [[op, path, newPath, errno]]
  })
}

describe.skipIf(skip)(`a 32-bit program ${reason}`, () => {
  test.each(['int80', 'vsyscall'])('that calls by %s is recorded like a 64-bit one', async (entry) => {
    await withTempDir(async (dir) => {
      const program = compileC('compat32', dir)
      const work = join(dir, 'work')
      mkdirSync(work)
      const args = [entry, work, String(CLOSED_PORT)]
      const run = await sluiceRun([program, ...args])
      expect(run.exitCode, run.stderr).toBe(0)
      expectComplete(run.events)
      const path = (name: string) => join(work, name)
      const connect = ['connect', '127.0.0.1', CLOSED_PORT, ECONNREFUSED]
      // What the 64-bit program at the end opens is its own business.
      const last = ['exec', '/usr/bin/true', 'true', 'from-32-bit']
      const seen = facts(run.events)
      expect(seen.slice(0, seen.findIndex((fact) => fact[1] === last[1]) + 1)).toEqual([
        ['exec', program, program, ...args],
        ['open', path('old'), true, true],
        ['open', path('old'), false, true],
        ['open', path('old'), false, true],
        ['TRUNCATE', path('old'), '', 0],
        ['CHMOD', path('old'), '', 0],
        ['RENAME', path('old'), path('new'), 0],
        ['LINK', path('new'), path('link'), 0],
        ['SYMLINK', 'new', path('symlink'), 0],
        ['UNLINK', path('new'), '', 0],
        ['MKDIR', path('dir'), '', 0],
        ['RMDIR', path('dir'), '', 0],
        connect,
        connect,
        ['execFailed', path('none'), ENOENT],
        ['exec', program, 'compat32', ...args, 'odd \\xff\n bytes'],
        last,
      ])
    })
  })

  test('is known by its start: a 64-bit program, the 32-bit one it executes, and back, are one process', async () => {
    await withTempDir(async (dir) => {
      const program = compileC('compat32', dir)
      const run = await sluiceRun([
        'bash',
        '-c',
        `exec ${program} int80 ${dir} ${CLOSED_PORT} "$(head -c 40000 /dev/zero | tr '\\0' x)"`,
      ])
      expect(run.exitCode, run.stderr).toBe(0)
      const chain = execs(run.events).filter(({ process }) =>
        ['bash', 'compat32', 'true'].some((name) => process.exe.endsWith(name)),
      )
      expect(new Set(chain.map(({ process }) => process.pid)).size).toBe(1)
      expect(chain.map(({ process }) => process.argsTruncated)).toEqual([false, true, false])
      expect(chain[1]?.process.args.slice(0, 4)).toEqual([program, 'int80', dir, String(CLOSED_PORT)])
    })
  })
})

describe.skipIf(skip)(`a program that calls by x32 ${reason}`, () => {
  test('is recorded where the kernel has x32, and gets ENOSYS where it has not', async () => {
    await withTempDir(async (dir) => {
      const file = join(dir, 'file')
      writeFileSync(file, '')
      const run = await sluiceRun([compileC('x32', dir), file])
      expect(run.exitCode, run.stderr).toBe(0)
      expectComplete(run.events)
      expect(existsSync('/bin/none')).toBe(false)
      const results = run.stdout.trim().split(' ').map(Number)
      const found = opens(run.events).filter((event) => event.fileOpen.userPath === file)
      const failed = run.events.flatMap((event) => ('execFailed' in event ? [event.execFailed.errno] : []))
      // A call that there is not is a call that failed, and is recorded as such.
      if (results[0] === ENOSYS) expect(results).toEqual([ENOSYS, ENOSYS, ENOSYS])
      expect(found.map((event) => event.fileOpen.errno)).toEqual([results[0]])
      expect(failed).toEqual(results.slice(1))
    })
  })
})

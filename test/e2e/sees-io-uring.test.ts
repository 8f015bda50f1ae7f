/** What a command has io_uring do comes by no system call of its own. It must be recorded like the calls that it stands for, once each. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { compileC } from '../support/c-program.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const ENOENT = 2
const ECONNREFUSED = 111
const EINPROGRESS = 115
const ECANCELED = 125
const PORT = 9
const [PLAIN, LINKED, ASYNC, SKIP_SUCCESS] = [0, 4, 16, 64]
const SQPOLL = 2

type Run = Awaited<ReturnType<typeof sluiceRun>>

/** What was done in `folder` or by io_uring, as [what, of what, errno]. */
function seenOf(run: Run, folder: string): unknown[] {
  return run.events.flatMap((event): unknown[] => {
    if ('fileOpen' in event && event.fileOpen.userPath && /^(made|missing)$/.test(event.fileOpen.userPath))
      return [['open', event.fileOpen.path, event.fileOpen.access, event.fileOpen.errno]]
    if ('connect' in event && event.connect.via === 'URING')
      return [['connect', event.connect.protocol, event.connect.address, event.connect.port, event.connect.errno]]
    if ('listen' in event) return [['listen', event.listen.address, event.listen.port > 0, event.listen.errno]]
    if (!('fileChange' in event) || !`${event.fileChange.path}${event.fileChange.newPath}`.includes(folder)) return []
    const { op, path, newPath, errno } = event.fileChange
    return [[op, path, newPath, errno]]
  })
}

/** How many opens of the program's files there are, of how many paths, and with which results. */
function opensIn(run: Run, folder: string): { opens: number; paths: number; errnos: number[] } {
  const opens = run.events.flatMap((event) =>
    'fileOpen' in event && event.fileOpen.path.startsWith(`${folder}/none-`) ? [event.fileOpen] : [],
  )
  const sum = opens.reduce((all, { count }) => all + Number(count), 0)
  return {
    opens: sum,
    paths: new Set(opens.map(({ path }) => path)).size,
    errnos: [...new Set(opens.map(({ errno }) => errno))],
  }
}

describe.skipIf(skip)(`io_uring ${reason}`, () => {
  test.each([
    ['done at once', PLAIN, 0],
    ['done by a worker thread of the kernel', ASYNC, 0],
    ['taken by a polling thread of the kernel', PLAIN, SQPOLL],
  ])('%s is recorded like the calls', async (_how, flags, setup) => {
    await withTempDir(async (dir) => {
      const program = compileC('uring', dir)
      const run = await sluiceRun([program, 'all', dir, String(PORT), String(flags), String(setup)])
      expect(run.exitCode, run.stderr).toBe(0)
      const path = (name: string) => join(dir, name)
      expect(seenOf(run, dir)).toEqual([
        ['open', path('made'), 'WRITE', 0],
        ['open', path('missing'), 'READ', ENOENT],
        ['MKDIR', path('dir'), '', 0],
        ['RENAME', path('made'), path('renamed'), 0],
        ['LINK', path('renamed'), path('linked'), 0],
        ['SYMLINK', 'nowhere', path('symlink'), 0],
        ['UNLINK', path('renamed'), '', 0],
        ['RMDIR', path('dir'), '', 0],
        ['connect', 'TCP', '127.0.0.1', PORT, ECONNREFUSED],
        ['connect', 'UDP', '127.0.0.1', PORT, 0],
        ['listen', '127.0.0.1', true, 0],
      ])
    })
  })

  test('every one of 20,000 opens is recorded once, with its result', async () => {
    await withTempDir(async (dir) => {
      const run = await sluiceRun([compileC('uring', dir), 'many', dir, '20000'])
      expect(run.exitCode, run.stderr).toBe(0)
      expect(opensIn(run, dir)).toEqual({ opens: 20_000, paths: 20_000, errnos: [ENOENT] })
    })
  }, 60_000)

  // The kernel's tracepoint for ends stays silent where a ring has no room for a result, or where nobody wants to hear of a success.
  test.each([
    ['a ring without room for their results', PLAIN, [ENOENT, EINPROGRESS]],
    ['links that end with the first that fails', LINKED, [ENOENT, ECANCELED, EINPROGRESS]],
    ['no word of success wanted', SKIP_SUCCESS, [EINPROGRESS]],
  ])('%s: each is recorded once all the same', async (_how, flags, known) => {
    await withTempDir(async (dir) => {
      const run = await sluiceRun([compileC('uring', dir), 'full', dir, '1000', String(flags)])
      expect(run.exitCode, run.stderr).toBe(0)
      const { errnos, ...counts } = opensIn(run, dir)
      expect(counts).toEqual({ opens: 1000, paths: 1000 })
      expect(known).toEqual(expect.arrayContaining(errnos))
    })
  })
})

/** A 64-bit process can call through the 32-bit entry (int 0x80), with other numbers and registers. That must not hide what it does. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { compileC } from '../support/c-program.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const ENOENT = 2
const ECONNREFUSED = 111
const CLOSED_PORT = 9

describe.skipIf(skip)(`calls by int 0x80 ${reason}`, () => {
  test('are recorded like their 64-bit twins', async () => {
    await withTempDir(async (dir) => {
      const program = compileC('int80', dir)
      const run = await sluiceRun([program, dir, String(CLOSED_PORT)])
      expect(run.exitCode, run.stderr).toBe(0)
      expect(run.stdout).toBe(`${ECONNREFUSED} ${ECONNREFUSED}`)
      const path = (name: string) => join(dir, name)
      const seen = run.events.flatMap((event): unknown[] => {
        if ('fileOpen' in event && event.fileOpen.created) return [['open', event.fileOpen.path, event.fileOpen.access]]
        if ('execFailed' in event) return [['execFailed', event.execFailed.path, event.execFailed.errno]]
        if ('connect' in event && event.connect.via === 'CONNECT')
          return [['connect', event.connect.address, event.connect.port, event.connect.errno]]
        if (!('fileChange' in event)) return []
        const { op, path, newPath, errno } = event.fileChange
        return [[op, path, newPath, errno]]
      })
      expect(seen).toEqual([
        ['open', path('old'), 'WRITE'],
        ['RENAME', path('old'), path('new'), 0],
        ['UNLINK', path('new'), '', 0],
        ['MKDIR', path('dir'), '', 0],
        ['RMDIR', path('dir'), '', 0],
        ['execFailed', path('dir'), ENOENT],
        ['connect', '127.0.0.1', CLOSED_PORT, ECONNREFUSED],
        ['connect', '127.0.0.1', CLOSED_PORT, ECONNREFUSED],
      ])
    })
  })
})

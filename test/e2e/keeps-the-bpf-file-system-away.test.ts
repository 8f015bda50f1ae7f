/** What we pin must be out of reach of a command that runs as root: its map of who is whose would be its way out. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { launchNow } from '../support/launcher.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const EPERM = 1

/** A BPF file system of the test's own, with one folder in it. */
async function withBpffs(body: (dir: string) => Promise<void>): Promise<void> {
  await withTempDir(async (parent) => {
    const dir = join(parent, 'with space')
    mkdirSync(dir)
    execFileSync('mount', ['-t', 'bpf', 'bpf', dir])
    try {
      mkdirSync(join(dir, 'pins'))
      await body(dir)
    } finally {
      execFileSync('umount', [dir])
    }
  })
}

describe.skipIf(skip)(`a BPF file system ${reason}`, () => {
  test.each([
    ['is empty', 'ls "$0"; exit 0', ''],
    ['takes nothing', 'mkdir "$0/mine" 2>/dev/null || echo refused', 'refused'],
    ['can’t be uncovered', 'umount "$0" 2>/dev/null || echo refused', 'refused'],
    ['can’t be covered by a new one', 'mount -t bpf bpf "$0" 2>/dev/null || echo refused', 'refused'],
    ['can’t be uncovered in a user namespace', 'unshare -rm umount "$0" 2>/dev/null || echo refused', 'refused'],
    ['can’t be reached by another process', 'ls "/proc/1/root$0" 2>/dev/null || echo refused', 'refused'],
  ])('%s for a command that runs as root', async (_, script, said) => {
    await withBpffs(async (dir) => {
      const run = await sluiceRun(['sh', '-c', script, dir], { options: ['--user', 'root'] })
      expect(run).toMatchObject({ exitCode: 0, stdout: said })
    })
  })

  test('is still there for everybody else', async () => {
    await withBpffs(async (dir) => {
      await sluiceRun(['true'], { options: ['--user', 'root'] })
      expect(readdirSync(dir)).toContain('pins')
    })
  })

  test('that can’t be hidden means that nothing is run', async () => {
    await withBpffs(async (dir) => {
      const result = await launchNow({ uid: 65_534, options: ['--hide', dir], command: ['echo', 'ran'] })
      expect(result).toMatchObject({ code: 125, stdout: '', status: `hide ${EPERM}\n` })
    })
  })

  test('that is gone by then hides nothing', async () => {
    await withTempDir(async (dir) => {
      const result = await launchNow({ options: ['--hide', join(dir, 'none')], command: ['echo', 'ran'] })
      expect(result).toMatchObject({ code: 0, stdout: 'ran\n' })
    })
  })
})

/** A record that somebody else wrote to, cut or replaced is not passed off as whole; the exit code stays the command's. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { describe, expect, test } from 'vitest'
import { privileged } from '../support/privileged.js'
import { untilHolds, untilThere } from '../support/shell-loops.js'
import { startSluice, until } from '../support/sluice-process.js'
import { SLUICE_BIN, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const CHANGED = /^sluice: --record \S+: was changed or replaced by somebody else while the run wrote it; /m

describe.skipIf(skip)(`a record ${reason}`, () => {
  test.each([
    { name: 'cut', script: ': >r' },
    { name: 'replaced', script: 'cp r r2; mv r2 r' },
    { name: 'removed', script: 'rm r' },
  ])('that its own command has $name', async ({ script }) => {
    await withTempDir(async (dir) => {
      const args = [
        'run',
        '--record',
        'r',
        '--summary',
        'none',
        '--',
        'sh',
        '-c',
        `${untilHolds('[ -s r ]')}; ${script}; exit 5`,
      ]
      const result = await execa(SLUICE_BIN, args, { cwd: dir, reject: false, stdin: 'ignore' })
      expect(result.exitCode).toBe(5)
      expect(result.stderr).toMatch(CHANGED)
    })
  })

  test('that two runs write to is reported by both', async () => {
    await withTempDir(async (dir) => {
      const wait = `${untilThere('go')}; exit 5`
      const one = startSluice(['sh', '-c', wait], { dir, cwd: dir })
      await until('it runs', () => one.child.stdout !== null)
      await one.running()
      const args = ['run', '--record', one.record, '--summary', 'none', '--', 'sh', '-c', `touch go; sleep 0.3; exit 6`]
      const two = await execa(SLUICE_BIN, args, { cwd: dir, reject: false, stdin: 'ignore' })
      const first = await one.result
      expect([first.exitCode, two.exitCode]).toEqual([5, 6])
      expect(first.stderr).toMatch(CHANGED)
      expect(two.stderr).toMatch(CHANGED)
    })
  })

  test('that a program reads meanwhile is not', async () => {
    await withTempDir(async (dir) => {
      const args = ['run', '--record', 'r', '--summary', 'none', '--', 'sh', '-c', 'cat r; ln r r2; exit 5']
      const result = await execa(SLUICE_BIN, args, { cwd: dir, reject: false, stdin: 'ignore' })
      expect(result).toMatchObject({ exitCode: 5, stderr: '' })
      writeFileSync(join(dir, 'r2'), '')
    })
  })
})

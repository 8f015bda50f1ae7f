/** A directory that has been deleted is where a shell may well stand: what needs one says so in a sentence, all else works. */
import { join } from 'node:path'
import { execa } from 'execa'
import { describe, expect, test } from 'vitest'
import { expectComplete } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { readRecord, SLUICE_BIN, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')

/** With `dir` as $1. */
async function fromNowhere(dir: string, args: string[]) {
  const script = 'mkdir "$1/gone" && cd "$1/gone" && rmdir "$1/gone" && shift && exec "$@"'
  return execa('sh', ['-c', script, 'sh', dir, SLUICE_BIN, ...args], { reject: false, stdin: 'ignore' })
}

describe.skipIf(skip)(`in a directory that is gone ${reason}`, () => {
  test('run says so', async () => {
    await withTempDir(async (dir) => {
      const result = await fromNowhere(dir, ['run', '-q', '--', 'true'])
      expect(result).toMatchObject({ exitCode: 125, stdout: '' })
      expect(result.stderr).toBe(
        'sluice: the directory you are in does not exist any more; go to another one, or name one with --workdir',
      )
    })
  })

  test('run runs somewhere else, and events and doctor work', async () => {
    await withTempDir(async (dir) => {
      const record = join(dir, 'record.jsonl')
      const options = ['-q', '--workdir', '/usr', '--record', record]
      const run = await fromNowhere(dir, ['run', ...options, '--', 'pwd'])
      expect(run).toMatchObject({ exitCode: 0, stdout: '/usr', stderr: '' })
      expectComplete(readRecord(record))
      const events = await fromNowhere(dir, ['events', record])
      expect(events).toMatchObject({ exitCode: 0, stderr: '' })
      expect(events.stdout).toContain(' pwd')
      const doctor = await fromNowhere(dir, ['doctor'])
      expect(doctor.stderr).toBe('')
      expect(doctor.stdout).toMatch(/programs +\d+ of \d+ load and attach/)
    })
  })
})

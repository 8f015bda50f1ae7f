/** Several runs at a time, side by side and one in the other. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { describe, expect, test } from 'vitest'
import { execs, expectComplete } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { untilThere } from '../support/shell-loops.js'
import { isAlive, startSluice } from '../support/sluice-process.js'
import { readRecord, SLUICE_BIN, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')

describe.skipIf(skip)(`two runs ${reason}`, () => {
  test('side by side have each its own processes, and none of the other’s', async () => {
    await withTempDir(async (dir) => {
      const script = (mark: string) => `for i in 1 2 3 4 5 6; do /bin/true ${mark}; sleep 0.1; done`
      const [one, two] = [
        startSluice(['sh', '-c', script('one')], { dir }),
        startSluice(['sh', '-c', script('two')], { dir }),
      ]
      await Promise.all([one.running(), two.running()])
      await Promise.all([one.result, two.result])
      for (const [run, mine, other] of [
        [one, 'one', 'two'],
        [two, 'two', 'one'],
      ] as const) {
        const events = readRecord(run.record)
        expectComplete(events)
        const marked = (mark: string) => execs(events).filter((event) => event.process.args[1] === mark).length
        expect([marked(mine), marked(other)]).toEqual([6, 0])
      }
      const [first, second] = [readRecord(one.record)[0], readRecord(two.record)[0]]
      expect(first?.sessionId).not.toBe(second?.sessionId)
      expect(first?.sandbox.cgroupId).not.toBe(second?.sandbox.cgroupId)
    })
  })

  test('one of which ends does not take the other’s cgroup along', async () => {
    await withTempDir(async (dir) => {
      const script = `${untilThere('go')}; /bin/true late; exit 6`
      const long = startSluice(['sh', '-c', script], { dir, cwd: dir })
      const { command, sensor } = await long.running()
      expect((await sluiceRun(['true'])).exitCode).toBe(0)
      expect(isAlive(command) && isAlive(sensor)).toBe(true)
      writeFileSync(join(dir, 'go'), '')
      expect((await long.result).exitCode).toBe(6)
      const events = readRecord(long.record)
      expectComplete(events)
      expect(execs(events).some((event) => event.process.args.includes('late'))).toBe(true)
    })
  })

  test('one in the other: the inner says what it lacks, and the outer has seen all of it', async () => {
    await withTempDir(async (dir) => {
      const inner = [SLUICE_BIN, 'run', '--record', join(dir, 'inner.jsonl'), '--', 'echo', 'inner ran']
      const run = await sluiceRun(inner)
      expect(run.exitCode).toBe(125)
      expect(run.stdout).toBe('')
      expect(run.stderr).toMatch(/^sluice: /m)
      expectComplete(run.events)
      expect(execs(run.events).some((event) => event.process.exe.endsWith('/launch'))).toBe(true)
      expect(
        execs(run.events).some(
          (event) => event.process.args.includes('inner ran') && event.process.exe.endsWith('echo'),
        ),
      ).toBe(false)
    })
  })

  test('with the same record: the second one has it', async () => {
    await withTempDir(async (dir) => {
      const record = join(dir, 'record.jsonl')
      for (const word of ['first', 'second']) {
        await execa(SLUICE_BIN, ['run', '-q', '--record', record, '--', '/bin/true', word])
      }
      const events = readRecord(record)
      expectComplete(events)
      expect(execs(events).map((event) => event.process.args[1])).toEqual(['second'])
    })
  })
})

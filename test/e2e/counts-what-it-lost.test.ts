/** A storm is either in the record or in its gaps, to the last event. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { compileC } from '../support/c-program.js'
import { execs, exits, expectGapless, lost, opens } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const OPENS = 20_000
const EXECS = 2_000
const FORKS = 2_000

describe.skipIf(skip)(`a storm ${reason}`, () => {
  test.each(['opens', 'writes'])(`of ${OPENS} %s is received or counted`, async (word) => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      const calm = await sluiceRun([storm, word, '0'])
      expect(lost(calm.events, 'fileOpen')).toBe(0)
      const run = await sluiceRun([storm, word, String(OPENS)])
      expect(run.exitCode).toBe(0)
      expectGapless(run.events)
      const all = opens(run.events).length + lost(run.events, 'fileOpen')
      expect(all).toBe(opens(calm.events).length + OPENS)
      expect(execs(run.events).length).toBe(1)
    })
  })

  test(`of ${EXECS} programs is received or counted, with the end of each`, async () => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      const run = await sluiceRun([storm, 'execs', String(EXECS)])
      expect(run.exitCode).toBe(0)
      expectGapless(run.events)
      expect(execs(run.events).length + lost(run.events, 'exec')).toBe(EXECS + 1)
      expect(exits(run.events).length + lost(run.events, 'exit')).toBe(EXECS + 1)
      if (lost(run.events, 'fork') === 0) {
        expect(run.events.at(-1)).toMatchObject({ sandboxEnded: { summary: { processes: String(EXECS + 1) } } })
      }
    })
  })

  test(`of ${FORKS} forks that run nothing is told by their ends`, async () => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      const run = await sluiceRun([storm, 'forks', String(FORKS)])
      expect(exits(run.events).length + lost(run.events, 'exit')).toBe(FORKS + 1)
      expect(execs(run.events).length).toBe(1)
      const [first] = execs(run.events)
      const children = exits(run.events).filter((event) => event.process.ppid === first?.process.pid)
      expect(new Set(children.map((event) => event.process.parentExecId))).toEqual(new Set([first?.process.execId]))
    })
  })

  test('on two CPUs at a time is received or counted', async () => {
    await withTempDir(async (dir) => {
      compileC('storm', dir)
      const script = 'for i in 1 2 3 4; do ./storm writes 4000 & done; wait'
      const run = await sluiceRun(['sh', '-c', script], { cwd: dir })
      const baseline = opens((await sluiceRun(['sh', '-c', script.replace('4000', '0')], { cwd: dir })).events).length
      expect(opens(run.events).length + lost(run.events, 'fileOpen')).toBe(baseline + 4 * 4000)
      const times = run.events.map((event) => event.time)
      expect(times).toEqual([...times].sort())
      expect(execFileSync('sh', ['-c', 'ls'], { cwd: dir, encoding: 'utf8' })).toBe('storm\n')
      expect(run.events[0]?.sandbox.cgroupPath.startsWith(join('/', 'sluice'))).toBe(true)
    })
  })
})

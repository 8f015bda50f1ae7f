/**
 * A million opens, with forks and connects beside them, as fast as the machine can: all of each kind is in the record or in its gaps,
 * whether the engine runs all the time or stands still for a part of it.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { compileC } from '../support/c-program.js'
import { privileged } from '../support/privileged.js'
import { countRecord, type RecordCounts } from '../support/record-counts.js'
import { startSluice } from '../support/sluice-process.js'
import { withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const OPENS = 1_000_000
const CONNECTS = 50_000
const FORKS = 5_000

/** What happened of a kind, as far as the record can say. */
function told({ events, lost }: RecordCounts, kind: 'fileOpen' | 'connect' | 'exit' | 'exec'): number {
  return (events[kind] ?? 0) + (lost[kind] ?? 0)
}

/** Long enough for both rings to fill, and for all that may be underway. */
const STILL_MS = 1_500

describe.skipIf(skip)(`a great storm ${reason}`, () => {
  test.each([
    { during: 'while the engine runs', stillMs: 0 },
    { during: 'while the engine stands still for a time', stillMs: STILL_MS },
  ])('$during is received or counted, exactly and by kind', async ({ stillMs }) => {
    await withTempDir(async (dir) => {
      compileC('storm', dir)
      const storm = async (opens: number, connects: number, forks: number) => {
        const folder = join(dir, String(opens))
        mkdirSync(folder)
        const script = `../storm writes ${opens} & ../storm connects ${connects} & ../storm forks ${forks} & wait`
        const sluice = startSluice(['sh', '-c', script], { dir: folder, cwd: folder })
        if (stillMs > 0 && opens > 0) {
          const { engine } = await sluice.running()
          process.kill(engine, 'SIGSTOP')
          await sleep(stillMs)
          process.kill(engine, 'SIGCONT')
        }
        const { exitCode, stderr } = await sluice.result
        expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
        return countRecord(sluice.record)
      }
      const calm = await storm(0, 0, 0)
      expect(calm.lost).toEqual({})
      const record = await storm(OPENS, CONNECTS, FORKS)
      expect(told(record, 'fileOpen')).toBe(told(calm, 'fileOpen') + OPENS)
      // Each has a socket of its own, which is an event of this kind as well.
      expect(told(record, 'connect')).toBe(told(calm, 'connect') + 2 * CONNECTS)
      expect(told(record, 'exit')).toBe(told(calm, 'exit') + FORKS)
      expect(told(record, 'exec')).toBe(told(calm, 'exec'))
      expect(record.holes).toBe(0)
      expect(record.allExact).toBe(true)
      // The kinds that tell who did something have a ring of their own.
      expect(record.lost).not.toHaveProperty('exec')
    })
  })
})

/**
 * kill -9 of the engine while the command does as much as it can: everything is in the record once, under the numbers and uids that it
 * would have had, as far as the rings held it.
 */
import { statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { programLookup } from '../support/bpf-programs.js'
import { compileC } from '../support/c-program.js'
import { execs, exits, expectGapless, gaps, lost, opens } from '../support/events.js'
import { sealedJournal } from '../support/journal-of.js'
import { privileged } from '../support/privileged.js'
import { childrenOf, commandLine, remains, startSluice, tracesOf, until } from '../support/sluice-process.js'
import { readRecord, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const EXECS = 600
const OPENS = 60_000

async function killedInTheMiddle(dir: string, command: string[], kills: number) {
  const run = startSluice(command, { dir })
  const parts = await run.running()
  const traces = tracesOf(parts)
  const engines: number[] = []
  for (let n = 0; n < kills; n += 1) {
    const before = statSync(run.record).size
    await until('the record grows', () => statSync(run.record).size > before)
    const engine = await until('there is an engine', () =>
      childrenOf(parts.cli).find((pid) => commandLine(pid).includes('/dist/engine/main.js') && !engines.includes(pid)),
    )
    engines.push(engine)
    await sleep(50 * n)
    process.kill(engine, 'SIGKILL')
  }
  const result = await run.result
  const events = readRecord(run.record)
  // The journal lost nothing that the record has, and says of each engine what it left half written.
  const journal = sealedJournal(events[0]?.sessionId ?? '').events.filter(({ source }) => source !== 'journal')
  expect(journal).toEqual(events)
  return { result, events, left: () => remains(traces, [...engines, ...Object.values(parts)], programLookup(dir)) }
}

describe.skipIf(skip)(`a run whose engine is killed at load ${reason}`, () => {
  test('has every program once, with its end', async () => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      const { result, events, left } = await killedInTheMiddle(dir, [storm, 'execs', String(EXECS)], 2)
      expect(result.exitCode).toBe(0)
      expect(result.stderr).toContain('sluice: the engine died and was started again')
      expectGapless(events)
      expect(new Set(events.map(({ uid }) => uid)).size).toBe(events.length)
      expect(execs(events).length + lost(events, 'exec')).toBe(EXECS + 1)
      expect(exits(events).length + lost(events, 'exit')).toBe(EXECS + 1)
      expect(events.at(-1)).toMatchObject({ sandboxEnded: { summary: { events: String(events.length) } } })
      await until('nothing is left', () => left().length === 0)
    })
  })

  test('has every open, or counts it', async () => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      const calm = await sluiceRun([storm, 'opens', '0'])
      const { events, result } = await killedInTheMiddle(dir, [storm, 'opens', String(OPENS)], 1)
      expect(result.exitCode).toBe(0)
      expectGapless(events)
      expect(new Set(events.map(({ uid }) => uid)).size).toBe(events.length)
      expect(gaps(events).filter((event) => !event.gap.exact)).toEqual([])
      expect(opens(events).length + lost(events, 'fileOpen')).toBe(opens(calm.events).length + OPENS)
    })
  })
})

/**
 * Several sandboxes of one agent, and some of them do more than can be told: who is quiet meanwhile loses nothing and has nothing of it in
 * its record, and who storms is told exactly what it lost. The rings fill because the sensor stands still for a time.
 */
import { execFileSync } from 'node:child_process'
import { closeSync, constants, existsSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EventJson } from '../../src/proto/event-json.js'
import { startTestAgent, type TestAgent } from '../support/agent-process.js'
import { compileC } from '../support/c-program.js'
import { execs, expectComplete, opens } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { countRecord, type RecordCounts } from '../support/record-counts.js'
import { type SluiceProcess, startSluice, until } from '../support/sluice-process.js'
import { readRecord, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
/** More than the rings hold. */
const OPENS = 150_000
const CONNECTS = 20_000
const FORKS = 2_000
const QUIET_ROUNDS = 20

describe.skipIf(skip)(`a storm in one of several sandboxes ${reason}`, () => {
  let agent: TestAgent
  beforeAll(async () => {
    agent = await startTestAgent()
  })
  afterAll(async () => {
    await agent?.stop()
  })

  /** Runs that wait for a line from a pipe, each in a folder of its own, with equally long paths. */
  async function waiting(dir: string, scripts: readonly string[]): Promise<{ run: SluiceProcess; go: number }[]> {
    return await Promise.all(
      scripts.map(async (script, index) => {
        const cwd = join(dir, `run${index}`)
        const pipe = join(cwd, 'go')
        mkdirSync(cwd)
        execFileSync('mkfifo', [pipe])
        const options = ['--socket', agent.socket]
        const run = startSluice(['sh', '-c', `read go < go; ${script}; touch done`], { dir, cwd, options })
        return { run, go: await until('the command waits', () => openIfRead(pipe)) }
      }),
    )
  }

  /** All of it happens while the sensor stands still. */
  async function together(scripts: readonly string[]) {
    return await withTempDir(async (dir) => {
      compileC('storm', dir)
      const runs = await waiting(dir, scripts)
      const { sensor } = agent.pids()
      process.kill(sensor, 'SIGSTOP')
      try {
        for (const { go } of runs) writeSync(go, '\n')
        for (const index of runs.keys())
          await until('it has happened', () => existsSync(join(dir, `run${index}`, 'done')))
      } finally {
        process.kill(sensor, 'SIGCONT')
        for (const { go } of runs) closeSync(go)
      }
      for (const { run } of runs) expect(await run.result).toMatchObject({ exitCode: 0, stderr: '' })
      return await Promise.all(
        runs.map(async ({ run: { record } }) => ({ counts: await countRecord(record), events: readRecord(record) })),
      )
    })
  }

  const script = ({ opens, connects, forks }: typeof STORM) =>
    `../storm writes ${opens}; ../storm connects ${connects}; ../storm forks ${forks}`
  const STORM = { opens: OPENS, connects: CONNECTS, forks: FORKS }
  const CALM = { opens: 0, connects: 0, forks: 0 }

  const quietly = `for i in $(seq ${QUIET_ROUNDS}); do ../storm writes 3; sleep 0.05; done`

  function expectQuiet(events: EventJson[]): void {
    expectComplete(events)
    const rounds = execs(events).filter((event) => event.process.exe.endsWith('/storm'))
    expect(rounds.length).toBe(QUIET_ROUNDS)
    const written = opens(events).filter((event) => event.fileOpen.userPath === '/dev/null')
    expect(written.length).toBe(3 * QUIET_ROUNDS)
  }

  function expectExact(storm: RecordCounts, calm: RecordCounts): void {
    expect(storm.allExact).toBe(true)
    expect(storm.holes).toBe(0)
    expect(storm.lost.fileOpen).toBeGreaterThan(OPENS / 2)
    expect(told(storm, 'fileOpen')).toBe(told(calm, 'fileOpen') + OPENS)
    expect(told(storm, 'connect')).toBe(told(calm, 'connect') + 2 * CONNECTS)
    expect(told(storm, 'exit')).toBe(told(calm, 'exit') + FORKS)
    expect(told(storm, 'exec')).toBe(told(calm, 'exec'))
  }

  test('is told in its own record alone, exactly, and the quiet one has everything', async () => {
    const [calm] = await together([script(CALM)])
    const [loud, quiet] = await together([script(STORM), quietly])
    if (calm === undefined || loud === undefined || quiet === undefined) throw new Error('it ran')
    expectComplete(calm.events)
    expectExact(loud.counts, calm.counts)
    expectQuiet(quiet.events)
  })

  test('that ends with its sandbox in the middle is told to its last loss, and to nobody else', async () => {
    const [cut, quiet] = await together(['../storm writes 100000000 & sleep 0.5; kill -9 $!', quietly])
    if (cut === undefined || quiet === undefined) throw new Error('it ran')
    expect(cut.counts).toMatchObject({ allExact: true, holes: 0 })
    expect(Object.keys(cut.counts.lost)).toEqual(['fileOpen'])
    const lost = BigInt(cut.counts.lost.fileOpen ?? 0)
    expect(lost).toBeGreaterThan(0n)
    expect(cut.events.at(-1)).toMatchObject({ sandboxEnded: { summary: { complete: false, lost: String(lost) } } })
    expectQuiet(quiet.events)
  })

  test('beside another one is told exactly in each', async () => {
    const [calm, ...other] = await together([script(CALM), script(CALM)])
    const both = await together([script(STORM), script(STORM)])
    if (calm === undefined) throw new Error('it ran')
    for (const { events } of [calm, ...other]) expectComplete(events)
    for (const { counts } of both) expectExact(counts, calm.counts)
  })
})

/** Null while nobody has opened the pipe to read. */
function openIfRead(pipe: string): number | null {
  try {
    return openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK)
  } catch {
    return null
  }
}

/** What happened of a kind, as far as the record can say. */
function told({ events, lost }: RecordCounts, kind: 'fileOpen' | 'connect' | 'exit' | 'exec'): number {
  return (events[kind] ?? 0) + (lost[kind] ?? 0)
}

/**
 * kill -9 of an agent's engine and of its sensor while a command does as much as it can: the run goes on, and every event is there once or
 * is counted as missing, exactly where that can be known.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { EventJson, EventKind } from '../../src/proto/event-json.js'
import { startTestAgent, type TestAgent } from '../support/agent-process.js'
import { compileC } from '../support/c-program.js'
import { execs, exits, gaps, happened, lost, opens } from '../support/events.js'
import { KILLED, killedInTheMiddle, type Part } from '../support/hurt-agent.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const EXECS = 600
/** All that came meanwhile comes at once; some 130,000 may wait for one reader. */
const WRITES = 100_000
/** Both rings at full speed, at once and for some seconds; between two bursts there is time to write down what one was. */
const BURSTS = 8
const STORMS = { writes: 8_000, opens: 8_000, connects: 500, execs: 60, forks: 30 }

describe.skipIf(skip)(`an agent whose parts are killed ${reason}`, () => {
  let agent: TestAgent
  beforeEach(async () => {
    agent = await startTestAgent()
  })
  afterEach(async () => {
    await agent?.stop()
  })
  const through = () => ['--socket', agent.socket]

  const killed = (dir: string, command: string[], kills: readonly (readonly Part[])[]) =>
    killedInTheMiddle(agent, { dir, command, kills })

  test.each(KILLED)('has every program once, with its end, or counts it: %s', async (...parts) => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      const { result, events } = await killed(dir, [storm, 'execs', String(EXECS)], [parts, parts])
      expect(result).toMatchObject({ exitCode: 0 })
      expect(gaps(events).filter((event) => !event.gap.exact)).toEqual([])
      expect(execs(events).length + lost(events, 'exec')).toBe(EXECS + 1)
      expect(exits(events).length + lost(events, 'exit')).toBe(EXECS + 1)
    })
  })

  /** BURSTS of all of `storms` at once. */
  function bursts(dir: string, storms: Record<string, number>): string[] {
    const storm = compileC('storm', dir)
    const all = Object.entries(storms).map(([what, count]) => `"$0" ${what} ${count} &`)
    return ['sh', '-c', `i=0; while [ $i -lt ${BURSTS} ]; do ${all.join(' ')} wait; sleep 0.5; i=$((i+1)); done`, storm]
  }

  let calm: EventJson[] | null = null
  /** The same with nothing but programs that start, and nobody killed: what the programs themselves do. Once for all. */
  async function calmBursts(dir: string): Promise<EventJson[]> {
    const none = { writes: 0, opens: 0, connects: 0, forks: 0 }
    calm ??= (await sluiceRun(bursts(dir, { ...none, execs: STORMS.execs }), { options: through() })).events
    return calm
  }

  test.each(KILLED.map((parts) => [parts] as const))(
    'has all that storms on both rings did, by kind, or counts it: %s killed three times',
    async (parts) => {
      await withTempDir(async (dir) => {
        const { writes, opens, connects, execs, forks } = STORMS
        // A program that starts opens files, too; a connect is told with its socket.
        const calm = await calmBursts(dir)
        const { events, result } = await killed(dir, bursts(dir, STORMS), [parts, parts, parts])
        expect(result).toMatchObject({ exitCode: 0 })
        expect(gaps(events).filter((event) => !event.gap.exact)).toEqual([])
        const all = (of: EventJson[], kind: EventKind) => happened(of, kind) + lost(of, kind)
        const more = { fileOpen: writes + opens, connect: 2 * connects, exec: 0, exit: forks }
        for (const kind of ['fileOpen', 'connect', 'exec', 'exit'] as const) {
          expect({ [kind]: all(events, kind) }).toEqual({ [kind]: all(calm, kind) + BURSTS * more[kind] })
        }
        expect(all(calm, 'exec')).toBe(1 + BURSTS * (Object.keys(STORMS).length + execs) + BURSTS)
      })
    },
  )

  test.each(KILLED)('has every open, or counts it: %s', async (...parts) => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      const calm = await sluiceRun([storm, 'writes', '0'], { options: through() })
      const { events, result } = await killed(dir, [storm, 'writes', String(WRITES)], [parts])
      expect(result).toMatchObject({ exitCode: 0 })
      expect(gaps(events).filter((event) => !event.gap.exact)).toEqual([])
      expect(opens(events).length + lost(events, 'fileOpen')).toBe(opens(calm.events).length + WRITES)
    })
  })
})

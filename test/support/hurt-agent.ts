/** An agent whose parts are killed while a command runs through it, and what has to hold of the record all the same. */
import { existsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { EventJson } from '../../src/proto/event-json.js'
import type { TestAgent } from './agent-process.js'
import { cgroupMount } from './cgroup-folder.js'
import { expectGapless } from './events.js'
import { isAlive, startSluice, until } from './sluice-process.js'
import { readRecord } from './sluice-run.js'

export type Part = 'engine' | 'sensor'

/** What is killed at once, in each of the tests that are made of it. */
export const KILLED: readonly Part[][] = [['engine'], ['sensor'], ['engine', 'sensor']]

/** Resolves when others are there in their place. */
export async function killParts(agent: TestAgent, parts: readonly Part[]): Promise<void> {
  const before = agent.pids()
  for (const part of parts) process.kill(before[part], 'SIGKILL')
  await until('they are back', () => {
    const now = agent.pids()
    return parts.every((part) => now[part] !== before[part]) && isAlive(now.sensor) && isAlive(now.engine)
  })
}

/** Runs the command and kills each of `kills` when the record has grown; then it makes the file `over`. */
export async function killedInTheMiddle(
  agent: TestAgent,
  { dir, command, kills, over }: { dir: string; command: string[]; kills: readonly (readonly Part[])[]; over?: string },
) {
  const run = startSluice(command, { dir, options: ['--socket', agent.socket] })
  for (const parts of kills) {
    await until('the record begins', () => existsSync(run.record))
    const before = statSync(run.record).size
    await until('the record grows', () => statSync(run.record).size > before)
    await killParts(agent, parts)
  }
  if (over !== undefined) writeFileSync(over, '')
  const result = await run.result
  const events = readRecord(run.record)
  expectWhole(events)
  return { result, events }
}

function expectWhole(events: EventJson[]): void {
  expectGapless(events)
  expect(new Set(events.map(({ uid }) => uid)).size).toBe(events.length)
  expect(events.at(-1)).toMatchObject({ sandboxEnded: { summary: { events: String(events.length) } } })
  expect(existsSync(join(cgroupMount() ?? '', events[0]?.sandbox.cgroupPath ?? '/none'))).toBe(false)
}

import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { patient } from './test/support/patience.js'

const SHORT_MS = patient(60_000)
const LONG_MS = patient(120_000)

interface Lane {
  readonly name: string
  readonly timeoutMs: number
  readonly alone: boolean
  readonly order: number
}

/**
 * Lanes run one after the other, by `order`. Those that are `alone` run one file at a time: they load BPF programs, make
 * cgroups and count events of the whole machine; one process has all of them, since most of a file's start is loading what the one before
 * loaded. The others take all CPUs; left to itself vitest spares one.
 */
const LANES: readonly Lane[] = [
  { name: 'unit', timeoutMs: SHORT_MS, alone: false, order: 1 },
  { name: 'tidy', timeoutMs: SHORT_MS, alone: false, order: 1 },
  { name: 'kernel', timeoutMs: LONG_MS, alone: true, order: 2 },
  { name: 'e2e', timeoutMs: LONG_MS, alone: true, order: 3 },
]

export default defineConfig({
  test: {
    watch: false,
    globalSetup: 'test/support/environment.ts',
    // Of those tests of a file that may run side by side.
    maxConcurrency: 3,
    // A second, if nobody says otherwise: less than what a busy machine may take.
    expect: { poll: { timeout: SHORT_MS / 2 } },
    pool: 'forks',
    allowOnly: process.env.CI === undefined,
    projects: LANES.map((lane) => ({
      extends: true,
      test: {
        name: lane.name,
        include: [`test/${lane.name}/**/*.test.ts`],
        testTimeout: lane.timeoutMs,
        hookTimeout: lane.timeoutMs,
        maxWorkers: lane.alone ? 1 : availableParallelism(),
        isolate: !lane.alone,
        sequence: { groupOrder: lane.order },
      },
    })),
  },
})

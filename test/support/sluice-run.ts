/** Runs the built command line as a user would, and reads the record it wrote. */
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { afterAll, beforeAll } from 'vitest'
import type { EventJson } from '../../src/proto/event-json.js'
import { patient } from './patience.js'

export const SLUICE_BIN = fileURLToPath(new URL('../../bin/sluice', import.meta.url))
const RUN_DEADLINE_MS = patient(90_000)

export interface SluiceRun {
  exitCode: number | undefined
  stdout: string
  stderr: string
  /** Lines of the record, parsed, in order. */
  events: EventJson[]
}

export interface SluiceRunOptions {
  /** Options of `run` besides --record and --summary. */
  options?: string[]
  /** Program and options that start ours: nsenter, say. */
  through?: string[]
  cwd?: string
  env?: Record<string, string>
  input?: string
  /** Of the folder that the record is made in; 0700 otherwise. */
  recordDirMode?: number
}

/** A fresh folder that `body` may use and that is gone afterwards. */
export async function withTempDir<T>(body: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-test-'))
  try {
    return await body(dir)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** A folder for all tests of the describe that calls this, which others may enter; its path, from the first `beforeAll` after it on. */
export function tempDirForAll(): () => string {
  let dir = ''
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-test-'))
    chmodSync(dir, 0o755)
  })
  afterAll(() => rmSync(dir, { recursive: true, force: true }))
  return () => dir
}

export async function sluiceRun(command: string[], given: SluiceRunOptions = {}): Promise<SluiceRun> {
  return withTempDir(async (dir) => {
    const record = join(dir, 'record.jsonl')
    if (given.recordDirMode !== undefined) chmodSync(dir, given.recordDirMode)
    const args = ['run', '--record', record, '--summary', 'none', ...(given.options ?? []), '--', ...command]
    const [program = SLUICE_BIN, ...before] = [...(given.through ?? []), SLUICE_BIN]
    const result = await execa(program, [...before, ...args], {
      reject: false,
      timeout: RUN_DEADLINE_MS,
      killSignal: 'SIGTERM',
      ...(given.cwd === undefined ? {} : { cwd: given.cwd }),
      ...(given.env === undefined ? {} : { env: given.env }),
      ...(given.input === undefined ? { stdin: 'ignore' as const } : { input: given.input }),
    })
    return { exitCode: result.exitCode, stdout: result.stdout, stderr: result.stderr, events: readRecord(record) }
  })
}

export function readRecord(path: string): EventJson[] {
  const text = readFileSync(path, 'utf8')
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as EventJson)
}

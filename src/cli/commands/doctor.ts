/**
 * `sluice doctor`: what this kernel and host can do, one line a check; under one that fails, what is lost and the exact fix. With
 * `--clean`: what was cleared away. Only shows; reading is host-facts.ts, judging is checks.ts, cleaning is clean.ts.
 */
import picocolors from 'picocolors'
import { neutralise } from '../display-text.js'
import { type Check, type CheckState, checkHost } from '../doctor/checks.js'
import { type CleanStep, cleanUp } from '../doctor/clean.js'
import { readHostFacts } from '../doctor/host-facts.js'
import type { ColorMode } from '../environment.js'
import { wantsColor } from '../terminal.js'

const STDOUT = 1
const MARKS: Readonly<Record<CheckState, string>> = { ok: '✓', fail: '✗', warn: '!', note: '·' }

export interface DoctorOptions {
  readonly json: boolean
  readonly color: ColorMode
  readonly socket: string
  readonly runtimeDir: string
  readonly pinDir: string
  /** Null: none is written. */
  readonly journalDir: string | null
  readonly startDeadlineMs: number | null
}

/** 1 if any check fails, else 0. */
export async function doctor(options: DoctorOptions): Promise<number> {
  const checks = checkHost(await readHostFacts(options))
  const failed = checks.some((check) => check.state === 'fail')
  const text = options.json
    ? `${JSON.stringify({ ok: !failed, checks })}\n`
    : checksText(checks, wantsColor(options.color, STDOUT))
  print(text)
  return failed ? 1 : 0
}

/** 1 if something could not be removed, else 0. Throws what keeps it from looking. */
export async function doctorClean(options: DoctorOptions): Promise<number> {
  const steps = await cleanUp(options)
  const ok = steps.every(({ outcome }) => outcome !== 'kept')
  print(options.json ? `${JSON.stringify({ ok, steps })}\n` : stepsText(steps, wantsColor(options.color, STDOUT)))
  return ok ? 0 : 1
}

function print(text: string): void {
  // A reader who has seen enough is no error.
  process.stdout.on('error', () => {})
  process.stdout.write(text)
}

function stepsText(steps: readonly CleanStep[], color: boolean): string {
  if (steps.length === 0) return 'nothing was left behind\n'
  const colors = picocolors.createColors(color)
  const heads = { removed: colors.green('✓ removed'), inUse: colors.dim('· in use '), kept: colors.red('✗ kept   ') }
  return steps
    .map(({ what, outcome, detail }) => `${heads[outcome]} ${neutralise(what)}: ${neutralise(detail)}\n`)
    .join('')
}

/** Whole lines, each with its line end. */
export function checksText(checks: readonly Check[], color: boolean): string {
  const colors = picocolors.createColors(color)
  const paints = { ok: colors.green, fail: colors.red, warn: colors.yellow, note: colors.dim }
  const width = Math.max(...checks.map(({ name }) => name.length))
  const indent = ' '.repeat(width + 3)
  const lines = checks.flatMap(({ name, state, found, lost, fix }) => [
    `${paints[state](MARKS[state])} ${name.padEnd(width)} ${neutralise(found)}`,
    ...(lost === null ? [] : [`${indent}lost: ${neutralise(lost)}`]),
    ...(fix === null ? [] : [`${indent}fix:  ${neutralise(fix)}`]),
  ])
  return `${lines.join('\n')}\n`
}

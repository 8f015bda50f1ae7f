/**
 * Options of `sluice run`, from what commander parsed to one typed value. Guards against half-set and unsupported ones: what this
 * version does not do is refused by name, never ignored. Nothing here touches the system.
 */
import { basename, isAbsolute, resolve } from 'node:path'
import { SluiceError } from '../../base/error.js'

export const SUMMARY_FORMS = ['text', 'json', 'none'] as const
export type SummaryForm = (typeof SUMMARY_FORMS)[number]
export const MODES = ['monitor', 'enforce'] as const
export type Mode = (typeof MODES)[number]
export const FAIL_ON = ['deny', 'detection'] as const
export type FailOn = (typeof FAIL_ON)[number]
export const LIVE_VIEWS = ['notable', 'all'] as const
export type LiveView = (typeof LIVE_VIEWS)[number]

/** Longest name, agent, task or value of a label, and longest key of one, in characters. */
const TEXT_MAX = 253
const LABEL_KEY_MAX = 128
const LABELS_MAX = 64

/** As commander hands them over; every one optional. */
export interface RawRunOptions {
  mode?: string
  policy?: string[]
  name?: string
  agent?: string
  task?: string
  label?: string[]
  workdir?: string
  record?: string
  summary?: string
  failOn?: string
  quiet?: boolean
  user?: string
  events?: string | boolean
  own?: boolean
}

export interface RunOptions {
  readonly command: readonly [string, ...string[]]
  readonly name: string
  readonly agent: string
  readonly task: string
  readonly labels: Readonly<Record<string, string>>
  /** Absolute. */
  readonly workdir: string
  /** Absolute, or null. */
  readonly record: string | null
  readonly summary: SummaryForm
  /** Null: on nothing. */
  readonly failOn: FailOn | null
  readonly quiet: boolean
  /** A name or a uid; null: whoever started us. */
  readonly user: string | null
  readonly live: LiveView | null
  /** Brings its own sensor and engine, agent or not. */
  readonly own: boolean
  /** Absolute paths; several count as one policy. Empty: the run is only watched. */
  readonly policies: readonly string[]
  /** Null: as the policy says. */
  readonly mode: Mode | null
}

/** Throws USAGE or UNSUPPORTED. `cwd` gives an absolute path, or throws; it is asked only where a path is relative. */
export function parseRunOptions(raw: RawRunOptions, command: readonly string[], cwd: () => string): RunOptions {
  const [file, ...args] = command
  if (file === undefined || file === '') {
    throw new SluiceError('USAGE', 'no command given', { hint: 'sluice run [options] -- CMD [ARG…]' })
  }
  const quiet = raw.quiet ?? false
  const live =
    raw.events === undefined || raw.events === false ? null : oneOf('--events', raw.events, LIVE_VIEWS, 'notable')
  if (quiet && live !== null) throw new SluiceError('USAGE', '-q and --events contradict each other: give one of them')
  const summary = oneOf('--summary', raw.summary ?? true, SUMMARY_FORMS, 'text')
  const workdir = path('--workdir', raw.workdir) ?? '.'
  const record = path('--record', raw.record)
  return {
    command: [file, ...args],
    name: text('--name', raw.name ?? nameOf(file)),
    agent: text('--agent', raw.agent ?? ''),
    task: text('--task', raw.task ?? ''),
    labels: parseLabels(raw.label ?? []),
    workdir: absolute(workdir, cwd),
    record: record === null ? null : absolute(record, cwd),
    // What was asked for by name is given even then.
    summary: quiet && raw.summary === undefined ? 'none' : summary,
    failOn: failOnOf(raw),
    quiet,
    user: raw.user === undefined ? null : path('--user', raw.user),
    live,
    own: raw.own ?? false,
    policies: (raw.policy ?? []).map((file) => absolute(path('--policy', file) ?? '', cwd)),
    mode: modeOf(raw),
  }
}

function modeOf({ mode, policy }: RawRunOptions): Mode | null {
  if (mode === undefined) return null
  const found = MODES.find((candidate) => candidate === mode)
  if (found === undefined) throw new SluiceError('USAGE', `--mode is '${mode}': it must be one of ${MODES.join(', ')}`)
  if (found === 'enforce' && (policy ?? []).length === 0) {
    throw new SluiceError('USAGE', '--mode enforce takes a policy: say which with --policy')
  }
  return found
}

function failOnOf({ failOn }: RawRunOptions): FailOn | null {
  if (failOn === undefined) return null
  if (failOn === 'outside') throw unsupported('--fail-on outside', 'nothing decides it yet, use --fail-on deny')
  const found = FAIL_ON.find((candidate) => candidate === failOn)
  if (found !== undefined) return found
  throw new SluiceError('USAGE', `--fail-on is '${failOn}': it must be one of deny, detection, outside`)
}

function unsupported(what: string, advice: string): SluiceError {
  return new SluiceError('UNSUPPORTED', `not in this version: ${what}`, { hint: advice })
}

/** `true` stands for the option without a value. */
function oneOf<T extends string>(option: string, value: string | true, allowed: readonly T[], bare: T): T {
  if (value === true) return bare
  const found = allowed.find((candidate) => candidate === value)
  if (found === undefined) {
    throw new SluiceError('USAGE', `${option} is '${value}': it must be one of ${allowed.join(', ')}`)
  }
  return found
}

/** Nobody typed it as a name, so what a name can't have is replaced, not refused. */
function nameOf(file: string): string {
  return (basename(file) || file).replace(/\p{Cc}/gu, '?').slice(0, TEXT_MAX)
}

function absolute(path: string, cwd: () => string): string {
  return isAbsolute(path) ? resolve(path) : resolve(cwd(), path)
}

export function text(option: string, value: string, max = TEXT_MAX): string {
  if (value.length > max) throw new SluiceError('USAGE', `${option} is longer than ${max} characters`)
  if (/\p{Cc}/u.test(value)) throw new SluiceError('USAGE', `${option} holds a control character`)
  return value
}

function path(option: string, value: string | undefined): string | null {
  if (value === undefined) return null
  if (value === '') throw new SluiceError('USAGE', `${option} is empty`)
  if (value.includes('\0')) throw new SluiceError('USAGE', `${option} holds a NUL`)
  return value
}

/** Of `--label key=value`; the last one wins where a key is given twice. */
export function parseLabels(labels: readonly string[]): Record<string, string> {
  if (labels.length > LABELS_MAX) throw new SluiceError('USAGE', `more than ${LABELS_MAX} labels`)
  const parsed: [string, string][] = labels.map((label) => {
    const at = label.indexOf('=')
    if (at < 1) throw new SluiceError('USAGE', `--label '${label}' is not KEY=VALUE`)
    return [text('the key of a --label', label.slice(0, at), LABEL_KEY_MAX), text('--label', label.slice(at + 1))]
  })
  return Object.fromEntries(parsed)
}

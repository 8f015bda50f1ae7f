/**
 * What a client may ask for when it starts or ends a run. Guards every field by a named limit, with an error that says which field
 * and what is allowed; makes the sandbox's id, which becomes a directory's name. Not here: whether the pid is the client's to give.
 */
import { randomBytes } from 'node:crypto'
import type { ICompiledPolicy, IPolicySources, IRunEnd, IRunStart } from '../proto/codec.js'
import { policyDigest } from '../proto/policy-digest.js'
import { bytesToText } from '../proto/text.js'

export const NAME_CHARS_MAX = 256
export const LABELS_MAX = 64
export const LABEL_KEY_CHARS_MAX = 128
export const LABEL_VALUE_CHARS_MAX = 1_024
export const DEGRADED_MAX = 64
export const DEGRADED_CHARS_MAX = 256
export const WORKDIR_BYTES_MAX = 4_096
/** PID_MAX_LIMIT of Linux on 64-bit machines. */
export const PID_MAX = 4_194_304
/** Bytes of the command kept for `sandboxStarted`; the exec event tells all that the kernel was given. */
export const COMMAND_BYTES_MAX = 32_768
const SLUG_CHARS_MAX = 40
const SIGNAL_MAX = 64
const CONTROL = /\p{Cc}/u

export interface RunInput {
  readonly pid: number
  /** [a-z0-9-]{1,64} */
  readonly sandboxId: string
  readonly name: string
  readonly agent: string
  readonly task: string
  readonly labels: Readonly<Record<string, string>>
  readonly command: readonly Uint8Array[]
  readonly workdir: Uint8Array
  readonly user: string
  readonly degraded: readonly string[]
  /** Its processes can't get at each other's memory. */
  readonly apart: boolean
  /** Digest of the policy that the launcher's layers are for; empty: none, or that which it brings. */
  readonly planned: string
  /** Null: it is only watched. */
  readonly policy: ICompiledPolicy | null
  /** What it was compiled from. */
  readonly sources: IPolicySources | null
}

export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string }

export function parseRunStart(start: IRunStart): Parsed<RunInput> {
  const { pid = 0, command = [], workdir, labels, degraded } = start
  const problem =
    identityProblem(start) ??
    textProblem('user', start.user) ??
    textProblem('planned_hash', start.plannedHash) ??
    pidProblem(pid) ??
    listProblem(degraded ?? []) ??
    policyProblem(start.policy) ??
    pathProblem(workdir ?? new Uint8Array(0)) ??
    (command === null || command.length === 0 ? 'command: must have at least the program' : null)
  if (problem !== null) return { ok: false, problem }
  const name = start.name || programName(command ?? [])
  return {
    ok: true,
    value: {
      pid: pid ?? 0,
      sandboxId: newSandboxId(name),
      name,
      agent: start.agent ?? '',
      task: start.task ?? '',
      labels: { ...labels },
      command: shortened(command ?? []),
      workdir: workdir ?? new Uint8Array(0),
      user: start.user ?? '',
      degraded: degraded ?? [],
      apart: start.apart ?? false,
      planned: start.plannedHash ?? '',
      policy: start.policy ?? null,
      sources: start.sources ?? null,
    },
  }
}

/** Null, or what is wrong with who a sandbox is said to be. */
export function identityProblem(of: Pick<IRunStart, 'name' | 'agent' | 'task' | 'labels'>): string | null {
  return (
    textProblem('name', of.name) ??
    textProblem('agent', of.agent) ??
    textProblem('task', of.task) ??
    labelsProblem(of.labels ?? {})
  )
}

export function parseRunEnd(end: IRunEnd): Parsed<{ exitCode: number; signal: number }> {
  const exitCode = end.exitCode ?? 0
  const signal = end.signal ?? 0
  if (exitCode > 255) return { ok: false, problem: `exit_code: ${exitCode} is not between 0 and 255` }
  if (signal > SIGNAL_MAX) return { ok: false, problem: `signal: ${signal} is not between 0 and ${SIGNAL_MAX}` }
  return { ok: true, value: { exitCode, signal } }
}

/** What the sensor can't tell: it knows addresses only. */
function policyProblem(policy: ICompiledPolicy | null | undefined): string | null {
  if (!policy) return null
  // Verdicts, the record and the sensor name it by that.
  if (policy.digest !== policyDigest(policy)) return 'policy: its digest is not that of its rules'
  return textProblem('policy', policy.name)
}

/** Of a run with this name: another one each time. */
export function newSandboxId(name: string): string {
  return `${slug(name)}-${randomBytes(4).toString('hex')}`
}

/** A name as a part of a directory's name. */
export function slug(name: string): string {
  const words = name.toLowerCase().replace(/[^a-z0-9]+/g, '-')
  return (
    words
      .slice(0, SLUG_CHARS_MAX + 1)
      .replace(/^-+|-+$/g, '')
      .slice(0, SLUG_CHARS_MAX) || 'run'
  )
}

function programName(command: readonly Uint8Array[]): string {
  const program = bytesToText(command[0] ?? new Uint8Array(0))
  const name = program.slice(program.lastIndexOf('/') + 1, program.length)
  return name.replace(/\p{Cc}/gu, '?').slice(0, NAME_CHARS_MAX) || 'run'
}

/** Whole arguments only; a last one says how many are missing. */
function shortened(command: readonly Uint8Array[]): Uint8Array[] {
  let bytes = 0
  const kept: Uint8Array[] = []
  for (const argument of command) {
    bytes += argument.length + 1
    if (bytes > COMMAND_BYTES_MAX) {
      kept.push(Buffer.from(`[${command.length - kept.length} more arguments]`))
      break
    }
    kept.push(argument)
  }
  return kept
}

function textProblem(field: string, text: string | null | undefined): string | null {
  if (text === null || text === undefined) return null
  if (text.length > NAME_CHARS_MAX) return `${field}: ${text.length} characters, at most ${NAME_CHARS_MAX} are allowed`
  return CONTROL.test(text) ? `${field}: control characters are not allowed` : null
}

function pidProblem(pid: number | null): string | null {
  if (pid !== null && pid > 1 && pid <= PID_MAX) return null
  return `pid: ${pid} is not the pid of a launcher`
}

function labelsProblem(labels: Readonly<Record<string, string>>): string | null {
  const entries = Object.entries(labels)
  if (entries.length > LABELS_MAX) return `labels: ${entries.length} labels, at most ${LABELS_MAX} are allowed`
  for (const [key, value] of entries) {
    if (key === '' || key.length > LABEL_KEY_CHARS_MAX || CONTROL.test(key)) {
      return `labels: a key must have 1 to ${LABEL_KEY_CHARS_MAX} characters and no control characters`
    }
    if (value.length > LABEL_VALUE_CHARS_MAX || CONTROL.test(value)) {
      return `labels.${key}: a value has at most ${LABEL_VALUE_CHARS_MAX} characters and no control characters`
    }
  }
  return null
}

function listProblem(degraded: readonly string[]): string | null {
  if (degraded.length > DEGRADED_MAX) return `degraded: ${degraded.length} entries, at most ${DEGRADED_MAX} are allowed`
  const bad = degraded.some((entry) => entry === '' || entry.length > DEGRADED_CHARS_MAX || CONTROL.test(entry))
  return bad ? `degraded: an entry has 1 to ${DEGRADED_CHARS_MAX} characters and no control characters` : null
}

function pathProblem(workdir: Uint8Array): string | null {
  if (workdir.length === 0) return null
  if (workdir.length > WORKDIR_BYTES_MAX) return `workdir: at most ${WORKDIR_BYTES_MAX} bytes are allowed`
  return workdir[0] === 0x2f && !workdir.includes(0) ? null : 'workdir: must be an absolute path'
}

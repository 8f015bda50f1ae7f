/**
 * The one error class of ours. It guards that every failure a person sees has a code from a closed set, one line that says what and
 * where, and (where there is one) what to do next. It does not decide exit codes or how errors are shown: the command line does.
 */
import { getSystemErrorMap } from 'node:util'

export const ERROR_CODES = [
  'USAGE',
  'PRIVILEGE',
  'UNSUPPORTED',
  'NOT_BUILT',
  'IO',
  'PROTOCOL',
  'LIMIT',
  'KERNEL',
  'INTERNAL',
] as const

export type ErrorCode = (typeof ERROR_CODES)[number]

export class SluiceError extends Error {
  readonly code: ErrorCode
  /** What to do next, one line; null if there is nothing to say. */
  readonly hint: string | null

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'SluiceError'
    this.code = code
    this.hint = options.hint ?? null
  }
}

/** The message of anything thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

/** What a person reads of a failed system call: `no space left on device (ENOSPC)`; the message of anything else. */
export function reasonOf(thrown: unknown): string {
  const code = errnoCode(thrown)
  const known = thrown instanceof Error && 'errno' in thrown ? getSystemErrorMap().get(Number(thrown.errno)) : undefined
  return code === null || known === undefined ? messageOf(thrown) : `${known[1]} (${code})`
}

/** Node's code of a failed system call (`ENOENT`), or null. */
export function errnoCode(thrown: unknown): string | null {
  if (!(thrown instanceof Error) || !('code' in thrown)) return null
  return typeof thrown.code === 'string' ? thrown.code : null
}

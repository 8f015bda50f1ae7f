/**
 * What a role and its supervisor say to each other over the IPC channel: down go the role's config, and later what its RunningRole is
 * told; up come these. It guards the shape of errors on the way, so that a role's own error is thrown again, code and hint included, by its supervisor.
 */
import { ERROR_CODES, type ErrorCode, messageOf, SluiceError } from './error.js'

export interface ErrorMessage {
  code: ErrorCode
  message: string
  hint: string | null
}

/** `ready` or `error` answers the config; `failed` says, once, why a role that was ready goes down by itself. */
export type RoleMessage = { ready: true } | { error: ErrorMessage } | { failed: ErrorMessage }

export function errorToMessage(thrown: unknown): ErrorMessage {
  if (thrown instanceof SluiceError) return { code: thrown.code, message: thrown.message, hint: thrown.hint }
  return { code: 'INTERNAL', message: messageOf(thrown), hint: null }
}

export function messageToError(message: ErrorMessage): SluiceError {
  return new SluiceError(message.code, message.message, message.hint === null ? {} : { hint: message.hint })
}

/** Null for anything that is not a role's message. */
export function parseRoleMessage(raw: unknown): RoleMessage | null {
  if (!isRecord(raw)) return null
  if (raw.ready === true) return { ready: true }
  const error = parseError(raw.error)
  if (error !== null) return { error }
  const failed = parseError(raw.failed)
  return failed === null ? null : { failed }
}

function parseError(raw: unknown): ErrorMessage | null {
  if (!isRecord(raw)) return null
  const code = ERROR_CODES.find((known) => known === raw.code)
  const { message, hint } = raw
  if (code === undefined || typeof message !== 'string') return null
  return { code, message, hint: typeof hint === 'string' ? hint : null }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

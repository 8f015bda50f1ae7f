/**
 * How the sinks do, in a file beside the spool: the process that runs them writes it, the engine and the command line read it. Guards that what is
 * no such file is taken for none. Not here: who writes it, and when.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const STATUS_FILE = 'status.json'
/** More than all sinks that there may be have to say. */
const BYTES_MAX = 256 * 1024

export interface SinkStatus {
  readonly name: string
  readonly type: string
  /** Events in the spool that it does not have yet; null: the spool can't be read. */
  readonly behind: number | null
  /** Events that arrived. */
  readonly delivered: number
  /** Attempts that failed. */
  readonly failures: number
  readonly dead: number
  /** That were not for it. */
  readonly filtered: number
  readonly isFailing: boolean
  readonly lastError: string | null
  readonly lastDelivery: string | null
}

export interface SinksStatus {
  /** When it was written; another one each time. */
  readonly time: string
  readonly sinks: readonly SinkStatus[]
}

export function statusPath(folder: string): string {
  return join(folder, STATUS_FILE)
}

/** Throws what the file says that can't be read, or is none. */
export function readStatus(folder: string): SinksStatus {
  const text = readFileSync(statusPath(folder), 'utf8')
  const found: unknown = text.length > BYTES_MAX ? null : JSON.parse(text)
  if (isObject(found) && typeof found.time === 'string' && Array.isArray(found.sinks) && found.sinks.every(isStatus)) {
    return { time: found.time, sinks: found.sinks }
  }
  throw new Error('it does not say how the sinks do')
}

function isStatus(found: unknown): found is SinkStatus {
  if (!isObject(found) || typeof found.name !== 'string' || typeof found.isFailing !== 'boolean') return false
  if (found.behind !== null && typeof found.behind !== 'number') return false
  if (found.lastError !== null && typeof found.lastError !== 'string') return false
  return [found.delivered, found.failures, found.dead, found.filtered].every((count) => typeof count === 'number')
}

function isObject(found: unknown): found is Record<string, unknown> {
  return typeof found === 'object' && found !== null
}

/** Which sessions of a journal are meant. Guards that a time which is none is an error, and that one that lasted into the time counts. */
import { parseTime } from '../events/event-filter.js'
import type { SessionHead } from './session-head.js'

export interface RawSelection {
  agent?: string[]
  task?: string[]
  sandbox?: string[]
  since?: string
  until?: string
}

/** Throws USAGE. */
export function compileSelection(raw: RawSelection, nowUnixMs: number): (head: SessionHead) => boolean {
  const since = raw.since === undefined ? null : parseTime('--since', raw.since, nowUnixMs)
  const until = raw.until === undefined ? null : parseTime('--until', raw.until, nowUnixMs)
  const { agent = [], task = [], sandbox = [] } = raw
  return ({ sandbox: of, startUnixNs, lastUnixNs }) =>
    (agent.length === 0 || agent.includes(of?.agent ?? '')) &&
    (task.length === 0 || task.includes(of?.task ?? '')) &&
    (sandbox.length === 0 || sandbox.includes(of?.id ?? '') || sandbox.includes(of?.name ?? '')) &&
    (since === null || lastUnixNs >= since) &&
    (until === null || startUnixNs <= until)
}

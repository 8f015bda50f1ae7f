/**
 * Filters of `sluice events`: from options to one predicate. Guards against a filter that silently matches nothing because it was
 * mistyped: kinds, decisions and times are checked. Pure; the clock is handed in.
 */
import { SluiceError } from '../../base/error.js'
import { EVENT_KINDS } from '../../proto/event-json.js'
import { textToUnixNs } from '../../proto/time-text.js'
import { decisionOf, kindOf, programName, type ShownEvent } from '../shown-event.js'

const DECISIONS: readonly string[] = ['ALLOW', 'DENY', 'WOULD_DENY', 'REDIRECT']
const NS_PER_MS = 1_000_000n
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Each list holds alternatives; an empty one lets everything through. */
export interface RawFilter {
  type?: string[]
  verdict?: string[]
  process?: string[]
  sandbox?: string[]
  session?: string[]
  host?: string[]
  since?: string
  until?: string
}

/** Throws USAGE for a value that can't match. */
export function compileFilter(raw: RawFilter, nowUnixMs: number): (event: ShownEvent) => boolean {
  const kinds = oneOfEach('--type', list(raw.type), EVENT_KINDS, (value) => value.toLowerCase())
  const decisions = oneOfEach('--verdict', list(raw.verdict), DECISIONS, (value) =>
    value.toUpperCase().replaceAll('-', '_'),
  )
  const [processes, sandboxes, sessions, hosts] = [raw.process, raw.sandbox, raw.session, raw.host].map(list)
  const since = raw.since === undefined ? null : parseTime('--since', raw.since, nowUnixMs)
  const until = raw.until === undefined ? null : parseTime('--until', raw.until, nowUnixMs)
  const tests: ((event: ShownEvent) => boolean)[] = []
  if (kinds.length > 0) tests.push((event) => kinds.includes(kindOf(event) ?? ''))
  if (decisions.length > 0) tests.push((event) => decisions.includes(decisionOf(event) ?? ''))
  if (processes?.length) tests.push((event) => processes.some((value) => isProcess(event, value)))
  if (sandboxes?.length) {
    tests.push(({ sandbox }) => sandboxes.includes(sandbox.id) || sandboxes.includes(sandbox.name))
  }
  if (sessions?.length) tests.push((event) => sessions.includes(event.sessionId))
  if (hosts?.length) tests.push((event) => hosts.some((value) => isHost(event, value)))
  if (since !== null) tests.push((event) => textToUnixNs(event.time) >= since)
  if (until !== null) tests.push((event) => textToUnixNs(event.time) <= until)
  return (event) => tests.every((test) => test(event))
}

/** Commas separate alternatives, as does giving the option again. */
function list(values: string[] | undefined): string[] {
  return (values ?? []).flatMap((value) => value.split(',')).filter((value) => value !== '')
}

function oneOfEach(
  option: string,
  values: readonly string[],
  allowed: readonly string[],
  normalise: (value: string) => string,
): string[] {
  return values.map((value) => {
    const found = allowed.find((candidate) => normalise(candidate) === normalise(value))
    if (found === undefined) {
      throw new SluiceError('USAGE', `${option} '${value}' is not one of ${allowed.join(', ')}`)
    }
    return found
  })
}

/** A pid, an execId, a program's name or its whole path. */
function isProcess(event: ShownEvent, value: string): boolean {
  const process = event.process ?? null
  if (process === null) return false
  return (
    String(process.pid) === value ||
    process.execId === value ||
    process.exe === value ||
    programName(process.exe) === value
  )
}

/** An address or a name, each with a port or without. */
function isHost(event: ShownEvent, value: string): boolean {
  const end = event.connect ?? event.connectionClosed
  if (end === undefined) return false
  const { address, port } = end
  const hostname = event.connect?.hostname.toLowerCase() ?? ''
  const bracketed = address.includes(':') ? `[${address}]` : address
  const wanted = value.toLowerCase()
  return [address, bracketed, `${bracketed}:${port}`, hostname, `${hostname}:${port}`].includes(wanted)
}

/** Unix time in ns, of a time (RFC 3339) or of a time ago (`90s`, `5m`, `2h`, `1d`). */
export function parseTime(option: string, value: string, nowUnixMs: number): bigint {
  const ago = /^(\d{1,9})(ms|s|m|h|d)$/.exec(value)
  if (ago !== null) return BigInt(nowUnixMs - Number(ago[1]) * (UNIT_MS[ago[2] ?? ''] ?? 0)) * NS_PER_MS
  const match = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})$/.exec(value)
  const unixMs = match === null ? Number.NaN : Date.parse(`${match[1]}${match[3]}`)
  if (match === null || Number.isNaN(unixMs)) {
    throw new SluiceError(
      'USAGE',
      `${option} '${value}' is neither a time like 2026-01-31T14:23:07Z nor one ago like 5m`,
    )
  }
  return BigInt(unixMs) * NS_PER_MS + BigInt((match[2] ?? '').padEnd(9, '0'))
}

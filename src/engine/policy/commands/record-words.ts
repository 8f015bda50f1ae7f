/** How commands that read recordings name an attempt, and tell of lines that they could not read. Decides nothing. */
import type { Attempt, RecordReader } from '../record-attempts.js'
import type { Context } from './context.js'

const BAD_LINES_TOLD_MAX = 20

/** `api.example.com:443/tcp`, `10.0.0.1:5432/tcp`, `name api.example.com`, `unix /run/x.sock`. */
export function whatOf(attempt: Attempt): string {
  if (attempt.kind === 'name') return `name ${attempt.name}`
  const { protocol, address, port, names } = attempt
  if (protocol !== 'TCP' && protocol !== 'UDP' && protocol !== 'ICMP')
    return `${protocol.toLowerCase()} ${address}`.trimEnd()
  const host = names[0] ?? (address.includes(':') ? `[${address}]` : address)
  return protocol === 'ICMP' ? `${host} icmp` : `${host}:${port}/${protocol.toLowerCase()}`
}

export function tellBadLines({ badLines }: RecordReader, { err }: Context): void {
  const bad = badLines()
  for (const line of bad.slice(0, BAD_LINES_TOLD_MAX)) err(`sluice: ${line}; skipped`)
  if (bad.length > 0) err(`sluice: ${bad.length} bad line${bad.length === 1 ? '' : 's'} skipped`)
}

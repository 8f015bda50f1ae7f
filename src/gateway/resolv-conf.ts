/** The resolvers that this machine uses (resolv.conf(5)). Reads what it knows and passes over the rest, as the C library does. */
import { isIP } from 'node:net'

export interface UpstreamAddress {
  readonly host: string
  readonly port: number
}

export const DNS_PORT = 53
/** MAXNS of the C library is 3; more do no harm. */
const SERVERS_MAX = 8

/** At most SERVERS_MAX; none: this machine itself, as the C library takes it. */
export function resolversOf(text: string): UpstreamAddress[] {
  const hosts = text.split('\n').flatMap((line) => {
    const [keyword, host = ''] = line.trim().split(/[ \t]+/)
    // A link-local address has a zone behind it, which isIP takes too.
    return keyword === 'nameserver' && isIP(host) !== 0 ? [host] : []
  })
  const found = [...new Set(hosts)].slice(0, SERVERS_MAX)
  return (found.length === 0 ? ['127.0.0.1'] : found).map((host) => ({ host, port: DNS_PORT }))
}

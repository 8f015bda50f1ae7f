/**
 * Where a session went: whether a host is new to it. By name where one is known, else by address. Guards that the machine itself and the
 * resolvers that it was given are no hosts. Not a host either: port 53 of the first few resolvers, since names have events of their own.
 */
import { Met } from './bounded.js'
import type { Fact } from './fact.js'

const HOSTS_MAX = 256
/** As many as resolv.conf may name. */
const RESOLVERS_MAX = 3
const LOOPBACK = /^\w+ (?:127\.|\[?::1\]?:|localhost)/
const RESOLVER = /^(?:udp|tcp) (.*):53$/

export class ReachedHosts {
  private readonly hosts = new Met(HOSTS_MAX)
  private readonly resolvers: string[] = []

  get forgotten(): number {
    return this.hosts.forgotten
  }

  /** The host, if it was not met before; null otherwise. */
  newIn(fact: Fact): string | null {
    const host = this.hostOf(fact)
    return host !== null && this.hosts.add(host) ? host : null
  }

  private hostOf(fact: Fact): string | null {
    if (fact.kind === 'name') return isLocalName(fact.name) ? null : fact.name
    if (fact.kind !== 'attempt' || fact.target.startsWith('unix ') || LOOPBACK.test(fact.target)) return null
    if (fact.host !== '') return fact.host
    const address = fact.target.slice(fact.target.indexOf(' ') + 1, fact.target.lastIndexOf(':'))
    return this.isResolver(fact.target, address) ? null : address
  }

  private isResolver(target: string, address: string): boolean {
    if (!RESOLVER.test(target)) return false
    if (this.resolvers.includes(address)) return true
    if (this.resolvers.length >= RESOLVERS_MAX) return false
    this.resolvers.push(address)
    return true
  }
}

/** Of this machine, or asked for to find an address's name. */
function isLocalName(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost') || name.endsWith('.arpa') || name === ''
}

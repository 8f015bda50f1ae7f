/**
 * From attempts of recorded sessions to the smallest set of rules that allows them. It guards that nothing is wider than what was seen: a name
 * stays that name unless enough others right beside it were reached the same way, an address is never widened, and what must not be allowed
 * without thinking (metadata, brokers, what was denied, what never answered) is told and left out.
 */

import { brokerOf } from '../../base/broker-sockets.js'
import { specialKindOf } from '../../base/special-addresses.js'
import { parseAddress } from './address-range.js'
import { parseHost } from './parse-host.js'
import type { Attempt, ConnectAttempt } from './record-attempts.js'

/** Names right below one domain, reached at the same ports, that make a rule for all of them. */
export const SIBLINGS_MIN = 5
const PORTS_PER_RULE_MAX = 8
const NAMES_SHOWN = 8
/** Errors of a connect that reached somebody, or may have. */
const REACHED: readonly number[] = [0, 115, 104, 111] // EINPROGRESS, ECONNRESET, ECONNREFUSED
const DNS_PORT = 53
const LOOPBACK =
  'what listens there is not the sandbox; `local: {listeners: any}` would allow it, and all else on this machine'
const METADATA = "the cloud's metadata service gives out this machine's own credentials"

/** How often, and when. */
export interface Seen {
  count: number
  first: string
  last: string
}

export interface LearnedRule {
  /** A host as a policy has it, or a range. */
  readonly target: { readonly host: string } | { readonly cidr: string }
  readonly protocol: 'tcp' | 'udp' | 'icmp'
  readonly ports: readonly number[]
  readonly seen: Seen
  /** Why it is as it is; for the comment. */
  readonly note: string | null
  /** Addresses inside that its name led to. */
  readonly inside: readonly string[]
}

export interface Learned {
  readonly rules: readonly LearnedRule[]
  readonly unix: readonly (Seen & { readonly path: string })[]
  /** What is not in the rules, and why. */
  readonly leftOut: readonly (Seen & { readonly what: string; readonly why: string })[]
}

interface Target extends Seen {
  readonly key: string
  readonly protocol: LearnedRule['protocol']
  readonly ports: Set<number>
  readonly inside: Set<string>
}

export class Learner {
  readonly #hosts = new Map<string, Target>()
  readonly #nets = new Map<string, Target>()
  readonly #unix = new Map<string, Seen>()
  readonly #leftOut = new Map<string, Seen & { what: string; why: string }>()

  take(attempt: Attempt): void {
    if (attempt.kind === 'name' || attempt.via === 'SOCKET' || attempt.protocol === 'NETLINK' || attempt.toOwnListener)
      return
    const why = reasonAgainst(attempt)
    if (why !== null) this.#leaveOut(attempt, why)
    else if (attempt.protocol === 'UNIX') this.#see(this.#unix, attempt.address, attempt, () => seenIn(attempt))
    else this.#reach(attempt)
  }

  #reach(attempt: ConnectAttempt): void {
    const address = parseAddress(attempt.address)
    if (address === null || attempt.port === DNS_PORT) return
    const [name] = attempt.names
    const protocol = attempt.protocol === 'UDP' ? 'udp' : attempt.protocol === 'ICMP' ? 'icmp' : 'tcp'
    const range = `${attempt.address}/${attempt.address.includes(':') ? 128 : 32}`
    // A rule with a host opens ports, and ICMP has none.
    const key = name !== undefined && parseHost(name).ok && protocol !== 'icmp' ? name : range
    const targets = key === range ? this.#nets : this.#hosts
    const target = this.#see(targets, `${protocol} ${key}`, attempt, (): Target => {
      return { ...seenIn(attempt), key, protocol, ports: new Set(), inside: new Set() }
    })
    if (protocol !== 'icmp') target.ports.add(attempt.port)
    if (key !== range && specialKindOf(address) !== null) target.inside.add(range)
  }

  learned(): Learned {
    const hosts = generalised([...this.#hosts.values()])
    const nets = [...this.#nets.values()].map((target) =>
      ruleOf(target, { cidr: target.key }, 'the record has no name for it'),
    )
    return {
      rules: [...hosts, ...nets].flatMap(splitPorts),
      unix: [...this.#unix].map(([path, seen]) => ({ ...seen, path })).sort((a, b) => a.path.localeCompare(b.path)),
      leftOut: [...this.#leftOut.values()].sort((a, b) => a.what.localeCompare(b.what)),
    }
  }

  #leaveOut(attempt: ConnectAttempt, why: string): void {
    const { protocol, address, port, names } = attempt
    const what = protocol === 'UNIX' ? address : `${names[0] ?? address} ${port}/${protocol.toLowerCase()}`
    this.#see(this.#leftOut, `${what}\0${why}`, attempt, () => ({ ...seenIn(attempt), what, why }))
  }

  #see<T extends Seen>(all: Map<string, T>, key: string, attempt: ConnectAttempt, make: () => T): T {
    const known = all.get(key)
    if (known === undefined) {
      const made = make()
      all.set(key, made)
      return made
    }
    known.count += attempt.count
    if (attempt.time < known.first) known.first = attempt.time
    if (attempt.time > known.last) known.last = attempt.time
    return known
  }
}

/** Null: nothing speaks against a rule for it. */
function reasonAgainst(attempt: ConnectAttempt): string | null {
  const { verdict, protocol, address, errno, port } = attempt
  if (verdict.decision === 'DENY') return `it was denied by ${verdict.rule}`
  if (protocol === 'UNIX') return reasonAgainstSocket(address, errno)
  if (!['TCP', 'UDP', 'ICMP'].includes(protocol)) return `no rule can allow ${protocol}`
  const bytes = parseAddress(address)
  if (bytes !== null && specialKindOf(bytes) === 'metadata') return METADATA
  if (port === 0 && protocol !== 'ICMP') return 'it has no port'
  // Resolvers on this machine are the gateway's business.
  if (bytes !== null && specialKindOf(bytes) === 'loopback' && port !== DNS_PORT) return LOOPBACK
  return REACHED.includes(errno) ? null : 'it could not be reached'
}

function reasonAgainstSocket(path: string, errno: number): string | null {
  if (!/^\/[^\0]*$/.test(path)) return 'no rule names sockets without a path'
  const broker = brokerOf(path)
  if (broker !== null) return `${broker} does work for others outside of the sandbox`
  return errno === 0 ? null : 'nobody answered'
}

function seenIn({ count, time }: ConnectAttempt): Seen {
  return { count, first: time, last: time }
}

/** One rule a name, but for names that many others stand right beside. */
function generalised(targets: readonly Target[]): LearnedRule[] {
  const families = groupBy(targets, familyOf)
  return [...families.values()].flatMap((family) => {
    const [first] = family
    const parent = first?.key.slice(first.key.indexOf('.') + 1) ?? ''
    const pattern = parseHost(`*.${parent}`)
    // Where strangers have names, five of them are no sign for a sixth.
    const isSafe = pattern.ok && pattern.warnings.length === 0 && family.every(({ inside }) => inside.size === 0)
    if (first === undefined || family.length < SIBLINGS_MIN || !isSafe)
      return family.map((target) => ruleOf(target, { host: target.key }, null))
    const names = family.map(({ key }) => key.slice(0, key.indexOf('.'))).sort()
    const more = names.length > NAMES_SHOWN ? ` and ${names.length - NAMES_SHOWN} more` : ''
    const times = family.flatMap((target) => [target.first, target.last]).sort()
    const count = family.reduce((sum, target) => sum + target.count, 0)
    const whole = { ...first, count, first: times[0] ?? first.first, last: times.at(-1) ?? first.last }
    return [
      ruleOf(
        whole,
        { host: `*.${parent}` },
        `${family.length} names: ${names.slice(0, NAMES_SHOWN).join(', ')}${more}`,
      ),
    ]
  })
}

/** Of one parent, protocol and ports. */
function familyOf({ key, protocol, ports }: Target): string {
  return [key.slice(key.indexOf('.') + 1), protocol, ...[...ports].sort((a, b) => a - b)].join(' ')
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group === undefined) groups.set(keyOf(item), [item])
    else group.push(item)
  }
  return groups
}

function ruleOf(
  { protocol, ports, count, first, last, inside }: Target,
  target: LearnedRule['target'],
  note: string | null,
): LearnedRule {
  return {
    ...{ target, protocol, ports: [...ports].sort((a, b) => a - b), seen: { count, first, last }, note },
    inside: [...inside].sort(),
  }
}

function splitPorts(rule: LearnedRule): LearnedRule[] {
  const { ports } = rule
  if (ports.length <= PORTS_PER_RULE_MAX) return [rule]
  const parts = Math.ceil(ports.length / PORTS_PER_RULE_MAX)
  return Array.from({ length: parts }, (_, part) => {
    return { ...rule, ports: ports.slice(part * PORTS_PER_RULE_MAX, (part + 1) * PORTS_PER_RULE_MAX) }
  })
}

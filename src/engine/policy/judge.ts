/**
 * What a policy says of an attempt that was recorded, by the rules as they are compiled: for replay, learn and why. It guards the order
 * that kernel and gateway have (deny, then allow, then default), and that what a record does not tell counts as denied, and is said. It
 * is no part of enforcement.
 */
import { specialKindOf } from '../../base/special-addresses.js'
import { Protocol } from '../../proto/codec.js'
import { HostIndex } from '../../proto/host-index.js'
import { type HostPattern, hostPatternText, matchesHost } from '../../proto/host-pattern.js'
import { type AddressRange, holdsAddress, parseAddress, rangeText } from './address-range.js'
import { builtinDenies } from './builtin-denies.js'
import { withoutDot } from './flatten-nets.js'
import { RangeIndex } from './range-index.js'
import type { Attempt, ConnectAttempt } from './record-attempts.js'
import {
  type Allow,
  type AllowHost,
  type AllowNet,
  type Deny,
  isRange,
  type Origin,
  type PortSpan,
  type Rules,
} from './rules.js'

export interface Judgement {
  readonly decision: 'ALLOW' | 'DENY'
  /** As a verdict has it. */
  readonly rule: string
  readonly reason: string
  /** A record that knew the name might say otherwise. */
  readonly isGuess: boolean
}

/** One rule that had a say. */
export interface Consideration {
  readonly origin: Origin
  readonly says: 'allows' | 'denies' | 'does not apply'
  /** Why not, or what fits. */
  readonly why: string
}

const PROTOCOLS: Readonly<Record<string, Protocol>> = {
  TCP: Protocol.PROTOCOL_TCP,
  UDP: Protocol.PROTOCOL_UDP,
  ICMP: Protocol.PROTOCOL_ICMP,
}
const DNS_PORT = 53
const UNSPECIFIED = ['0.0.0.0', '::'].map(parseAddress)
const HASH_PREFIX = 'sha256:'

type HostDenial = Deny & { readonly target: HostPattern }

export class Judge {
  readonly #rules: Rules
  readonly #denies: readonly Deny[]
  readonly #nets: RangeIndex<AllowNet | Deny>
  readonly #hosts: HostIndex<AllowHost>
  readonly #deniedHosts: HostIndex<{ host: HostPattern; deny: HostDenial }>

  constructor(rules: Rules) {
    this.#rules = rules
    this.#denies = [...rules.denies, ...builtinDenies(rules.allows)]
    const nets = rules.allows.filter((allow) => allow.kind === 'net')
    this.#nets = new RangeIndex<AllowNet | Deny>([
      ...nets.map((net) => ({ range: net.range, value: net })),
      ...this.#denies.flatMap((deny) => (isRange(deny.target) ? [{ range: deny.target, value: deny }] : [])),
    ])
    this.#hosts = new HostIndex(rules.allows.filter((allow) => allow.kind === 'host'))
    const hostDenies = this.#denies.filter((deny): deny is HostDenial => !isRange(deny.target))
    this.#deniedHosts = new HostIndex(hostDenies.map((deny) => ({ host: deny.target, deny })))
  }

  judge(attempt: Attempt): Judgement {
    return attempt.kind === 'name' ? this.#name(attempt.name) : this.#connect(attempt)
  }

  /** Every rule that could have had a say, in the order of the policy; of a long policy only those that come near. */
  consider(attempt: Attempt): Consideration[] {
    return [
      ...this.#denies.flatMap((deny) => considerDeny(deny, attempt) ?? []),
      ...this.#rules.allows.flatMap((allow) => considerAllow(allow, attempt) ?? []),
    ]
  }

  #name(name: string): Judgement {
    const mode = this.#rules.dns ?? (this.#rules.mode === 'enforce' ? 'restrict' : 'observe')
    const denied = this.#deniedHosts.matching(name).find(({ deny }) => deny.ports.length === 0)
    if (denied !== undefined) return byDeny(denied.deny)
    const [rule] = this.#hosts.matching(name)
    if (rule !== undefined) return allowed(rule.origin.path)
    return mode === 'restrict' ? denial('dns.mode', 'no rule allows the name') : allowed('dns.mode')
  }

  #connect(attempt: ConnectAttempt): Judgement {
    if (attempt.protocol === 'UNIX') return this.#unix(attempt)
    if (attempt.protocol === 'NETLINK') return allowed('builtin.netlink')
    const address = parseAddress(attempt.address)
    const protocol = PROTOCOLS[attempt.protocol]
    if (protocol === undefined) return denial('default', `no rule can allow ${attempt.protocol}`)
    // A socket by itself reaches nothing.
    if (attempt.via === 'SOCKET') return allowed('none')
    if (address === null) return denial('default', 'the record has no address')
    if (attempt.port === DNS_PORT && !isHere(address) && this.#rules.dns !== 'off') return allowed('dns.mode')
    return this.#remote(attempt, address, { protocol, port: protocol === Protocol.PROTOCOL_ICMP ? 0 : attempt.port })
  }

  #remote(attempt: ConnectAttempt, address: Buffer, end: End): Judgement {
    const nets = this.#nets.holding(address)
    const denied = nets.find((each) => !('kind' in each) && spansHold(each.ports, end, true))
    if (denied !== undefined) return byDeny(denied)
    const deniedName = attempt.names
      .flatMap((name) => this.#deniedHosts.matching(name))
      .find(({ deny }) => spansHold(deny.ports, end, true))
    if (deniedName !== undefined) return byDeny(deniedName.deny)
    if (isHere(address)) return this.#loopback(attempt)
    const fits = (allow: Allow) => spansHold(allow.ports, end, false) && runsAs(allow, attempt.exe)
    const net = nets.find((each): each is AllowNet => 'kind' in each && fits(each))
    if (net !== undefined) return allowed(net.origin.path)
    const named = attempt.names.flatMap((name) => this.#hosts.matching(name)).filter(fits)
    const open = named.find(
      (host) => isOrdinary(address) || host.allowPrivate.some((range) => holdsAddress(range, address)),
    )
    if (open !== undefined) return allowed(open.origin.path)
    const [inside] = named
    if (inside !== undefined)
      return denial(inside.origin.path, `the name led to ${attempt.address}, which is inside; allow_private allows it`)
    const isGuess =
      attempt.names.length === 0 && this.#rules.allows.some((allow) => allow.kind === 'host' && fits(allow))
    return {
      ...denial(
        'default',
        isGuess ? 'no rule allows the address, and the record has no name for it' : 'no rule allows it',
      ),
      isGuess,
    }
  }

  #loopback({ toOwnListener }: ConnectAttempt): Judgement {
    const listeners = this.#rules.listeners ?? 'own'
    if (listeners === 'any' || (listeners === 'own' && toOwnListener)) return allowed('local.listeners')
    return denial(
      'local.listeners',
      listeners === 'own' ? 'what listens there is not the sandbox' : 'loopback is closed',
    )
  }

  #unix({ address, toOwnListener }: ConnectAttempt): Judgement {
    if (toOwnListener || address === '') return allowed('local.listeners')
    const rule = this.#rules.unix?.find(({ path }) => path === address)
    return rule === undefined ? denial('local.unix', 'no rule allows the socket') : allowed(rule.origin.path)
  }
}

interface End {
  readonly protocol: Protocol
  readonly port: number
}

/** The unspecified address leads to this machine, too. */
function isHere(address: Buffer): boolean {
  return UNSPECIFIED.some((each) => each?.equals(address)) || specialKindOf(address) === 'loopback'
}

function isOrdinary(address: Buffer): boolean {
  return specialKindOf(address) === null
}

/** A deny without ports is one of all. */
function spansHold(spans: readonly PortSpan[], { protocol, port }: End, isDeny: boolean): boolean {
  if (isDeny && spans.length === 0) return true
  const any = Protocol.PROTOCOL_UNSPECIFIED
  return (isDeny ? spans : spans.flatMap(withoutDot)).some(
    (span) => (span.protocol === protocol || span.protocol === any) && span.first <= port && port <= span.last,
  )
}

/** Of a hash a record tells nothing. */
function runsAs({ binaries }: Allow, exe: string): boolean {
  return binaries.length === 0 || binaries.some((binary) => !binary.startsWith(HASH_PREFIX) && binary === exe)
}

function allowed(rule: string): Judgement {
  return { decision: 'ALLOW', rule, reason: '', isGuess: false }
}

function denial(rule: string, reason: string): Judgement {
  return { decision: 'DENY', rule, reason, isGuess: false }
}

function byDeny({ origin }: Deny | AllowNet): Judgement {
  return denial(origin.path, origin.reason || 'a rule denies it')
}

function considerDeny({ origin, target, ports }: Deny, attempt: Attempt): Consideration | null {
  const hit = isRange(target)
    ? rangeHit(target, attempt)
    : (namesOf(attempt).find((name) => matchesHost(target, name)) ?? null)
  if (hit === null) return null
  const text = isRange(target) ? rangeText(target) : hostPatternText(target)
  if (attempt.kind === 'name')
    return { origin, says: ports.length === 0 ? 'denies' : 'does not apply', why: `${text} has ${hit}` }
  const end = endOf(attempt)
  const isOpen = end === null || !spansHold(ports, end, true)
  return {
    origin,
    says: isOpen ? 'does not apply' : 'denies',
    why: isOpen ? `${text} has ${hit}, but the port is another` : `${text} has ${hit}`,
  }
}

function considerAllow(allow: Allow, attempt: Attempt): Consideration | null {
  const { origin } = allow
  const hit =
    allow.kind === 'net'
      ? rangeHit(allow.range, attempt)
      : (namesOf(attempt).find((name) => matchesHost(allow.host, name)) ?? null)
  if (hit === null) return null
  const text = allow.kind === 'net' ? rangeText(allow.range) : hostPatternText(allow.host)
  const not = (why: string): Consideration => ({
    origin,
    says: 'does not apply',
    why: `${text} has ${hit}, but ${why}`,
  })
  if (attempt.kind === 'name') return { origin, says: 'allows', why: `${text} has ${hit}` }
  const end = endOf(attempt)
  if (end === null) return not(`no rule can allow ${attempt.protocol}`)
  if (!spansHold(allow.ports, end, false)) return not(`not port ${attempt.port}/${attempt.protocol.toLowerCase()}`)
  if (!runsAs(allow, attempt.exe))
    return not(`only for ${allow.binaries.join(', ')}, and this was ${attempt.exe || 'not recorded'}`)
  const address = parseAddress(attempt.address)
  if (
    allow.kind === 'host' &&
    address !== null &&
    !isOrdinary(address) &&
    !allow.allowPrivate.some((range) => holdsAddress(range, address))
  ) {
    return not(`${attempt.address} is inside; allow_private would allow it`)
  }
  return { origin, says: 'allows', why: `${text} has ${hit}` }
}

function namesOf(attempt: Attempt): readonly string[] {
  return attempt.kind === 'name' ? [attempt.name] : attempt.names
}

function rangeHit(range: AddressRange, attempt: Attempt): string | null {
  const address = attempt.kind === 'connect' ? parseAddress(attempt.address) : null
  return address !== null && attempt.kind === 'connect' && holdsAddress(range, address) ? attempt.address : null
}

function endOf({ protocol, port }: ConnectAttempt): End | null {
  const number = PROTOCOLS[protocol]
  return number === undefined ? null : { protocol: number, port: number === Protocol.PROTOCOL_ICMP ? 0 : port }
}

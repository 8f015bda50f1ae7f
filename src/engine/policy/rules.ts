/**
 * The rules of a policy, or of several that were merged, in one form: bundles expanded, defaults filled in, text parsed. What a file says
 * about them is schema.ts's, what the kernel and the gateway get of them compile.ts's.
 */
import type { Place } from '../../base/yaml-file.js'
import { Protocol } from '../../proto/codec.js'
import type { HostPattern } from '../../proto/host-pattern.js'
import type { AddressRange } from './address-range.js'
import type { DetectSettings } from './detect-settings.js'
import type { Ladder } from './ladders.js'
import type { LimitRules, RateRule } from './limit-rules.js'

export const PORT_MAX = 65_535

/** Which rule it is, for verdicts and for people. */
export interface Origin {
  readonly policy: string
  /** `egress[2]`, `bundles.github[3]`, `builtin.metadata`. */
  readonly path: string
  /** Where in the file; null for what is in none. */
  readonly place: Place | null
  /** Of a host that no rule names itself: who did. */
  readonly source: string | null
  /** For who is refused; empty where the rule gives none. */
  readonly reason: string
}

export interface PortSpan {
  /** UNSPECIFIED in a deny: every protocol. */
  readonly protocol: Protocol
  readonly first: number
  readonly last: number
}

export interface AllowHost {
  readonly kind: 'host'
  readonly origin: Origin
  readonly host: HostPattern
  readonly ports: readonly PortSpan[]
  /** Paths, and hashes as sha256:…; empty: every program. */
  readonly binaries: readonly string[]
  readonly allowPrivate: readonly AddressRange[]
  readonly direct: boolean
  readonly opaque: boolean
}

export interface AllowNet {
  readonly kind: 'net'
  readonly origin: Origin
  readonly range: AddressRange
  readonly ports: readonly PortSpan[]
  readonly binaries: readonly string[]
}

export type Allow = AllowHost | AllowNet

export interface Deny {
  readonly origin: Origin
  readonly target: HostPattern | AddressRange
  /** Empty: all there are. */
  readonly ports: readonly PortSpan[]
}

export interface AllowUnix {
  readonly origin: Origin
  readonly path: string
}

export type ModeName = 'monitor' | 'enforce'
export type WireName = 'off' | 'observe' | 'enforce'
export type DnsName = 'restrict' | 'observe' | 'off'
export type ListenersName = 'own' | 'any' | 'none'

/** Null: the policy doesn't say. */
export interface Rules {
  readonly name: string
  readonly mode: ModeName
  readonly wire: WireName | null
  readonly dns: DnsName | null
  /** Names looked up. */
  readonly dnsLimit: RateRule | null
  readonly limits: LimitRules
  readonly listeners: ListenersName | null
  readonly allows: readonly Allow[]
  readonly denies: readonly Deny[]
  /** Null: the policy doesn't say, which is none. */
  readonly unix: readonly AllowUnix[] | null
  readonly floor: boolean
  readonly ladders: readonly Ladder[]
  readonly detect: DetectSettings
  readonly allowBrokers: boolean
  readonly allowPrivileged: boolean
  /** What it says and this version does not judge, a sentence each. */
  readonly unjudged: readonly string[]
}

export const EVERY_PORT: PortSpan = { protocol: Protocol.PROTOCOL_UNSPECIFIED, first: 0, last: PORT_MAX }

export function isRange(target: HostPattern | AddressRange): target is AddressRange {
  return 'prefix' in target
}

/** What the two have in common; null if nothing. A deny's `every protocol` meets each. */
export function meetSpans(one: PortSpan, other: PortSpan): PortSpan | null {
  const any = Protocol.PROTOCOL_UNSPECIFIED
  const protocol = one.protocol === any ? other.protocol : one.protocol
  if (other.protocol !== any && other.protocol !== protocol) return null
  const [first, last] = [Math.max(one.first, other.first), Math.min(one.last, other.last)]
  return first <= last ? { protocol, first, last } : null
}

/** Nothing stands for everything, as in a deny. */
export function portsMeet(ones: readonly PortSpan[], others: readonly PortSpan[]): boolean {
  const all = (spans: readonly PortSpan[]) => (spans.length === 0 ? [EVERY_PORT] : spans)
  return all(ones).some((one) => all(others).some((other) => meetSpans(one, other) !== null))
}

/** `443/tcp`, `8000-8100/udp`, `icmp`. */
export function spanText({ protocol, first, last }: PortSpan): string {
  if (protocol === Protocol.PROTOCOL_ICMP) return 'icmp'
  const name = protocol === Protocol.PROTOCOL_UDP ? '/udp' : protocol === Protocol.PROTOCOL_TCP ? '/tcp' : ''
  return `${first === last ? first : `${first}-${last}`}${name}`
}

/** Rules as sentences, one each, for people. It says what was understood, defaults and bundles included; it decides nothing. */
import { hostPatternText } from '../../proto/host-pattern.js'
import { rangeText } from './address-range.js'
import { explainLadders } from './ladders.js'
import { explainLimits } from './limit-rules.js'
import { type Allow, type Deny, isRange, type Origin, type PortSpan, type Rules, spanText } from './rules.js'

/** The whole policy: what it is, then every rule in order, then what holds besides. */
export function explainRules(rules: Rules): string[] {
  const isEnforced = rules.mode === 'enforce'
  return [
    `${rules.name}: ${isEnforced ? 'refuses' : 'records as WOULD_DENY, and lets pass,'} what no rule allows${rules.floor ? '; holds above every other policy' : ''}.`,
    ...rules.allows.map(explainAllow),
    ...rules.denies.map(explainDeny),
    'Unix sockets: what the sandbox listens on itself, and nothing else that is not named here.',
    ...(rules.unix ?? []).map(({ origin, path }) => `${label(origin)}: the socket ${path} may be connected to.`),
    `names: ${namesSentence(rules)}`,
    `loopback: ${LISTENERS[rules.listeners ?? 'own']}`,
    ...explainLimits(rules.limits),
    ...explainLadders(rules.ladders),
    ...(rules.allowBrokers
      ? ['allow_brokers: container engines, D-Bus, ssh-agent and the like may be asked to act for it.']
      : []),
    ...(rules.allowPrivileged ? ['allow_privileged: it is enforced also where the sandbox could undo that.'] : []),
    "always: the cloud's metadata services, public resolvers and DNS over TLS are denied unless a rule names just them.",
    ...rules.unjudged.map((sentence) => `not judged: ${sentence}.`),
  ]
}

export function explainAllow(allow: Allow): string {
  const what = allow.kind === 'host' ? hostPhrase(hostPatternText(allow.host)) : `${rangeText(allow.range)} (addresses)`
  const parts = [`${label(allow.origin)}: ${what} may be reached at ${portsPhrase(allow.ports)}`]
  if (allow.binaries.length > 0) parts.push(`by ${allow.binaries.join(', ')} only`)
  if (allow.kind === 'host' && allow.allowPrivate.length > 0) {
    parts.push(`also where its address is in ${allow.allowPrivate.map(rangeText).join(', ')}`)
  }
  if (allow.kind === 'host' && allow.direct) parts.push('past the gateway')
  return `${parts.join(', ')}.${allow.origin.source === null ? '' : ` From ${allow.origin.source}.`}`
}

export function explainDeny({ origin, target, ports }: Deny): string {
  const what = isRange(target) ? `${rangeText(target)} (addresses)` : hostPhrase(hostPatternText(target))
  const at = ports.length === 0 ? '' : ` at ${portsPhrase(ports)}`
  return `${label(origin)}: ${what} is denied${at}, whatever else allows it${origin.reason === '' ? '' : `: ${origin.reason}`}.`
}

export function portsPhrase(ports: readonly PortSpan[]): string {
  return ports.length === 0 ? 'every port' : ports.map(spanText).join(', ')
}

const LISTENERS = {
  own: 'only listeners of the sandbox itself are reached.',
  any: 'every listener on this machine is reached.',
  none: 'nothing is reached.',
} as const

function hostPhrase(pattern: string): string {
  if (pattern.startsWith('**.')) return `every name below ${pattern.slice(3)} (${pattern})`
  if (pattern.startsWith('*.')) return `every name one label below ${pattern.slice(2)} (${pattern})`
  return pattern.startsWith('.') ? `${pattern.slice(1)} and every name below it (${pattern})` : pattern
}

function namesSentence({ mode, dns }: Rules): string {
  const effective = dns ?? (mode === 'enforce' ? 'restrict' : 'observe')
  if (effective === 'restrict') return 'only those that a rule could allow are answered.'
  return effective === 'off' ? 'port 53 is a port like any other.' : 'all are answered.'
}

function label({ policy, path }: Origin): string {
  return policy === '' ? path : `${policy} ${path}`
}

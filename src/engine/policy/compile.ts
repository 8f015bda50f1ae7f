/**
 * Rules as kernel and gateway take them. It guards that the same rules give the same bytes, and so the same digest, on every machine, and that
 * each number in it names a rule.
 */
import { SluiceError } from '../../base/error.js'
import {
  DnsMode,
  type IBinary,
  type ICompiledPolicy,
  type INetEntry,
  type IPortRange,
  type IPrefix,
  type IRule,
  Listeners,
  Mode,
  Wire,
} from '../../proto/codec.js'
import { digested, policyBytes } from '../../proto/policy-bytes.js'
import { POLICY_BYTES_MAX } from '../../proto/policy-size.js'
import type { AddressRange } from './address-range.js'
import { builtinDenies } from './builtin-denies.js'
import { compiledSettings } from './detect-settings.js'
import { type FlatNet, flattenNets, withoutDot } from './flatten-nets.js'
import { compiledLadders, stopsAtHit } from './ladders.js'
import { compiledLimits } from './limit-rules.js'
import { conflictText, PortDenies } from './port-denies.js'
import { type AllowHost, type Deny, isRange, type Origin, type PortSpan, type Rules } from './rules.js'

const HASH_PREFIX = 'sha256:'

export interface Compiled {
  readonly policy: ICompiledPolicy
  /** What each rule number stands for; null: `default`. */
  readonly origins: readonly (Origin | null)[]
}

/** Throws LIMIT for more ranges of ports than the kernel side keeps, USAGE for a deny that could not be kept. */
export function compileRules(rules: Rules): Compiled {
  const denies = [...rules.denies, ...builtinDenies(rules.allows)]
  const book = new RuleBook(rules.name)
  for (const { origin } of [...rules.allows, ...rules.denies, ...(rules.unix ?? []), ...denies]) book.number(origin)
  const isEnforced = rules.mode === 'enforce'
  const body: ICompiledPolicy = {
    name: rules.name,
    mode: isEnforced ? Mode.MODE_ENFORCE : Mode.MODE_MONITOR,
    wire: WIRES[rules.wire ?? (isEnforced ? 'enforce' : 'off')],
    dns: DNS_MODES[rules.dns ?? (isEnforced ? 'restrict' : 'observe')],
    listeners: LISTENERS[rules.listeners ?? 'own'],
    allowBrokers: rules.allowBrokers,
    allowPrivileged: rules.allowPrivileged,
    rules: book.rules(),
    nets: netsOf(rules, denies, book),
    hosts: hostsOf(rules, book),
    denyHosts: denies.flatMap(({ origin, target, ports }) =>
      isRange(target) ? [] : [{ rule: book.number(origin), host: target, ports: ports.map(portRange) }],
    ),
    unix: (rules.unix ?? []).map(({ origin, path }) => ({ rule: book.number(origin), path: Buffer.from(path) })),
    ...(rules.dnsLimit === null ? {} : { dnsLimit: { ...rules.dnsLimit } }),
    detect: compiledSettings(rules.detect),
    respond: compiledLadders(rules.ladders),
    unjudged: [...rules.unjudged],
    ...limitsPart(rules),
  }
  const policy = digested(body)
  const bytes = policyBytes(policy).length
  if (bytes > POLICY_BYTES_MAX) {
    throw new SluiceError('LIMIT', `the policy comes to ${bytes} bytes; at most ${POLICY_BYTES_MAX}`, {
      hint: 'put ranges together, or leave out reasons',
    })
  }
  return { policy, origins: book.origins() }
}

function limitsPart({ limits, ladders }: Rules): Pick<ICompiledPolicy, 'limits'> {
  const compiled = compiledLimits(limits)
  if (compiled === null) return {}
  return { limits: stopsAtHit(ladders) ? { ...compiled, stopAtHit: true } : compiled }
}

const WIRES = { off: Wire.WIRE_OFF, observe: Wire.WIRE_OBSERVE, enforce: Wire.WIRE_ENFORCE } as const
const DNS_MODES = {
  restrict: DnsMode.DNS_MODE_RESTRICT,
  observe: DnsMode.DNS_MODE_OBSERVE,
  off: DnsMode.DNS_MODE_OFF,
} as const
const LISTENERS = {
  own: Listeners.LISTENERS_OWN,
  any: Listeners.LISTENERS_ANY,
  none: Listeners.LISTENERS_NONE,
} as const

/** Numbers of rules, in the order in which they are first asked for; 0 is the default. */
class RuleBook {
  readonly #policy: string
  readonly #byPath = new Map<string, number>()
  /** The same, found without making a key. */
  readonly #byOrigin = new Map<Origin, number>()
  readonly #origins: (Origin | null)[] = [null]

  constructor(policy: string) {
    this.#policy = policy
  }

  number(origin: Origin): number {
    const known = this.#byOrigin.get(origin)
    if (known !== undefined) return known
    const path = `${origin.policy}\0${origin.path}`
    const number = this.#byPath.get(path) ?? this.#origins.push(origin) - 1
    this.#byPath.set(path, number)
    this.#byOrigin.set(origin, number)
    return number
  }

  pathOf(number: number): string {
    return this.#origins[number]?.path ?? 'default'
  }

  origins(): readonly (Origin | null)[] {
    return this.#origins
  }

  rules(): IRule[] {
    return this.#origins.map((origin) =>
      origin === null
        ? { path: 'default', policy: this.#policy, reason: 'no rule allows it' }
        : { path: origin.path, policy: origin.policy || this.#policy, reason: origin.reason },
    )
  }
}

function netsOf(rules: Rules, denies: readonly Deny[], book: RuleBook): INetEntry[] {
  const allowed = rules.allows.flatMap((allow) =>
    allow.kind === 'net' ? [{ ...allow, rule: book.number(allow.origin) }] : [],
  )
  const denied = denies.flatMap(({ origin, target, ports }) =>
    isRange(target) ? [{ rule: book.number(origin), range: target, ports }] : [],
  )
  return flattenNets(allowed, denied, (rule) => book.pathOf(rule)).map(netEntry)
}

function netEntry({ range, ports }: FlatNet): INetEntry {
  return {
    ...prefix(range),
    ports: ports.map(({ span, deny, rule, binaries }) => {
      return {
        range: portRange(span),
        deny,
        rule,
        binaries: binaries.map((each) => ({ ...binary(each.text), rule: each.rule })),
      }
    }),
  }
}

/** Throws USAGE for a deny of ports that could not be kept, where it would have to be. */
function hostsOf(rules: Rules, book: RuleBook) {
  const portDenies = new PortDenies(rules.denies)
  const [conflict] = rules.mode === 'enforce' ? portDenies.conflicts(rules) : []
  if (conflict !== undefined) throw new SluiceError('USAGE', conflictText(conflict))
  return rules.allows.flatMap((allow) => {
    const left = allow.kind === 'host' ? portDenies.without(allow) : null
    return left === null ? [] : [hostRule(left, book)]
  })
}

function hostRule(allow: AllowHost, book: RuleBook) {
  return {
    ...{ rule: book.number(allow.origin), host: allow.host, ports: allow.ports.flatMap(withoutDot).map(portRange) },
    ...{ binaries: allow.binaries.map(binary), allowPrivate: allow.allowPrivate.map(prefix) },
    ...{ direct: allow.direct, opaque: allow.opaque },
  }
}

function prefix({ prefix, length }: AddressRange): IPrefix {
  return { prefix, prefixLength: length }
}

function portRange({ protocol, first, last }: PortSpan): IPortRange {
  return { protocol, first, last }
}

function binary(text: string): IBinary {
  return text.startsWith(HASH_PREFIX) ? { sha256: Buffer.from(text.slice(HASH_PREFIX.length), 'hex') } : { path: text }
}

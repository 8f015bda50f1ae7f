/**
 * Several policies as one. At one layer: what any of them allows, what any of them denies, the strictest mode. Across layers (floor, then
 * below): a lower one can only tighten, so what both name is allowed, and a floor's deny can't be reopened. A layer that allows nothing
 * by name and has floors alone leaves that to those below it. It guards exactly this; which policy is in which layer is the caller's.
 */
import { compareRanges, holdsRange, isV4 } from './address-range.js'
import { strictest as strictestDetect } from './detect-settings.js'
import { uniteLadders } from './ladders.js'
import { lowestLimits, lowestRate } from './limit-rules.js'
import { meetHosts } from './meet-hosts.js'
import {
  type Allow,
  type AllowHost,
  type AllowNet,
  type AllowUnix,
  type DnsName,
  type ListenersName,
  meetSpans,
  type Rules,
  type WireName,
} from './rules.js'

const STRICTEST_WIRE: readonly WireName[] = ['enforce', 'observe', 'off']
const STRICTEST_DNS: readonly DnsName[] = ['restrict', 'observe', 'off']
const STRICTEST_LISTENERS: readonly ListenersName[] = ['none', 'own', 'any']

/** From the highest layer to the lowest. Null for none at all. */
export function mergeLayers(layers: readonly (readonly Rules[])[]): Rules | null {
  const merged = layers.flatMap((layer) => mergeLayer(layer) ?? [])
  const [first, ...lower] = merged
  return first === undefined ? null : lower.reduce(tighten, first)
}

/** Floors above everything else. */
export function layersOf(policies: readonly Rules[]): Rules[][] {
  return [policies.filter(({ floor }) => floor), policies.filter(({ floor }) => !floor)]
}

function mergeLayer(layer: readonly Rules[]): Rules | null {
  const [first, ...more] = layer
  return first === undefined ? null : more.reduce(unite, first)
}

function unite(one: Rules, other: Rules): Rules {
  return {
    ...common(one, other),
    listeners: loosest(STRICTEST_LISTENERS, one.listeners, other.listeners),
    allows: [...one.allows, ...other.allows],
    unix: one.unix === null ? other.unix : [...one.unix, ...(other.unix ?? [])],
    allowBrokers: one.allowBrokers || other.allowBrokers,
    allowPrivileged: one.allowPrivileged || other.allowPrivileged,
  }
}

function tighten(upper: Rules, lower: Rules): Rules {
  return {
    ...common(upper, lower),
    listeners: strictest(STRICTEST_LISTENERS, upper.listeners, lower.listeners),
    allows: isSilent(upper) ? lower.allows : isSilent(lower) ? upper.allows : meetAllows(upper.allows, lower.allows),
    unix: meetUnix(upper.unix, lower.unix),
    allowBrokers: upper.allowBrokers && lower.allowBrokers,
    allowPrivileged: upper.allowPrivileged && lower.allowPrivileged,
  }
}

function common(one: Rules, other: Rules) {
  return {
    name: one.name === other.name ? one.name : `${one.name}+${other.name}`,
    mode: one.mode === 'enforce' ? one.mode : other.mode,
    wire: strictest(STRICTEST_WIRE, one.wire, other.wire),
    dns: strictest(STRICTEST_DNS, one.dns, other.dns),
    dnsLimit: lowestRate(one.dnsLimit, other.dnsLimit),
    limits: lowestLimits(one.limits, other.limits),
    denies: [...one.denies, ...other.denies],
    floor: one.floor && other.floor,
    detect: strictestDetect([one.detect, other.detect]),
    ladders: uniteLadders(one.ladders, other.ladders),
    unjudged: [...new Set([...one.unjudged, ...other.unjudged])],
  }
}

/** It says what must not be, and leaves what may be to others. */
function isSilent({ floor, allows }: Rules): boolean {
  return floor && allows.length === 0
}

/** Null where neither says. */
function strictest<T>(order: readonly T[], one: T | null, other: T | null): T | null {
  return order.find((each) => each === one || each === other) ?? null
}

function loosest<T>(order: readonly T[], one: T | null, other: T | null): T | null {
  return one === null ? other : other === null ? one : strictest([...order].reverse(), one, other)
}

function meetUnix(upper: readonly AllowUnix[] | null, lower: readonly AllowUnix[] | null): readonly AllowUnix[] | null {
  if (upper === null || lower === null) return upper ?? lower
  return lower.filter(({ path }) => upper.some((each) => each.path === path))
}

/** The lower rule's origin is kept: it is the one that its author knows. */
function meetAllows(upper: readonly Allow[], lower: readonly Allow[]): readonly Allow[] {
  const sides = { upper: bySort(upper), lower: bySort(lower) }
  // A name and a range have nothing in common that could be known before the name is asked for.
  return [...meetHostRules(sides.upper.hosts, sides.lower.hosts), ...meetNetRules(sides.upper.nets, sides.lower.nets)]
}

function bySort(allows: readonly Allow[]): { hosts: AllowHost[]; nets: AllowNet[] } {
  return {
    hosts: allows.filter((allow) => allow.kind === 'host'),
    nets: allows.filter((allow) => allow.kind === 'net'),
  }
}

/** Only bases of which one is the end of the other can meet: each looks for those at the end of its own. */
function meetHostRules(upper: readonly AllowHost[], lower: readonly AllowHost[]): AllowHost[] {
  const upperByBase = byBase(upper)
  const lowerByBase = byBase(lower)
  const ofLower = lower.flatMap((low) =>
    endsOf(low.host.base).flatMap((base) => meetAll(upperByBase.get(base) ?? [], [low])),
  )
  const ofUpper = upper.flatMap((up) => {
    return endsOf(up.host.base)
      .slice(1)
      .flatMap((base) => meetAll([up], lowerByBase.get(base) ?? []))
  })
  return [...ofLower, ...ofUpper]
}

function byBase(rules: readonly AllowHost[]): Map<string, AllowHost[]> {
  const map = new Map<string, AllowHost[]>()
  for (const rule of rules) map.set(rule.host.base, [...(map.get(rule.host.base) ?? []), rule])
  return map
}

/** `a.b.c`, `b.c`, `c`. */
function endsOf(base: string): string[] {
  const labels = base.split('.')
  return labels.map((_, index) => labels.slice(index).join('.'))
}

function meetAll(upper: readonly AllowHost[], lower: readonly AllowHost[]): AllowHost[] {
  return lower.flatMap((low) => upper.flatMap((up) => meetHostRule(up, low) ?? []))
}

/** One walk over both in order: what is open when a range comes holds it. */
function meetNetRules(upper: readonly AllowNet[], lower: readonly AllowNet[]): AllowNet[] {
  const all = [...upper.map((rule) => ({ rule, isUpper: true })), ...lower.map((rule) => ({ rule, isUpper: false }))]
  const families = [all.filter(({ rule }) => isV4(rule.range)), all.filter(({ rule }) => !isV4(rule.range))]
  return families.flatMap((family) => {
    const open: typeof all = []
    return family
      .sort((a, b) => compareRanges(a.rule.range, b.rule.range))
      .flatMap((next) => {
        while (open.length > 0 && !holdsRange(open.at(-1)?.rule.range ?? next.rule.range, next.rule.range)) open.pop()
        const met = open.filter(({ isUpper }) => isUpper !== next.isUpper)
        open.push(next)
        return met.flatMap((other) => {
          const [up, low] = next.isUpper ? [next.rule, other.rule] : [other.rule, next.rule]
          return meetNetRule(up, low, next.rule.range) ?? []
        })
      })
  })
}

/** `range`: the narrower of the two. */
function meetNetRule(up: AllowNet, low: AllowNet, range: AllowNet['range']): AllowNet | null {
  const both = meetCommon(up, low)
  return both === null ? null : { ...low, ...both, range }
}

function meetHostRule(up: AllowHost, low: AllowHost): AllowHost | null {
  const both = meetCommon(up, low)
  const host = meetHosts(up.host, low.host)
  if (both === null || host === null) return null
  const allowPrivate = low.allowPrivate.filter((range) => up.allowPrivate.some((each) => holdsRange(each, range)))
  return { ...low, ...both, host, allowPrivate, direct: low.direct && up.direct, opaque: low.opaque && up.opaque }
}

function meetCommon(up: Allow, low: Allow): Pick<Allow, 'ports' | 'binaries'> | null {
  const ports = up.ports.flatMap((one) => low.ports.flatMap((other) => meetSpans(one, other) ?? []))
  const binaries = meetBinaries(up.binaries, low.binaries)
  return ports.length === 0 || binaries === null ? null : { ports, binaries }
}

/** None named is every program; null: they have none in common. */
function meetBinaries(up: readonly string[], low: readonly string[]): readonly string[] | null {
  if (up.length === 0 || low.length === 0) return up.length === 0 ? low : up
  const both = low.filter((each) => up.includes(each))
  return both.length === 0 ? null : both
}

/**
 * A policy file that the schema took, as rules: defaults filled in, bundles expanded. It guards that a bundle of a package manager that
 * says nothing on this machine is an error and not an empty list. Whether the rules make sense together is check.ts's.
 */

import { type Path, pathText } from '../../base/schema-issues.js'
import type { Place } from '../../base/yaml-file.js'
import { Protocol } from '../../proto/codec.js'
import { type AddressRange, knownRange, parseRange } from './address-range.js'
import { SERVICES, type ServiceHost, type ServiceName } from './bundles/services.js'
import type { ToolHosts } from './bundles/tool-hosts.js'
import type { ToolName } from './bundles/tool-names.js'
import { detectSettings } from './detect-settings.js'
import { laddersOf } from './ladders.js'
import { limitRulesOf, rateRule } from './limit-rules.js'
import { parseHost } from './parse-host.js'
import { parseCount, parseRate } from './quantity.js'
import type { Allow, AllowHost, Deny, Origin, PortSpan, Rules } from './rules.js'
import type { CidrRuleFile, DenyRuleFile, EgressRule, HostRuleFile, PolicyFile } from './schema.js'
import { parsePortRange } from './schema-parts.js'
import { unsupportedIn } from './unsupported.js'

/** A file with its places. */
export interface ParsedPolicy {
  readonly file: PolicyFile
  readonly at: (path: Path) => Place
}

/** What was found in one place of a file; an error keeps the policy from being used. */
export interface Finding extends Place {
  readonly severity: 'error' | 'warning'
  readonly message: string
}

export interface Resolved {
  readonly rules: Rules
  readonly findings: readonly Finding[]
}

const HTTPS = 443
const PLACES_SHOWN = 4
/** Where a company's own mirror may be; this machine, its network's devices and the cloud's metadata are not among them. */
const MIRROR_RANGES = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7']

export function resolveRules({ file, at }: ParsedPolicy, tools: ToolHosts): Resolved {
  const egress = file.egress ?? []
  const bundles = resolveBundles({ file, at }, tools)
  const origin = (path: Path, reason = ''): Origin => originOf({ file, at }, path, { reason, source: null })
  const allows = egress.flatMap((rule, index): Allow[] => allowOf(rule, origin(['egress', index], rule.reason)))
  const denies = egress.flatMap((rule, index): Deny[] =>
    'deny' in rule ? [denyOf(rule, origin(['egress', index], rule.reason))] : [],
  )
  const unix = file.local?.unix?.map((path, index) => ({ path, origin: origin(['local', 'unix', index]) }))
  return {
    rules: {
      ...{ name: file.name, mode: file.mode, wire: file.wire ?? null, dns: file.dns?.mode ?? null },
      dnsLimit: rateRule(file.limits?.dns, parseRate, parseCount),
      limits: limitRulesOf(file.limits),
      ...{ listeners: file.local?.listeners ?? null, allows: [...allows, ...bundles.allows], denies },
      ...{ unix: unix ?? null, floor: file.floor ?? false, ladders: laddersOf(file) },
      detect: detectSettings(file.detect),
      ...{ allowBrokers: file.allow_brokers ?? false, allowPrivileged: file.allow_privileged ?? false },
      unjudged:
        file.mode === 'monitor' ? unsupportedIn(file).map(({ path, what }) => `${pathText(path)}: ${what}`) : [],
    },
    findings: bundles.findings,
  }
}

function originOf(policy: ParsedPolicy, path: Path, rest: { reason: string; source: string | null }): Origin {
  return { policy: policy.file.name, path: pathText(path), place: policy.at(path), ...rest }
}

function allowOf(rule: EgressRule, origin: Origin): Allow[] {
  if ('host' in rule) return hostAllow(rule, origin)
  return 'cidr' in rule ? netAllow(rule, origin) : []
}

function hostAllow(rule: HostRuleFile, origin: Origin): AllowHost[] {
  const parsed = parseHost(rule.host)
  if (!parsed.ok) return []
  const protocol = rule.protocol === 'udp' ? Protocol.PROTOCOL_UDP : Protocol.PROTOCOL_TCP
  return [
    {
      ...{ kind: 'host', origin, host: parsed.host, ports: spansOf(rule.ports ?? [HTTPS], protocol) },
      ...{ binaries: rule.binary ?? [], allowPrivate: (rule.allow_private ?? []).flatMap(rangesOf) },
      ...{ direct: rule.direct ?? false, opaque: rule.protocol === 'opaque' },
    },
  ]
}

function netAllow(rule: CidrRuleFile, origin: Origin): Allow[] {
  const ports =
    rule.protocol === 'icmp'
      ? [{ protocol: Protocol.PROTOCOL_ICMP, first: 0, last: 0 }]
      : spansOf(rule.ports ?? [HTTPS], rule.protocol === 'udp' ? Protocol.PROTOCOL_UDP : Protocol.PROTOCOL_TCP)
  return rangesOf(rule.cidr).map((range) => ({ kind: 'net', origin, range, ports, binaries: rule.binary ?? [] }))
}

function denyOf({ deny }: DenyRuleFile, origin: Origin): Deny {
  const ports = spansOf(deny.ports ?? [], Protocol.PROTOCOL_UNSPECIFIED)
  if ('cidr' in deny) {
    const [range] = rangesOf(deny.cidr)
    if (range !== undefined) return { origin, target: range, ports }
    throw new RangeError(`${deny.cidr} passed the schema and is no range`)
  }
  const parsed = parseHost(deny.host, 'deny')
  if (parsed.ok) return { origin, target: parsed.host, ports }
  throw new RangeError(`${deny.host} passed the schema and is no host`)
}

function rangesOf(text: string): AddressRange[] {
  const parsed = parseRange(text)
  return parsed.ok ? [parsed.range] : []
}

function spansOf(ports: readonly (number | string)[], protocol: Protocol): PortSpan[] {
  return ports.flatMap((port) => {
    const span = parsePortRange(String(port))
    return span === null ? [] : [{ protocol, first: span[0], last: span[1] }]
  })
}

function resolveBundles(policy: ParsedPolicy, tools: ToolHosts): { allows: Allow[]; findings: Finding[] } {
  const allows: Allow[] = []
  const findings: Finding[] = []
  for (const [index, bundle] of (policy.file.bundles ?? []).entries()) {
    const place = policy.at(['bundles', index])
    const origin = (number: number, source: string): Origin => {
      return { policy: policy.file.name, path: `bundles.${bundle}[${number}]`, place, reason: '', source }
    }
    if (isService(bundle)) {
      const { hosts, version, checked } = SERVICES[bundle]
      const source = `bundle ${bundle}, version ${version} of ${checked}`
      allows.push(...hosts.flatMap((host: ServiceHost, at) => bundleAllow(host, origin(at, source), [])))
    } else {
      const { hosts, problems, looked } = tools[bundle]
      const mirrors = MIRROR_RANGES.map(knownRange)
      allows.push(
        ...hosts.flatMap(({ host, port, from }, at) => bundleAllow({ host, ports: [port] }, origin(at, from), mirrors)),
      )
      findings.push(
        ...problems.map((each): Finding => ({ ...place, severity: 'warning', message: `bundles[${index}]: ${each}` })),
      )
      if (hosts.length === 0)
        findings.push({ ...place, severity: 'error', message: saysNothing(index, bundle, looked) })
    }
  }
  return { allows, findings }
}

function bundleAllow({ host, ports }: ServiceHost, origin: Origin, allowPrivate: readonly AddressRange[]): AllowHost[] {
  return hostAllow(ports === undefined ? { host } : { host, ports: [...ports] }, origin).map((each) => ({
    ...each,
    allowPrivate,
  }))
}

function saysNothing(index: number, bundle: ToolName, looked: readonly string[]): string {
  return (
    `bundles[${index}]: the tools of ${bundle} are told no host on this machine (in ${placesText(looked)}); ` +
    'leave the bundle out and name theirs: egress: [{host: …}]'
  )
}

function placesText(looked: readonly string[]): string {
  const shown = looked.slice(0, PLACES_SHOWN).join(', ')
  return looked.length > PLACES_SHOWN ? `${shown} or ${looked.length - PLACES_SHOWN} other places` : shown
}

function isService(bundle: ServiceName | ToolName): bundle is ServiceName {
  return Object.hasOwn(SERVICES, bundle)
}

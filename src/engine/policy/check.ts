/**
 * What is wrong with a policy beyond its single values: keys that contradict each other, rules that can't do what they seem to, and what
 * this version can't enforce. It guards that each is found with its place before anything is applied. An error keeps a policy from
 * being used; a warning is told.
 */

import { brokerOf } from '../../base/broker-sockets.js'
import type { Path } from '../../base/schema-issues.js'
import { about } from '../../base/yaml-file.js'
import { HostIndex } from '../../proto/host-index.js'
import { type HostPattern, hostPatternText } from '../../proto/host-pattern.js'
import { type AddressRange, holdsRange, isV4, knownRange, rangeText } from './address-range.js'
import { isMetadata } from './builtin-denies.js'
import { portsPhrase } from './explain-rules.js'
import { holdsHost } from './meet-hosts.js'
import { parseHost } from './parse-host.js'
import { conflictText, PortDenies } from './port-denies.js'
import { RangeIndex } from './range-index.js'
import type { Finding, ParsedPolicy } from './resolve-rules.js'
import { type AllowHost, type AllowNet, type Deny, isRange, portsMeet, type Rules } from './rules.js'
import type { CidrRuleFile, EgressRule, HostRuleFile } from './schema.js'
import { unsupportedIn } from './unsupported.js'

type Severity = Finding['severity']
type Report = (severity: Severity, path: Path, message: string) => void

/** In the order of the file. */
export function checkPolicy(policy: ParsedPolicy, rules: Rules): Finding[] {
  const findings: Finding[] = []
  const report: Report = (severity, path, message) => {
    findings.push({ ...policy.at(path), severity, message: about(path, message) })
  }
  checkSupport(policy, report)
  checkModes(policy, rules, report)
  for (const [index, rule] of (policy.file.egress ?? []).entries()) checkRule(rule, ['egress', index], report)
  checkUnix(policy, rules, report)
  findings.push(...hostDenies(rules), ...portDenies(rules), ...uselessAllows(rules))
  return findings.sort((a, b) => a.line - b.line || a.column - b.column)
}

function checkSupport({ file }: ParsedPolicy, report: Report): void {
  for (const { path, what, instead } of unsupportedIn(file)) {
    if (file.mode === 'enforce') report('error', path, `not in this version: ${what}; ${instead}`)
    else report('warning', path, `not in this version: ${what}; events will not say what it would have done`)
  }
}

function checkModes({ file }: ParsedPolicy, rules: Rules, report: Report): void {
  const { mode, wire } = file
  const dns = file.dns?.mode
  const hasHosts = rules.allows.some(({ kind }) => kind === 'host')
  if (mode === 'enforce' && wire === 'observe') {
    report('error', ['wire'], 'observe never refuses, and mode: enforce does; leave it out, or write mode: monitor')
  }
  if (mode === 'monitor' && wire === 'enforce') {
    report('error', ['wire'], 'enforce refuses, and mode: monitor never does; write wire: observe, or mode: enforce')
  }
  if (mode === 'enforce' && hasHosts && wire === 'off') {
    report('error', ['wire'], 'rules with a host need the gateway to answer names; leave it out, or allow by cidr')
  }
  if (mode === 'enforce' && hasHosts && dns === 'off') {
    report(
      'error',
      ['dns', 'mode'],
      'rules with a host open nothing unless names are answered; write restrict, or allow by cidr',
    )
  }
  if (mode === 'enforce' && dns === 'observe') {
    report(
      'warning',
      ['dns', 'mode'],
      'every name is asked for, so data can leave in names; restrict answers only those that rules allow',
    )
  }
}

function checkRule(rule: EgressRule, path: Path, report: Report): void {
  if ('deny' in rule) return
  if (rule.protocol === 'udp' && rule.ports === undefined) {
    report('error', [...path, 'protocol'], 'there is no usual port of udp; name them: ports: [53]')
  }
  if ('cidr' in rule) checkCidr(rule, path, report)
  else checkHost(rule, path, report)
}

function checkHost(rule: HostRuleFile, path: Path, report: Report): void {
  const parsed = parseHost(rule.host)
  if (parsed.ok) for (const warning of parsed.warnings) report('warning', [...path, 'host'], warning)
  if (rule.protocol === 'opaque' && rule.ports === undefined) {
    report('error', [...path, 'protocol'], 'it says that this is no HTTPS, so name the ports: ports: [5432]')
  }
  const needsEyes = (['http', 'identity'] as const).filter((key) => rule[key] !== undefined)
  for (const key of needsEyes) {
    if (rule.direct === true)
      report('error', [...path, 'direct'], `the gateway sees no connection, so ${key} can't be; leave one out`)
    if (rule.tls === 'passthrough')
      report('error', [...path, 'tls'], `passthrough reads nothing, so ${key} can't be; leave one out`)
    if (rule.protocol === 'opaque')
      report('error', [...path, 'protocol'], `opaque is not HTTP, so ${key} can't be; leave one out`)
  }
  if (rule.ca !== undefined && (rule.tls === 'passthrough' || rule.direct === true)) {
    report('error', [...path, 'ca'], 'only a gateway that ends TLS looks at certificates; leave one out')
  }
  for (const [index, text] of (rule.allow_private ?? []).entries()) {
    if (isMetadata(knownRange(text))) report('warning', [...path, 'allow_private', index], METADATA_WARNING)
  }
}

const METADATA_WARNING = "the cloud's metadata service gives out this machine's own credentials"
const LOOPBACK = ['127.0.0.0/8', '::1/128'].map(knownRange)
/** Wider than any network of one owner. */
const WIDE_BITS = { v4: 96 + 7, v6: 15 }

function checkCidr(rule: CidrRuleFile, path: Path, report: Report): void {
  if (rule.protocol === 'icmp' && rule.ports !== undefined) {
    report('error', [...path, 'ports'], 'icmp has no ports; leave them out')
  }
  const range = knownRange(rule.cidr)
  if (isMetadata(range)) report('warning', [...path, 'cidr'], METADATA_WARNING)
  if (range.length <= (isV4(range) ? WIDE_BITS.v4 : WIDE_BITS.v6)) {
    report('warning', [...path, 'cidr'], `${rule.cidr} is a great part of the internet; a host rule names who is meant`)
  }
  if (LOOPBACK.some((each) => holdsRange(each, range))) {
    report('error', [...path, 'cidr'], 'loopback is not egress; local: {listeners: …} is about it')
  }
}

function checkUnix({ file }: ParsedPolicy, rules: Rules, report: Report): void {
  if (rules.allowBrokers) return
  for (const [index, socket] of (file.local?.unix ?? []).entries()) {
    const broker = brokerOf(socket)
    if (broker === null) continue
    report(
      'error',
      ['local', 'unix', index],
      `${broker} does work for others outside of the sandbox; allow_brokers: true allows it`,
    )
  }
}

/** Addresses that have an owner on the internet; every other one is a network's own. */
const OWN_RANGES = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '169.254.0.0/16',
  '127.0.0.0/8',
  'fc00::/7',
  'fe80::/10',
].map(knownRange)
const OWN_ZONES = /(^|\.)(internal|local|lan|home|corp|intranet|private|home\.arpa)$/

/** Who knows the address of a denied name needs no name, where a range that may hold it is open. */
function hostDenies(rules: Rules): Finding[] {
  const nets = rules.allows.filter((allow): allow is AllowNet => allow.kind === 'net')
  // Of ranges that open the same ports the first stands for all: fifty thousand ranges are a handful of these.
  const kinds = new Map<string, AllowNet>()
  for (const net of nets) {
    const kind = `${isOwnRange(net.range)} ${portsPhrase(net.ports)}`
    if (!kinds.has(kind)) kinds.set(kind, net)
  }
  return rules.denies.flatMap(({ origin, target, ports }): Finding[] => {
    if (isRange(target) || origin.place === null) return []
    const isOwn = OWN_ZONES.test(target.base)
    const open = [...kinds.values()].find((net) => isOwnRange(net.range) === isOwn && portsMeet(net.ports, ports))
    if (open === undefined) return []
    const severity: Severity = rules.mode === 'enforce' ? 'error' : 'warning'
    const message =
      `${origin.path}: ${hostPatternText(target)} can't be kept from who knows its address: ${open.origin.path} opens ${rangeText(open.range)}; ` +
      'narrow that, or deny the addresses by cidr'
    return [{ ...origin.place, severity, message }]
  })
}

function portDenies(rules: Rules): Finding[] {
  const severity: Severity = rules.mode === 'enforce' ? 'error' : 'warning'
  return new PortDenies(rules.denies).conflicts(rules).flatMap((conflict): Finding[] => {
    const { place } = conflict.deny.origin
    return place === null ? [] : [{ ...place, severity, message: conflictText(conflict) }]
  })
}

function isOwnRange(range: AddressRange): boolean {
  return OWN_RANGES.some((each) => holdsRange(each, range))
}

/** Rules that never allow anything, because another one denies all of it. */
function uselessAllows(rules: Rules): Finding[] {
  const wide = rules.denies.filter(({ ports }) => ports.length === 0)
  const hosts = new HostIndex(wide.flatMap((deny) => (isRange(deny.target) ? [] : [{ host: deny.target, deny }])))
  const ranges = new RangeIndex(
    wide.flatMap((deny) => (isRange(deny.target) ? [{ range: deny.target, value: deny }] : [])),
  )
  return rules.allows.flatMap((allow): Finding[] => {
    const by = allow.kind === 'host' ? deniesHost(hosts, allow) : ranges.holdingRange(allow.range)[0]
    if (by === undefined || allow.origin.place === null) return []
    const message = `${allow.origin.path}: it allows nothing, ${by.origin.path} denies all of it`
    return [{ ...allow.origin.place, severity: 'warning', message }]
  })
}

/** A deny that holds a pattern has its base, or the end of it. */
function deniesHost(index: HostIndex<{ host: HostPattern; deny: Deny }>, { host }: AllowHost): Deny | undefined {
  return index.endingIn(host.base).find((each) => holdsHost(each.host, host))?.deny
}

/**
 * Patterns of hosts as a policy has them (what they mean: proto/host-pattern.ts). It guards that no pattern is wider than it looks: a
 * wildcard stands for whole labels at the left end, and never for what anybody can register under; an address in any spelling is no host.
 */
import { domainToASCII } from 'node:url'
import ipaddr from 'ipaddr.js'
import { getPublicSuffix, parse } from 'tldts'
import { HostForm } from '../../proto/codec.js'
import { HOST_FORMS, type HostPattern, normalizeHostName } from '../../proto/host-pattern.js'

/** `hint`: what to write instead; null if nobody can know. */
export type HostResult =
  | { readonly ok: true; readonly host: HostPattern; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly problem: string; readonly hint: string | null }

/** Top labels that nobody can register (RFC 6762, RFC 8375, and ICANN's resolution on `internal`): a network gives them out itself. */
const PRIVATE_TOPS: readonly string[] = ['internal', 'local', 'lan', 'home', 'corp', 'intranet', 'private', 'test']
/** Names below it are the gateway's own. */
const OWN_ZONE = 'sluice.internal'
/** Registered by one company, and most names below are its customers'; the public suffix list has only parts of these. */
const SHARED_PARENTS: readonly string[] = [
  ...['amazonaws.com', 'amazonaws.com.cn', 'azure.com', 'windows.net', 'azurewebsites.net', 'googleusercontent.com'],
  ...['googleapis.com', 'digitaloceanspaces.com', 'oraclecloud.com', 'aliyuncs.com', 'myqcloud.com', 'cloudflare.net'],
  ...['akamaihd.net', 'akamaized.net', 'edgekey.net', 'fastly.net', 'b-cdn.net', 'sharepoint.com', 'slack.com'],
]
/** Stands for any name right below; nobody has it. */
const ANY_LABEL = 'sluice--any'

/** Of `host:` in a rule. `use`: what is denied may be as wide as it likes. */
export function parseHost(text: string, use: 'allow' | 'deny' = 'allow'): HostResult {
  const shape = problemOfShape(text)
  if (shape !== null) return shape
  const [prefix, form] = HOST_FORMS.find(([each]) => text.startsWith(each)) ?? ['', HostForm.HOST_FORM_EXACT]
  const rest = text.slice(prefix.length)
  const base = normalizeHostName(rest)
  if (base === null || isBrokenIdn(base)) return refuse('it is no host name', null)
  // What looked like a name may be an address once it is written plainly.
  if (isAddress(base)) return refuse('an address is no host', cidrHint(base))
  if (base === 'localhost' || base.endsWith('.localhost')) {
    return refuse('it is this machine', 'local: {listeners: own} is about loopback')
  }
  if (base === OWN_ZONE || base.endsWith(`.${OWN_ZONE}`)) return refuse(`${OWN_ZONE} is the gateway's own`, null)
  const idn = /[^\0-\x7f]/.test(rest) ? [`"${rest}" is ${base}`] : []
  if (form === HostForm.HOST_FORM_EXACT) return { ok: true, host: { form, base }, warnings: idn }
  return use === 'deny' ? { ok: true, host: { form, base }, warnings: idn } : ofWildcard({ form, base }, idn)
}

function problemOfShape(text: string): HostResult | null {
  if (isAddress(text)) return refuse('an address is no host', cidrHint(text))
  if (text.includes('/')) {
    const [, bare] = /^(?:[a-z][a-z0-9+.-]*:)?\/*([^/]+)/i.exec(text) ?? []
    return refuse('a host has no scheme and no path', bare === undefined ? null : `write ${bare}`)
  }
  const [, name = '', port] = /^(.+):(\d+)$/.exec(text) ?? []
  if (port !== undefined)
    return isAddress(name)
      ? problemOfShape(name)
      : refuse('a host has no port', `write host: ${name} with ports: [${port}]`)
  if (text !== text.trim() || text.includes(' ')) return refuse('a host has no spaces', null)
  if (/^[*.]*$/.test(text)) return refuse('it would allow every host', 'name the hosts, or a bundle')
  if (text.replace(/^\*\*?\./, '').includes('*')) {
    return refuse('a * stands for whole labels at the beginning', 'write *.example.com or **.example.com')
  }
  return null
}

function ofWildcard(host: HostPattern, warnings: readonly string[]): HostResult {
  const { base } = host
  const { isIcann, publicSuffix } = parse(base)
  const isTop = !base.includes('.')
  if (PRIVATE_TOPS.includes(base)) return { ok: true, host, warnings }
  if (publicSuffix === base && (isIcann === true || isTop)) {
    return refuse(`it would allow every domain under ${base}`, 'name the domain')
  }
  // Rules of the list like *.kawasaki.jp make every name right below a suffix.
  const below = `${ANY_LABEL}.${base}`
  if (parse(below).publicSuffix === below) return refuse(`it would allow every domain under ${base}`, 'name the domain')
  const isShared = [base, below].some((name) => getPublicSuffix(name, { allowPrivateDomains: true }) === name)
  if (isShared || SHARED_PARENTS.includes(base)) {
    return { ok: true, host, warnings: [...warnings, `anybody can have a name under ${base}`] }
  }
  return { ok: true, host, warnings }
}

function refuse(problem: string, hint: string | null): HostResult {
  return { ok: false, problem, hint }
}

/** An A-label that stands for nothing. */
function isBrokenIdn(base: string): boolean {
  return base.split('.').some((label) => label.startsWith('xn--') && domainToASCII(`${label}.example`) === '')
}

/**
 * Every spelling that some resolver takes for an address: dotted with one to four parts, decimal, octal or hexadecimal; IPv6 with or
 * without brackets and zone. Whatever ends in a number is an IPv4 address or nothing (WHATWG URL, "ends in a number").
 */
function isAddress(text: string): boolean {
  const bare = unbracketed(text)
  if (bare.includes(':') && ipaddr.IPv6.isValid(bare)) return true
  const last = bare.replace(/\.$/, '').split('.').at(-1) ?? ''
  return /^(\d+|0x[0-9a-f]*)$/i.test(last)
}

function cidrHint(text: string): string {
  const bare = unbracketed(text)
  if (ipaddr.IPv6.isValid(bare)) {
    const address = ipaddr.process(bare.replace(/%.*$/, ''))
    return `write cidr: ${address.toString()}/${address.kind() === 'ipv4' ? 32 : 128}`
  }
  const plain = domainToASCII(bare.replace(/\.$/, ''))
  return ipaddr.IPv4.isValidFourPartDecimal(plain) ? `write cidr: ${plain}/32` : 'write it as cidr'
}

function unbracketed(text: string): string {
  return text.replace(/^\[(.*)\]$/, '$1')
}

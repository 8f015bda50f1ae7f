/**
 * What every policy denies unless a rule names it: the metadata services of clouds, which give out the machine's own credentials, and public
 * resolvers that take questions over HTTPS, through which any name could be asked and any data sent. It guards that a wide rule does not
 * open them by accident; default deny would not help where such a rule is. The data has its sources beside it.
 */
import { HostForm } from '../../proto/codec.js'
import { type AddressRange, holdsRange, knownRange } from './address-range.js'
import type { Allow, Deny, Origin } from './rules.js'

/** Link-local or not, these are reachable from inside a machine of that cloud. */
const METADATA_TEXTS: readonly string[] = [
  '169.254.169.254/32', // AWS, Google, Azure, Oracle, OpenStack and most others
  'fd00:ec2::254/128', // AWS
  '169.254.170.2/32', // AWS ECS task credentials
  '169.254.170.23/32', // AWS EKS pod identity
  'fd00:ec2::23/128', // AWS EKS pod identity
  'fd20:ce::254/128', // Google
  'fe80::a9fe:a9fe/128', // OpenStack
  '168.63.129.16/32', // Azure WireServer
  'fd00:c1::a9fe:a9fe/128', // Oracle
  '100.100.100.200/32', // Alibaba Cloud
  '100.96.0.96/32', // Volcano Engine
  '169.254.42.42/32', // Scaleway
  'fd00:42::42/128', // Scaleway
  '169.254.0.23/32', // Tencent Cloud
  '192.0.0.192/32', // Oracle Cloud, classic
]

/** Those of IPv4 also by the machine's own NAT64, which would ask as the machine itself (RFC 6052, 2.1). */
const METADATA: readonly AddressRange[] = METADATA_TEXTS.flatMap((text) =>
  text.includes(':') ? [text] : [text, `64:ff9b::${text.replace('/32', '/128')}`],
).map(knownRange)

/** Names and addresses that the providers publish for DNS over HTTPS and TLS. */
const RESOLVERS: readonly { readonly hosts: readonly string[]; readonly ranges: readonly string[] }[] = [
  {
    hosts: ['dns.google', 'dns64.dns.google'],
    ranges: ['8.8.8.8/32', '8.8.4.4/32', '2001:4860:4860::8888/128', '2001:4860:4860::8844/128'],
  },
  {
    hosts: ['cloudflare-dns.com', 'one.one.one.one', 'security.cloudflare-dns.com', 'family.cloudflare-dns.com'].concat(
      ['mozilla.cloudflare-dns.com', 'chrome.cloudflare-dns.com', 'dns.cloudflare.com'],
    ),
    ranges: ['1.1.1.0/30', '1.0.0.0/30', '2606:4700:4700::1111/128', '2606:4700:4700::1001/128'],
  },
  {
    hosts: ['dns.quad9.net', 'dns9.quad9.net', 'dns10.quad9.net', 'dns11.quad9.net'],
    ranges: ['9.9.9.8/29', '149.112.112.0/24', '2620:fe::fe/128', '2620:fe::9/128'],
  },
  {
    hosts: ['doh.opendns.com', 'dns.opendns.com', 'doh.umbrella.com'],
    ranges: ['208.67.222.222/32', '208.67.220.220/32'],
  },
  { hosts: ['dns.adguard.com', 'dns.adguard-dns.com', 'unfiltered.adguard-dns.com'], ranges: ['94.140.14.0/23'] },
  { hosts: ['doh.cleanbrowsing.org'], ranges: ['185.228.168.0/23'] },
  {
    hosts: ['dns.nextdns.io', 'doh.dns.apple.com', 'doh.xfinity.com', 'doh.mullvad.net', 'dns.mullvad.net'],
    ranges: [],
  },
  { hosts: ['dns.alidns.com', 'doh.pub', 'dot.pub'], ranges: ['223.5.5.5/32', '223.6.6.6/32', '1.12.12.12/32'] },
]

const METADATA_REASON = "the cloud's metadata service gives out this machine's own credentials"
const RESOLVER_REASON = 'a public resolver could be asked for any name, past the names that are allowed'

/** Those that no rule names: a range that is or holds one does not, a rule for just that does. */
export function builtinDenies(allows: readonly Allow[]): Deny[] {
  const ranges = allows.flatMap((allow) => (allow.kind === 'net' ? [allow.range] : allow.allowPrivate))
  const isNamed = (range: AddressRange) => ranges.some((named) => holdsRange(range, named))
  const names = new Set(
    allows.flatMap((allow) => (allow.kind === 'host' && isExact(allow.host.form) ? [allow.host.base] : [])),
  )
  const metadata = METADATA.filter((range) => !isNamed(range))
  const resolvers = RESOLVERS.filter(({ hosts }) => !hosts.some((host) => names.has(host)))
  const resolverRanges = resolvers.flatMap(({ ranges }) => ranges.map(knownRange)).filter((range) => !isNamed(range))
  const resolverHosts = resolvers.flatMap(({ hosts }) => hosts)
  const deny =
    (origin: Origin) =>
    (target: Deny['target']): Deny => ({ origin, target, ports: [] })
  return [
    ...metadata.map(deny(builtin('metadata', METADATA_REASON))),
    ...resolverRanges.map(deny(builtin('resolvers', RESOLVER_REASON))),
    ...resolverHosts
      .map((base) => ({ form: HostForm.HOST_FORM_ALL, base }))
      .map(deny(builtin('resolvers', RESOLVER_REASON))),
  ]
}

/** Ranges that hold what the built-in list denies, for a word to who allows them. */
export function isMetadata(range: AddressRange): boolean {
  return METADATA.some((each) => holdsRange(each, range))
}

function builtin(what: string, reason: string): Origin {
  return { policy: '', path: `builtin.${what}`, place: null, source: null, reason }
}

function isExact(form: HostForm): boolean {
  return form === HostForm.HOST_FORM_EXACT
}

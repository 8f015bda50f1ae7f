/** Asked by the C library's kind of client, by c-ares and by dig, against a real recursive resolver. */
import { execFile } from 'node:child_process'
import { promises as dnsPromises } from 'node:dns'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Decision, DnsMode, Mode } from '../../../src/proto/codec.js'
import { type GatewayDns, openGatewayDns } from '../../support/gateway-dns.js'
import { hostPolicy } from '../../support/gateway-policy.js'
import { startUnbound, type Unbound } from '../../support/unbound.js'

const run = promisify(execFile)

const ZONE = [
  'api A 93.184.216.34',
  'api A 93.184.216.35',
  'api AAAA 2606:2800:220:1::1',
  'short 1 A 93.184.216.36',
  'long 86400 A 93.184.216.37',
  'alias CNAME middle.example.net.',
  'middle CNAME far.example.org.',
  'toprivate CNAME inside.example.net.',
  'todenied CNAME bad.example.org.',
  'loop1 CNAME loop2',
  'loop2 CNAME loop1',
  'inside A 10.1.2.3',
  'mixed A 93.184.216.40',
  'mixed A 192.168.7.7',
  'loopback A 127.0.0.1',
  'meta A 169.254.169.254',
  'mapped AAAA ::ffff:127.0.0.1',
  'nat64 AAAA 64:ff9b::a01:203',
  'local6 AAAA fe80::1',
  'text TXT "hello"',
  'other A 93.184.216.50',
  `bound HTTPS 1 . alpn="h2" ipv4hint=93.184.216.34 ech="AEX+DQBBJwAgACCr" ipv6hint=2606:2800:220:1::1`,
  'elsewhere HTTPS 1 evil.example.org. alpn="h2"',
  ...Array.from({ length: 80 }, (_, index) => `many A 93.184.217.${index}`),
  ...Array.from({ length: 50 }, (_, index) => `wide TXT "${`${index}`.padEnd(200, 'x')}"`),
].join('\n')

const ALLOW = [
  ...[
    'api',
    'short',
    'long',
    'alias',
    'toprivate',
    'todenied',
    'loop1',
    'mixed',
    'loopback',
    'meta',
    'mapped',
    'nat64',
  ],
  ...['local6', 'text', 'bound', 'elsewhere', 'many', 'wide', 'nothing', 'inside'],
].map((name) => `${name}.example.net`)

const DENIED_PRIVATE = ['loopback', 'meta', 'toprivate', 'inside']

describe('the gateway, before a real resolver', () => {
  let unbound: Unbound
  let gateway: GatewayDns
  let ares: dnsPromises.Resolver

  beforeAll(async () => {
    unbound = await startUnbound({
      'example.net': ZONE,
      'example.org': 'far A 93.184.216.60\nbad A 93.184.216.61\nevil A 93.184.216.62',
    })
    gateway = await openGatewayDns({
      policy: hostPolicy({ allow: ALLOW, deny: ['bad.example.org'] }),
      upstreamPorts: [unbound.port],
    })
    ares = new dnsPromises.Resolver({ timeout: 5_000, tries: 1 })
    ares.setServers([`127.0.0.1:${gateway.port}`])
  })

  afterAll(async () => {
    gateway?.close()
    await unbound?.stop()
  })

  const dig = async (...args: string[]) => {
    const { stdout } = await run('dig', ['@127.0.0.1', '-p', `${gateway.port}`, '+tries=1', ...args])
    return stdout
  }
  const lastFact = () => gateway.facts.at(-1)

  it('gives an allowed name its addresses, with a lease for each before the answer', async () => {
    expect((await ares.resolve4('api.example.net')).sort()).toEqual(['93.184.216.34', '93.184.216.35'])
    const lease = gateway.leases.at(-1)
    expect(lease).toMatchObject({ rule: 1, name: 'api.example.net', policyDigest: 'd1', ttlSeconds: 330 })
    expect(lease?.addresses?.map((each) => Buffer.from(each).toString('hex')).sort()).toEqual([
      '00000000000000000000ffff5db8d822',
      '00000000000000000000ffff5db8d823',
    ])
    expect(await ares.resolve6('api.example.net')).toEqual(['2606:2800:220:1::1'])
    expect(lastFact()).toMatchObject({ name: 'api.example.net', type: 'AAAA', rcode: 'NOERROR', rule: 'egress[0]' })
  })

  it('refuses every other name, at once and by name of the rule, and asks nobody for it', async () => {
    await expect(ares.resolve4('other.example.net')).rejects.toMatchObject({ code: 'EREFUSED' })
    expect(lastFact()).toMatchObject({ decision: Decision.DECISION_DENY, rule: 'default', resolver: '', answers: [] })
    const text = await dig('bad.example.org', 'A')
    expect(text).toContain('status: REFUSED')
    expect(text).toMatch(/EDE: 15 \(Blocked\).*denied by egress\[20\]: denied by the test/)
  })

  it('keeps the case of a question, and the bit that asks for recursion', async () => {
    const text = await dig('ApI.eXample.NET', 'A')
    expect(text).toContain('ApI.eXample.NET.')
    expect(text).toMatch(/flags: qr rd ra;/)
    expect(await dig('+norecurse', 'api.example.net', 'A')).toMatch(/flags: qr ra;/)
  })

  it('follows aliases to a name that no rule names, and leases it for the one that was asked', async () => {
    expect(await ares.resolve4('alias.example.net')).toEqual(['93.184.216.60'])
    expect(gateway.leases.at(-1)).toMatchObject({ name: 'alias.example.net', rule: 4 })
    await expect(ares.resolve4('far.example.org')).rejects.toMatchObject({ code: 'EREFUSED' })
  })

  it('does not follow them to a name that a rule denies, or in a circle', async () => {
    await expect(ares.resolve4('todenied.example.net')).rejects.toMatchObject({ code: 'EREFUSED' })
    expect(lastFact()?.reason).toContain('bad.example.org')
    await expect(ares.resolve4('loop1.example.net')).rejects.toMatchObject({ code: 'ESERVFAIL' })
  })

  it.each(DENIED_PRIVATE)('refuses addresses of the inside: %s', async (name) => {
    const before = gateway.leases.length
    await expect(ares.resolve4(`${name}.example.net`)).rejects.toMatchObject({ code: 'EREFUSED' })
    expect([gateway.leases.length, lastFact()?.answers]).toEqual([before, []])
  })

  it.each(['mapped', 'nat64', 'local6'])('refuses those that are behind an IPv6 address: %s', async (name) => {
    await expect(ares.resolve6(`${name}.example.net`)).rejects.toMatchObject({ code: 'EREFUSED' })
  })

  it('leaves out an address of the inside beside one of the outside', async () => {
    expect(await ares.resolve4('mixed.example.net')).toEqual(['93.184.216.40'])
    expect(gateway.leases.at(-1)?.addresses).toHaveLength(1)
  })

  it('keeps the time between half a minute and an hour', async () => {
    const ttlOf = async (name: string) => (await ares.resolve4(`${name}.example.net`, { ttl: true }))[0]?.ttl
    expect(await ttlOf('short')).toBe(30)
    expect(gateway.leases.at(-1)?.ttlSeconds).toBe(60)
    expect(await ttlOf('long')).toBe(3_570)
    expect(gateway.leases.at(-1)?.ttlSeconds).toBe(3_600)
  })

  it('answers again without a resolver until the time is over, and then with a new lease', async () => {
    await ares.resolve4('long.example.net')
    const before = gateway.leases.length
    gateway.advance(3_000_000)
    const [again] = await ares.resolve4('long.example.net', { ttl: true })
    expect(again?.ttl).toBeLessThanOrEqual(570)
    expect(gateway.leases.length).toBe(before)
    gateway.advance(600_000)
    await ares.resolve4('long.example.net')
    expect(gateway.leases.length).toBe(before + 1)
  })

  it('takes ECH and address hints out of service bindings, and those that lead elsewhere', async () => {
    const bound = await dig('bound.example.net', 'HTTPS')
    expect(bound).toMatch(/HTTPS\s+1 \. alpn="h2"\n/)
    const elsewhere = await dig('elsewhere.example.net', 'HTTPS')
    expect(elsewhere).toContain('ANSWER: 0')
    expect(elsewhere).not.toContain('evil')
  })

  it('cuts an answer off that is too long for UDP, and gives it whole by TCP', async () => {
    expect(await dig('+ignore', '+noedns', 'many.example.net', 'A')).toMatch(/flags: qr tc rd ra;.*ANSWER: 0/)
    expect(await dig('+noedns', 'many.example.net', 'A')).toContain('ANSWER: 64')
    expect(gateway.leases.filter(({ name }) => name === 'many.example.net').at(-1)?.addresses).toHaveLength(64)
    expect(await dig('+tcp', 'wide.example.net', 'TXT')).toContain('ANSWER: 50')
  })

  it('tells apart what there is not, and what has no such record', async () => {
    await expect(ares.resolve4('nothing.example.net')).rejects.toMatchObject({ code: 'ENOTFOUND' })
    await expect(ares.resolve4('text.example.net')).rejects.toMatchObject({ code: 'ENODATA' })
    expect(await ares.resolveTxt('text.example.net')).toEqual([['hello']])
  })

  it('says of a name from a search list that there is none, so that the name itself is tried', async () => {
    await expect(ares.resolve4('api.example.net.corp.example.com')).rejects.toMatchObject({ code: 'ENOTFOUND' })
    await expect(ares.resolve4('other.example.net.corp.example.com')).rejects.toMatchObject({ code: 'EREFUSED' })
  })

  it.each(['ANY', 'AXFR', 'NULL', 'TYPE999'])('passes on no %s', async (type) => {
    expect(await dig('+tcp', 'api.example.net', type)).not.toContain('93.184.216.34')
  })

  it('answers over IPv6, too', async () => {
    const { stdout } = await run('dig', ['@::1', '-p', `${gateway.port6}`, '+short', 'api.example.net', 'A'])
    expect(stdout.trim().split('\n').sort()).toEqual(['93.184.216.34', '93.184.216.35'])
  })

  it('asks the next resolver where one does not answer', async () => {
    const other = await openGatewayDns({ policy: hostPolicy({ allow: ALLOW }), upstreamPorts: [1, unbound.port] })
    try {
      const resolver = new dnsPromises.Resolver()
      resolver.setServers([`127.0.0.1:${other.port}`])
      expect(await resolver.resolve4('mixed.example.net')).toEqual(['93.184.216.40'])
    } finally {
      other.close()
    }
  })

  it('gives a private address where a rule takes it', async () => {
    const allowPrivate = [{ prefix: Buffer.from('00000000000000000000ffff0a010000', 'hex'), prefixLength: 112 }]
    const policy = hostPolicy({
      allow: ['inside.example.net', 'loopback.example.net'],
      more: { 0: { allowPrivate }, 1: { allowPrivate } },
    })
    const other = await openGatewayDns({ policy, upstreamPorts: [unbound.port] })
    try {
      const resolver = new dnsPromises.Resolver()
      resolver.setServers([`127.0.0.1:${other.port}`])
      expect(await resolver.resolve4('inside.example.net')).toEqual(['10.1.2.3'])
      await expect(resolver.resolve4('loopback.example.net')).rejects.toMatchObject({ code: 'EREFUSED' })
    } finally {
      other.close()
    }
  })

  it('refuses nothing where it only observes, and leases what is allowed alone', async () => {
    const policy = hostPolicy({ allow: ['api.example.net'], mode: Mode.MODE_MONITOR, dns: DnsMode.DNS_MODE_OBSERVE })
    const other = await openGatewayDns({ policy, upstreamPorts: [unbound.port] })
    try {
      const resolver = new dnsPromises.Resolver()
      resolver.setServers([`127.0.0.1:${other.port}`])
      expect(await resolver.resolve4('inside.example.net')).toEqual(['10.1.2.3'])
      expect(other.facts.at(-1)).toMatchObject({ decision: Decision.DECISION_WOULD_DENY, rule: 'default' })
      expect(other.leases).toEqual([])
      await resolver.resolve4('api.example.net')
      expect(other.leases).toHaveLength(1)
    } finally {
      other.close()
    }
  })
})

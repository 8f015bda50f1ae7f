/** Hosts of rules: no pattern is wider than it looks, and no address passes for a name, however it is spelt. */
import { describe, expect, it } from 'vitest'
import { parseHost } from '../../../../src/engine/policy/parse-host.js'
import { hostPatternText } from '../../../../src/proto/host-pattern.js'

function outcome(text: string, use: 'allow' | 'deny' = 'allow'): string {
  const parsed = parseHost(text, use)
  return parsed.ok ? hostPatternText(parsed.host) : `${parsed.problem}; ${parsed.hint}`
}

describe('an address', () => {
  it.each([
    ['1.2.3.4', '1.2.3.4/32'],
    ['1.2.3.4.', '1.2.3.4/32'],
    ['127.1', '127.0.0.1/32'],
    ['0x7f.1', '127.0.0.1/32'],
    ['0x7f000001', '127.0.0.1/32'],
    ['2130706433', '127.0.0.1/32'],
    ['0177.0.0.1', '127.0.0.1/32'],
    ['017700000001', '127.0.0.1/32'],
    ['１.2.3.4', '1.2.3.4/32'],
    ['1。2。3。4', '1.2.3.4/32'],
    ['::1', '::1/128'],
    ['[::1]', '::1/128'],
    ['[::1]:443', '::1/128'],
    ['fe80::1%eth0', 'fe80::1/128'],
    ['::ffff:169.254.169.254', '169.254.169.254/32'],
    ['0:0:0:0:0:0:0:1', '::1/128'],
    ['2001:DB8::1', '2001:db8::1/128'],
  ])('is no host: %s', (text, cidr) => {
    expect(outcome(text)).toBe(`an address is no host; write cidr: ${cidr}`)
  })

  it.each(['1.2.3.999', '1.2.3.4.5', '*.1.2.3.4', '*.0x7f', 'a.0x', 'example.123', '256.256.256.256'])(
    'is what ends in a number: %s',
    (text) => {
      expect(outcome(text)).toMatch(/^an address is no host; write /)
    },
  )
})

describe('a wildcard', () => {
  it.each(['*', '**', '.', '*.', '**.'])('for everything is refused: %s', (text) => {
    expect(outcome(text)).toBe('it would allow every host; name the hosts, or a bundle')
  })

  it.each(['com', 'co.uk', 'kawasaki.jp', 'ck', 'nom.br', 'home.arpa', 'foo', 'xn--p1ai', 'рф'])(
    'for all that can be registered is refused: %s',
    (suffix) => {
      for (const form of ['*.', '**.', '.']) {
        expect(outcome(`${form}${suffix}`)).toMatch(/^it would allow every domain under .+; name the domain$/)
      }
    },
  )

  it.each([
    'a.*.com',
    '*a.example.com',
    'a*.example.com',
    'example.*',
    '***.example.com',
    '*.*.example.com',
    '**.*.example.com',
  ])('stands for whole labels at the beginning: %s', (text) => {
    expect(outcome(text)).toBe('a * stands for whole labels at the beginning; write *.example.com or **.example.com')
  })

  it.each(['*.example.com', '**.example.co.uk', '.city.kawasaki.jp', '*.www.ck', '**.internal', '*.svc.cluster.local'])(
    'for one domain is taken: %s',
    (text) => {
      expect(parseHost(text)).toMatchObject({ ok: true, warnings: [] })
    },
  )

  it.each([
    'github.io',
    's3.amazonaws.com',
    'compute.amazonaws.com',
    'amazonaws.com',
    'blob.core.windows.net',
    'cloudfront.net',
  ])('for a suffix that many share is taken with a word: %s', (suffix) => {
    const warnings = [`anybody can have a name under ${suffix}`]
    for (const form of ['*.', '**.', '.']) expect(parseHost(`${form}${suffix}`)).toMatchObject({ ok: true, warnings })
    expect(parseHost(`mine.${suffix}`)).toMatchObject({ ok: true, warnings: [] })
  })

  it('may deny what it may not allow', () => {
    for (const text of ['*.com', '**.co.uk', '.ck']) expect(outcome(text, 'deny')).toBe(text)
    for (const text of ['*', '1.2.3.4', 'a.*.com']) expect(outcome(text, 'deny')).toMatch(/;/)
  })
})

describe('a name', () => {
  it.each([
    ['API.GitHub.COM.', 'api.github.com'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['*.bücher.example', '*.xn--bcher-kva.example'],
    ['ex。com', 'ex.com'],
    ['db', 'db'],
    ['_dmarc.example.com', '_dmarc.example.com'],
  ])('is taken: %s', (text, normal) => {
    expect(outcome(text)).toBe(normal)
  })

  it('of other letters is shown as what it is', () => {
    expect(parseHost('gıthub.com')).toMatchObject({ warnings: ['"gıthub.com" is xn--gthub-n4a.com'] })
    expect(parseHost('аpple.com')).toMatchObject({ warnings: ['"аpple.com" is xn--pple-43d.com'] })
  })

  it.each([
    ['xn--a.example', 'it is no host name; null'],
    ['a..b', 'it is no host name; null'],
    ['a.com..', 'it is no host name; null'],
    ['x@y.com', 'it is no host name; null'],
    ['a%2eb.cöm', 'it is no host name; null'],
    ['x.com\n', 'a host has no spaces; null'],
    ['https://user:pw@x.com/a', 'a host has no scheme and no path; write user:pw@x.com'],
    ['x.com/', 'a host has no scheme and no path; write x.com'],
    ['localhost', 'it is this machine; local: {listeners: own} is about loopback'],
    ['a.LOCALHOST.', 'it is this machine; local: {listeners: own} is about loopback'],
    ['anthropic.sluice.internal', "sluice.internal is the gateway's own; null"],
  ])('is none: %j', (text, why) => {
    expect(outcome(text)).toBe(why)
  })
})

/** Names and patterns: what is the same name, and which names a pattern stands for. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HostForm } from '../../../src/proto/codec.js'
import { HostIndex } from '../../../src/proto/host-index.js'
import { type HostPattern, hostPatternText, matchesHost, normalizeHostName } from '../../../src/proto/host-pattern.js'

const FORMS = [HostForm.HOST_FORM_EXACT, HostForm.HOST_FORM_ONE, HostForm.HOST_FORM_MORE, HostForm.HOST_FORM_ALL]
/** Few, so that names meet. */
const label = fc.constantFrom('a', 'b', 'xa', 'a-b')
const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'))
const pattern = fc.record<HostPattern>({ form: fc.constantFrom(...FORMS), base: name })

/** By labels, as the words of the documentation have it. */
function standsFor({ form, base }: HostPattern, wanted: string): boolean {
  const [own, labels] = [base.split('.'), wanted.split('.')]
  const before = labels.length - own.length
  if (before < 0 || labels.slice(before).join('.') !== base) return false
  switch (form) {
    case HostForm.HOST_FORM_EXACT:
      return before === 0
    case HostForm.HOST_FORM_ONE:
      return before === 1
    case HostForm.HOST_FORM_MORE:
      return before >= 1
    default:
      return form === HostForm.HOST_FORM_ALL
  }
}

describe('a name', () => {
  it.each([
    ['API.Example.COM', 'api.example.com'],
    ['example.com.', 'example.com'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['XN--BCHER-KVA.example', 'xn--bcher-kva.example'],
    ['_sip._tcp.example.com', '_sip._tcp.example.com'],
    ['例え。テスト', 'xn--r8jz45g.xn--zckzah'],
    ['１.2.3.4', '1.2.3.4'],
  ])('is compared in one form: %s', (text, normal) => {
    expect(normalizeHostName(text)).toBe(normal)
  })

  it.each([
    ...[
      '',
      '.',
      '..',
      'a..b',
      '.a',
      'a.com..',
      '-a.com',
      'a-.com',
      'a b.com',
      ' a.com',
      'a.com\n',
      'a\0.com',
      'a/b',
      'a:1',
      '[::1]',
    ],
    ...['a%2eb.cöm', 'a@b.com', 'a,b', '*.a.com', `${'a'.repeat(64)}.com`, `${'a.'.repeat(127)}a`],
  ])('is none: %j', (text) => {
    expect(normalizeHostName(text)).toBeNull()
  })

  it('may have 253 characters and labels of 63', () => {
    const labels = [63, 63, 63, 61].map((length) => 'a'.repeat(length)).join('.')
    expect(normalizeHostName(labels)).toBe(labels)
    expect(normalizeHostName(`a${labels}`)).toBeNull()
  })

  it('is the same however often it is normalised', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 40 }), (text) => {
        const once = normalizeHostName(text)
        if (once !== null) expect(normalizeHostName(once)).toBe(once)
      }),
    )
  })
})

describe('a pattern', () => {
  it('stands for just the names that its form says', () => {
    fc.assert(
      fc.property(pattern, name, (each, wanted) => {
        expect(matchesHost(each, wanted)).toBe(standsFor(each, wanted))
      }),
      { numRuns: 2_000 },
    )
  })

  it.each([
    ['*.example.com', 'a.example.com', true],
    ['*.example.com', 'a.b.example.com', false],
    ['*.example.com', 'example.com', false],
    ['*.example.com', 'evilexample.com', false],
    ['**.example.com', 'a.b.example.com', true],
    ['**.example.com', 'example.com', false],
    ['.example.com', 'example.com', true],
    ['.example.com', 'a.b.example.com', true],
    ['.example.com', 'notexample.com', false],
    ['example.com', 'example.com.evil.net', false],
  ])('%s stands for %s: %s', (text, wanted, stands) => {
    const found = FORMS.map((form) => ({ form, base: 'example.com' })).find((each) => hostPatternText(each) === text)
    expect(found && matchesHost(found, wanted)).toBe(stands)
  })

  it('of an unknown form stands for nothing', () => {
    for (const form of [HostForm.HOST_FORM_UNSPECIFIED, 9 as HostForm]) {
      for (const wanted of ['a.b', 'x.a.b']) expect(matchesHost({ form, base: 'a.b' }, wanted)).toBe(false)
    }
  })
})

describe('an index of patterns', () => {
  it('finds what trying each would find', () => {
    fc.assert(
      fc.property(fc.array(pattern, { maxLength: 20 }), name, (patterns, wanted) => {
        const entries = patterns.map((host, number) => ({ host, number }))
        const found = new HostIndex(entries).matching(wanted).map(({ number }) => number)
        const each = entries.filter(({ host }) => matchesHost(host, wanted)).map(({ number }) => number)
        expect([...found].sort((a, b) => a - b)).toEqual(each)
      }),
    )
  })
})

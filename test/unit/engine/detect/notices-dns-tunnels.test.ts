import { describe, expect, it } from 'vitest'
import { DnsTunnelDetector } from '../../../../src/engine/detect/dns-tunnel.js'
import { detectionBy } from '../../../support/bash-grammar.js'
import { Story } from '../../../support/session-facts.js'

function told(names: readonly string[], gapMs = 10): [number, number][] {
  const story = new Story()
  const bash = story.exec(story.harness, ['bash', '-c', 'x'])
  for (const name of names) {
    story.atMs += gapMs
    story.lookUp(bash, name)
  }
  return story.tell(detectionBy(new DnsTunnelDetector())).map(({ measured, threshold }) => [measured, threshold])
}
const many = (count: number, domain = 'evil.example.com') =>
  Array.from({ length: count }, (_, at) => `h${at}.${domain}`)
const BASE32 = 'mzxw6ytboi2dgnbvgy3tqojqge3dsmzrgq2dqmjt'
const HEX = '6f0ab1c29d3e8f7a5b4c'

describe('dns_tunnel', () => {
  it.each<[string, readonly string[], [number, number][]]>([
    ['one name that is full of data', [`${BASE32}abcd2345.evil.com`], [[48, 40]]],
    ['data over several labels', [`${BASE32.slice(0, 30)}.${BASE32.slice(4, 36)}.t.evil.com`], [[62, 40]]],
    ['three names with less of it', [1, 2, 3].map((at) => `${HEX}${at}7.evil.com`), [[3, 3]]],
    ['more than a hundred names below a domain', many(101), [[101, 100]]],
    ['told once', many(400), [[101, 100]]],
    ['in capitals', [`${BASE32.toUpperCase()}ABCD2345.evil.com`], [[48, 40]]],
  ])('tells %s', (_, names, expected) => {
    expect(told(names)).toEqual(expected)
  })

  it.each<[string, readonly string[], number?]>([
    ['a hundred', many(100)],
    ['as many over minutes', many(200), 1_000],
    ['the same name again and again', Array<string>(500).fill('api.example.com')],
    ['domains of their own', Array.from({ length: 300 }, (_, at) => `www.site${at}.com`)],
    ['below a public suffix each is its own', Array.from({ length: 300 }, (_, at) => `site${at}.github.io`)],
    [
      'names of clouds',
      ['d3a1b2c4d5e6f7.cloudfront.net', 'productionresultssa0.blob.core.windows.net', 'o123456.ingest.us.sentry.io'],
    ],
    [
      'long names of words',
      [
        'my-very-long-application-name-for-staging.internal.example.com',
        'objects-origin-githubusercontent.example.com',
      ],
    ],
    ['one account number', Array<string>(9).fill('0123456789abcdef0123456789abcdef.r2.example.com')],
    ['addresses backwards', Array.from({ length: 300 }, (_, at) => `${at % 256}.2.0.10.in-addr.arpa`)],
    ['no names at all', ['', '.', 'localhost', 'a'.repeat(5_000)]],
  ])('does not tell %s', (_, names, gapMs) => {
    expect(told(names, gapMs)).toEqual([])
  })

  it('keeps an eye on one though others are asked for in between', () => {
    expect(told(many(120).flatMap((name, at) => [name, `x.other${at}.com`, `y.more${at}.org`]))).toEqual([[101, 100]])
  })
})

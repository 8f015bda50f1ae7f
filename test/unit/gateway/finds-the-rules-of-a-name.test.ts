/** The table finds for a name exactly the rules whose patterns stand for it, as they are defined, and a denial before them. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HostTable } from '../../../src/gateway/host-table.js'
import { matchesHost } from '../../../src/proto/host-pattern.js'
import { hostPattern, hostPolicy } from '../../support/gateway-policy.js'

const label = fc.constantFrom('a', 'b', 'net', 'xn--e1a')
const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'))
const pattern = fc.tuple(fc.constantFrom('', '*.', '**.', '.'), name).map(([prefix, base]) => `${prefix}${base}`)

describe('the table of hosts', () => {
  it('gives the rules that match one by one', () => {
    fc.assert(
      fc.property(
        fc.array(pattern, { maxLength: 12 }),
        fc.array(pattern, { maxLength: 3 }),
        name,
        (allow, deny, asked) => {
          const found = new HostTable(hostPolicy({ allow, deny })).lookUp(asked)
          const matches = (text: string) => matchesHost(hostPattern(text), asked)
          const rules = allow.flatMap((text, index) => (matches(text) ? [index + 1] : []))
          if (deny.some(matches) || rules.length === 0) expect(found.kind).toBe('deny')
          else
            expect(found.kind === 'allow' && found.rules.map(({ rule }) => rule ?? 0).sort((a, b) => a - b)).toEqual(
              rules,
            )
        },
      ),
      { numRuns: 2_000 },
    )
  })

  it('knows what a search list makes of an allowed name', () => {
    const table = new HostTable(hostPolicy({ allow: ['api.example.net', 'host'] }))
    expect(
      ['api.example.net.corp.test', 'api.example.net.x', 'host.corp'].map((each) => table.isSearchedFor(each)),
    ).toEqual([true, true, false])
    expect(
      ['api.example.net', 'xapi.example.net.corp', 'example.net.corp'].some((each) => table.isSearchedFor(each)),
    ).toBe(false)
  })
})

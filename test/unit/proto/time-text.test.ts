import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { textToUnixNs, unixNsToText } from '../../../src/proto/time-text.js'

describe('unixNsToText', () => {
  it.each([
    [0n, '1970-01-01T00:00:00.000000000Z'],
    [1n, '1970-01-01T00:00:00.000000001Z'],
    [1_760_000_000_123_456_789n, '2025-10-09T08:53:20.123456789Z'],
    [1_709_164_800_000_000_000n, '2024-02-29T00:00:00.000000000Z'],
    [2n ** 64n - 1n, '2554-07-21T23:34:33.709551615Z'],
  ])('writes %s ns with nine digits', (ns, text) => {
    expect(unixNsToText(ns)).toBe(text)
  })

  it('is exact both ways, and sorts as text as it sorts as time', () => {
    const ns = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
    fc.assert(
      fc.property(ns, ns, (a, b) => {
        expect(textToUnixNs(unixNsToText(a))).toBe(a)
        expect(unixNsToText(a) < unixNsToText(b)).toBe(a < b)
      }),
    )
  })
})

describe('textToUnixNs', () => {
  it.each([
    '',
    '2025-10-09',
    '2025-10-09T08:53:20Z',
    '2025-10-09T08:53:20.123Z',
    '2025-10-09T08:53:20.123456789+00:00',
    '2025-13-09T08:53:20.123456789Z',
    '2025-10-09T25:53:20.123456789Z',
    ' 2025-10-09T08:53:20.123456789Z',
  ])('refuses %j', (text) => {
    expect(() => textToUnixNs(text)).toThrow(expect.objectContaining({ code: 'PROTOCOL' }))
  })
})

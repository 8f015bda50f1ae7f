import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bootHash, derivedUuid, uuidV7 } from '../../../src/base/uuid.js'

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

const kernelEvent = fc.record({
  unixMs: fc.bigInt({ min: 0n, max: 2n ** 48n - 1n }),
  cpu: fc.integer({ min: 0, max: 4095 }),
  seq: fc.bigInt({ min: 0n, max: 2n ** 40n - 1n }),
  hash: fc.integer({ min: 0, max: 2 ** 22 - 1 }),
})

describe('uuidV7', () => {
  it('lays the fields out where RFC 9562 has them', () => {
    const uid = uuidV7({ unixMs: 0x0123456789abn, cpu: 0xdef, seq: 0n, hash: 0 })
    expect(uid).toBe('01234567-89ab-7def-8000-000000000000')
    expect(uuidV7({ unixMs: 0n, cpu: 0, seq: 1n, hash: 0 })).toBe('00000000-0000-7000-8000-000000400000')
    expect(uuidV7({ unixMs: 0n, cpu: 0, seq: 0n, hash: 2 ** 22 - 1 })).toBe('00000000-0000-7000-8000-0000003fffff')
  })

  it('is a version 7 UUID that holds every field, so different events differ', () => {
    fc.assert(
      fc.property(kernelEvent, (id) => {
        const uid = uuidV7(id)
        expect(uid).toMatch(UUID_V7)
        const bits = BigInt(`0x${uid.replaceAll('-', '')}`)
        expect(bits >> 80n).toBe(id.unixMs)
        expect(Number((bits >> 64n) & 0xfffn)).toBe(id.cpu)
        expect((bits >> 22n) & (2n ** 40n - 1n)).toBe(id.seq)
        expect(Number(bits & (2n ** 22n - 1n))).toBe(id.hash)
      }),
    )
  })

  it('keeps the low bits of numbers that do not fit', () => {
    const small = { unixMs: 5n, cpu: 1, seq: 2n, hash: 3 }
    expect(uuidV7({ unixMs: 5n, cpu: 4097, seq: 2n ** 40n + 2n, hash: 2 ** 22 + 3 })).toBe(uuidV7(small))
  })
})

describe('derivedUuid', () => {
  it('is a version 7 UUID of its time, the same for the same parts', () => {
    const uid = derivedUuid({ unixMs: 0x0123456789abn, parts: ['detection', 'loop', Buffer.from('x')] })
    expect(uid).toMatch(UUID_V7)
    expect(uid.startsWith('01234567-89ab-7')).toBe(true)
    expect(derivedUuid({ unixMs: 0x0123456789abn, parts: ['detection', 'loop', 'x'] })).toBe(uid)
  })

  it('tells apart how parts are cut', () => {
    const uids = [['ab'], ['a', 'b'], ['', 'ab'], ['ab', '']].map((parts) => derivedUuid({ unixMs: 1n, parts }))
    expect(new Set(uids).size).toBe(uids.length)
  })
})

it('hashes a boot id to 22 bits', () => {
  const hash = bootHash('4a9c7e5e-5d10-4c4f-9d0e-3a5f6f3a9f10')
  expect(hash).toBeGreaterThanOrEqual(0)
  expect(hash).toBeLessThan(2 ** 22)
  expect(bootHash('another')).not.toBe(hash)
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addressToText } from '../../../src/proto/address.js'

describe('addressToText', () => {
  it.each([
    ['00000000000000000000ffff7f000001', '127.0.0.1'],
    ['00000000000000000000ffff00000000', '0.0.0.0'],
    ['00000000000000000000ffffffffffff', '255.255.255.255'],
    ['00000000000000000000000000000000', '::'],
    ['00000000000000000000000000000001', '::1'],
    ['fe800000000000000000000000000000', 'fe80::'],
    ['20010db8000000000000000000000001', '2001:db8::1'],
    ['20010db8000000010001000100010001', '2001:db8:0:1:1:1:1:1'],
    ['20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
    ['20010db8000100000000000100000000', '2001:db8:1::1:0:0'],
    ['0000000000010002000300040005abcd', '::1:2:3:4:5:abcd'],
    ['00010002000300040005000600070000', '1:2:3:4:5:6:7:0'],
    ['0064ff9b0000000000000000c0000201', '64:ff9b::c000:201'],
    ['00000000000000000000000001020304', '::102:304'],
  ])('writes %s as %s', (hex, text) => {
    expect(addressToText(Buffer.from(hex, 'hex'))).toBe(text)
  })

  it('agrees with the URL standard on any IPv6 address', () => {
    const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }))
    fc.assert(
      fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
        const bytes = Buffer.alloc(16)
        for (const [index, value] of groups.entries()) bytes.writeUInt16BE(value, index * 2)
        const text = addressToText(bytes)
        const isMapped = groups.slice(0, 5).every((value) => value === 0) && groups[5] === 0xffff
        if (isMapped) expect(text).toBe([...bytes.subarray(12)].join('.'))
        else
          expect(`[${text}]`).toBe(new URL(`http://[${groups.map((value) => value.toString(16)).join(':')}]/`).hostname)
      }),
    )
  })

  it.each([0, 4, 15, 17])('refuses %i bytes', (length) => {
    expect(() => addressToText(Buffer.alloc(length))).toThrow(expect.objectContaining({ code: 'PROTOCOL' }))
  })
})

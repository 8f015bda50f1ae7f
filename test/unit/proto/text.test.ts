import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bytesToText, textToBytes } from '../../../src/proto/text.js'

describe('bytesToText', () => {
  it.each([
    ['plain', Buffer.from('/usr/bin/env'), '/usr/bin/env'],
    ['UTF-8', Buffer.from('/tmp/ä/😀/\ufeff'), '/tmp/ä/😀/\ufeff'],
    ['a backslash', Buffer.from('a\\b'), 'a\\\\b'],
    ['text that looks like an escape', Buffer.from('\\xff'), '\\\\xff'],
    ['a lone byte', Buffer.from([0x61, 0xff, 0x62]), 'a\\xffb'],
    ['a cut sequence', Buffer.from([0xe2, 0x82]), '\\xe2\\x82'],
    ['an overlong slash', Buffer.from([0xc0, 0xaf]), '\\xc0\\xaf'],
    ['a surrogate half', Buffer.from([0xed, 0xa0, 0x80]), '\\xed\\xa0\\x80'],
    ['past the last code point', Buffer.from([0xf4, 0x90, 0x80, 0x80]), '\\xf4\\x90\\x80\\x80'],
    ['control characters, as they are', Buffer.from([0, 10, 27]), '\0\n\x1b'],
    ['both in one', Buffer.concat([Buffer.from('ä\\'), Buffer.from([0x80]), Buffer.from('ö')]), 'ä\\\\\\x80ö'],
  ])('writes %s', (_, bytes, text) => {
    expect(bytesToText(bytes)).toBe(text)
    expect(Buffer.from(textToBytes(text)).equals(bytes)).toBe(true)
  })

  it('is reversible for any bytes, and JSON keeps it so', () => {
    const bytes = fc.oneof(fc.uint8Array({ maxLength: 64 }), mostlyUtf8())
    fc.assert(
      fc.property(bytes, (given) => {
        const text = JSON.parse(JSON.stringify(bytesToText(given)))
        expect(Buffer.from(textToBytes(text)).equals(Buffer.from(given))).toBe(true)
      }),
      { numRuns: 1_000 },
    )
  })

  it('gives different texts for different bytes', () => {
    fc.assert(
      fc.property(mostlyUtf8(), mostlyUtf8(), (a, b) => {
        expect(bytesToText(a) === bytesToText(b)).toBe(Buffer.from(a).equals(Buffer.from(b)))
      }),
    )
  })

  it('reads a view into a larger buffer, not the buffer', () => {
    const whole = Uint8Array.from([0x61, 0xff, 0x62, 0x63])
    expect(bytesToText(whole.subarray(1, 3))).toBe('\\xffb')
  })
})

describe('textToBytes', () => {
  it.each(['\\', 'a\\n', '\\x', '\\xf', '\\xFF', '\\xg0', '\\\\\\'])('refuses %j', (text) => {
    expect(() => textToBytes(text)).toThrow(expect.objectContaining({ code: 'PROTOCOL' }))
  })
})

/** Pieces that matter: valid text, backslashes and stray bytes. */
function mostlyUtf8(): fc.Arbitrary<Uint8Array> {
  const piece = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 4 }).map((text) => Buffer.from(text)),
    fc.constantFrom(Buffer.from('\\'), Buffer.from('x'), Buffer.from('ff')),
    fc.uint8Array({ maxLength: 3 }).map((bytes) => Buffer.from(bytes)),
  )
  return fc.array(piece, { maxLength: 8 }).map((pieces) => Buffer.concat(pieces))
}

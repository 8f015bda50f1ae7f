import { execaSync } from 'execa'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { shellLine, shellWord } from '../../../src/cli/display-text.js'
import { bytesToText } from '../../../src/proto/text.js'

describe('a quoted argument', () => {
  it.each([
    ['plain', 'plain'],
    ['/a-b/c_d.e:f=g,h+i%j@k', '/a-b/c_d.e:f=g,h+i%j@k'],
    ['', "''"],
    ['a b', "'a b'"],
    ["it's", `"it's"`],
    [`it's "$x"`, `$'it\\'s "$x"'`],
    ['two\nlines', "$'two\\nlines'"],
    ['a\\b', "'a\\b'"],
    ['größe', 'größe'],
    ['*', "'*'"],
  ])('writes %j as %s', (argument, quoted) => {
    expect(shellWord(bytesToText(Buffer.from(argument)))).toBe(quoted)
  })

  it('shows an invalid byte as an escape and keeps the backslash beside it', () => {
    expect(shellWord(bytesToText(Buffer.from([0x61, 0xff, 0x5c, 0x62])))).toBe("$'a\\xff\\\\b'")
  })

  it('is the same bytes again in bash, whatever they are', () => {
    const nonZero = fc.uint8Array({ min: 1, max: 255, maxLength: 12 })
    const tricky = fc.constantFrom(
      '\\x41',
      "\\'",
      '$(id)',
      '`id`',
      '!x',
      '\u202e',
      '\u001bc',
      '\u{1f600}',
      '\t',
      'ab\\',
      '~',
    )
    const argument = fc.oneof(
      nonZero.map((value) => Buffer.from(value)),
      tricky.map((value) => Buffer.from(value)),
    )
    fc.assert(
      fc.property(fc.array(argument, { minLength: 20, maxLength: 60 }), (args) => {
        const line = `printf '%s\\0' ${shellLine(args.map((arg) => bytesToText(arg)))}`
        const { stdout } = execaSync('bash', ['-c', line], { encoding: 'buffer', env: { LC_ALL: 'C.UTF-8' } })
        expect(Buffer.from(stdout).equals(Buffer.concat(args.map((arg) => Buffer.concat([arg, Buffer.of(0)]))))).toBe(
          true,
        )
      }),
      { numRuns: 15 },
    )
  })
})

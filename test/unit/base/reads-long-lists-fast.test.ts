/** Long runs of plain items, read line by line: the same values at the same places as the parser has them, or left to it. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { readYaml } from '../../../src/base/yaml-file.js'
import { withoutRuns } from '../../../src/base/yaml-runs.js'

const anything = z.looseObject({})
const SOME = 40
const FROM = 10

const scalar = fc.oneof(
  fc.integer({ min: 0, max: 70_000 }).map(String),
  fc.constantFrom('10.0.0.0/8', '2001:db8::/32', 'api.example.com', 'tcp', '8000-8100', '*.example.com'),
  fc.constantFrom(
    'true',
    'null',
    '0x10',
    '007',
    '1.5',
    '"quoted"',
    '.5',
    '-3',
    'a b',
    '[443]',
    '[443, 8000-8100]',
    '[]',
  ),
)
const item = fc
  .uniqueArray(fc.constantFrom('cidr', 'host', 'ports', 'protocol', 'reason'), { minLength: 1, maxLength: 3 })
  .chain((keys) => fc.tuple(...keys.map((key) => fc.tuple(fc.constant(key), scalar))))
const indents = fc.constantFrom('', '  ', '    ')

function itemText(fields: readonly (readonly [string, string])[], indent: string): string {
  return fields.map(([key, value], at) => `${indent}${at === 0 ? '- ' : '  '}${key}: ${value}`).join('\n')
}

/** `itemsMin`: without it the parser reads all. */
function read(text: string, itemsMin = Number.POSITIVE_INFINITY) {
  const file = readYaml(text, anything, itemsMin)
  if (!file.ok) return { problems: file.problems }
  const lists = Object.entries(file.value).filter((each): each is [string, unknown[]] => Array.isArray(each[1]))
  const paths = lists.flatMap(([key, list]) =>
    list.flatMap((one, index) => [
      [key, index],
      ...['cidr', 'ports', 'nothing'].flatMap((inner) => [
        [key, index, inner],
        [key, index, inner, 1],
      ]),
      ...(typeof one === 'object' && one !== null ? Object.keys(one).map((inner) => [key, index, inner]) : []),
    ]),
  )
  return { value: file.value, places: paths.map((path) => file.at(path)), end: file.at(['last']) }
}

describe('a long list of plain items', () => {
  it('is read as the parser reads it, values and places', () => {
    fc.assert(
      fc.property(fc.array(item, { maxLength: 12 }), indents, fc.nat(SOME), (odd, indent, at) => {
        const plain = Array.from(
          { length: SOME },
          (_, index) => `${indent}- cidr: 10.${index >> 8}.${index & 255}.0/24\n${indent}  ports: [443, 80]`,
        )
        const items = [
          ...plain.slice(0, at),
          ...odd.map((fields) => itemText(fields, indent)),
          ...plain.slice(at),
          ...plain,
        ]
        const text = `name: x\negress:\n${items.join('\n')}\nmore: [1]\nlast: yes\n`
        expect(read(text, FROM)).toEqual(read(text))
      }),
      { numRuns: 300 },
    )
  })

  it('is what it says it takes', () => {
    const lines = Array.from({ length: SOME }, (_, index) => `- cidr: 10.0.${index & 255}.0/24`)
    const { runs, text } = withoutRuns(`egress:\n${lines.join('\n')}\nlast: 1`, { mark: 'mark-', itemsMin: FROM })
    expect(runs.map(({ items }) => items.length)).toEqual([SOME - 1])
    expect(text.split('\n')).toHaveLength(SOME + 2)
    expect(text.replace(/\n+/g, '\n')).toBe(`egress:\n- mark-0\n${lines.at(-1)}\nlast: 1`)
  })

  const lines = Array.from({ length: SOME }, (_, index) => `  - a: ${index}`).join('\n')
  it.each([
    ['inside a block of text', `text: |\n${lines}\nlast: 1`],
    ['inside quotes', `text: "\n${lines}\n"\nlast: 1`],
    ['in a list inside a map', `map:\n  list:\n${lines.replace(/^/gm, '  ')}\nlast: 1`],
    ['with a key twice', `list:\n${lines}\n  - a: 1\n    a: 2\n  - a: 1\nlast: 1`],
    ['whose last item goes on', `list:\n${lines}\n    b:\n      - c: 1\nlast: 1`],
    ['with the mark in the text', `# run-of-plain-items-0\nlist:\n${lines}\nlast: 1`],
    ['that breaks off', `list:\n${lines}\n  - "a\nlast: 1`],
    ['as the whole file', lines],
  ])('is left to the parser, or the same, %s', (_, text) => {
    expect(read(text, FROM)).toEqual(read(text))
  })
})

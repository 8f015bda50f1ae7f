/** Which names are held: never one that a watched pattern or a policy does not mean, and one with any star in its place where both do. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { matchesPart } from '../../../src/base/glob-part.js'
import { type HeldNames, heldNames } from '../../../src/sensor/held-names.js'
import { parsePattern } from '../../../src/sensor/watch-patterns.js'

const shown = (held: HeldNames | null) => held && (held.isOne ? held.head : `${held.head}*${held.tail}`)

describe('names that are held as soon as they are found', () => {
  const held = (watch: string, folder: string, ...cgroups: string[]) =>
    shown(heldNames(parsePattern(watch), folder, { all: false, cgroups }))

  it.each([
    ['/a/*', '/a', '/a/*', '*'],
    ['/a/box-*', '/a', '/a/*', 'box-*'],
    ['/a/*', '/a', '/a/box-*.scope', 'box-*.scope'],
    ['/a/box-*', '/a', '/a/box-*.scope', 'box-*.scope'],
    ['/a/box', '/a', '/a/b*', 'box'],
    ['/*/*', '/a', '/a/*', '*'],
    ['/a/*/*', '/a', '/a/*/box-*', 'box-*'],
    ['/a/*/*', '/a/b', '/*/b/box-*', 'box-*'],
  ])('watched %s below %s, selected %s: %s', (watch, folder, cgroup, names) => {
    expect(held(watch, folder, cgroup)).toBe(names)
  })

  it.each([
    ['what only one of them means', '/a/x-*', '/a', '/a/y-*'],
    ['what could be either', '/a/x-*', '/a', '/a/*-y'],
    ['another folder', '/*/*', '/a', '/b/*'],
    ['a folder in between that must have a name', '/a/*/*', '/a', '/a/b/*'],
    ['another depth', '/a/*', '/a', '/a/*/*'],
    ['more pieces than are compared', '/a/x*y*z', '/a', '/a/*'],
    ['ends that are too long to be compared', `/a/${'x'.repeat(32)}*`, '/a', '/a/*'],
    ['nothing', '/a/*', '/a', ''],
  ])('none for %s', (_, watch, folder, cgroup) => {
    expect(held(watch, folder, ...(cgroup === '' ? [] : [cgroup]))).toBeNull()
  })

  it('none right below the root, where our own are', () => {
    expect(held('/*', '', '/*')).toBeNull()
    expect(heldNames(parsePattern('/*'), '', { all: true, cgroups: [] })).toBeNull()
  })

  it('are those of one policy if several are for some, and all of them if one is', () => {
    expect(held('/a/*', '/a', '/b/*', '/a/x-*', '/a/y-*')).toBe('x-*')
    expect(held('/a/*', '/a', '/a/x-*', '/a/*')).toBe('*')
    expect(shown(heldNames(parsePattern('/a/x-*'), '/a', { all: true, cgroups: ['/a/x-1'] }))).toBe('x-*')
  })

  it('are never others than both mean', () => {
    const part = fc.stringMatching(/^[ab*]{1,5}$/).filter((text) => !text.includes('**'))
    const name = fc.stringMatching(/^[ab]{1,6}$/)
    fc.assert(
      fc.property(part, part, name, (watched, selected, each) => {
        const text = held(`/x/${watched}`, '/x', `/x/${selected}`)
        if (text === null || !matchesPart(text, each)) return
        expect([matchesPart(watched, each), matchesPart(selected, each)]).toEqual([true, true])
      }),
      { numRuns: 3_000 },
    )
  })
})

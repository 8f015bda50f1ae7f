import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { expand, levelsBelow, parsePattern } from '../../../src/sensor/watch-patterns.js'

describe('a pattern of cgroup paths', () => {
  let root: string

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'sluice-test-'))
    for (const path of ['a/x/agents-1', 'a/x/other', 'a/y/agents-2/deep', 'a/y.z/agents-', 'b/x/agents-3']) {
      mkdirSync(join(root, path), { recursive: true })
    }
  })

  afterEach(() => rmSync(root, { recursive: true, force: true }))

  const matches = (pattern: string) => {
    const parsed = parsePattern(pattern)
    const visited = new Map<string, number | null>()
    const { matches } = expand(root, parsed, ({ path }) => visited.set(path, levelsBelow(parsed, path)))
    return { paths: matches.map(({ path }) => path).sort(), visited }
  }

  it.each([
    ['/a/*/agents-*', ['/a/x/agents-1', '/a/y.z/agents-', '/a/y/agents-2']],
    ['/a/x/*', ['/a/x/agents-1', '/a/x/other']],
    ['/*/x/agents-?', []],
    ['/a/y.*/*', ['/a/y.z/agents-']],
    ['/a/y?z/*', []],
    ['/*', ['/a', '/b']],
    ['/a/x/agents-1/', ['/a/x/agents-1']],
    ['/none/*', []],
  ])('%s means %j', (pattern, paths) => {
    expect(matches(pattern).paths).toEqual(paths)
  })

  it('says from where on only the depth counts, so that the kernel side can tell by itself', () => {
    expect([...matches('/a/*/agents-*').visited]).toEqual(
      expect.arrayContaining([
        ['', null],
        ['/a', 2],
        ['/a/x', 1],
        ['/a/y', 1],
      ]),
    )
    expect(matches('/a/x*/*').visited.get('/a')).toBeNull()
    expect(levelsBelow(parsePattern('/a/x*/*'), '/a/y')).toBeNull()
  })

  it.each([
    ['user.slice', 'must begin with a slash'],
    ['/', 'has an empty part'],
    ['/a/**', 'has **; write a * for each level'],
    ['/a//b', 'has an empty part or dots'],
    ['/a/../b', 'has an empty part or dots'],
  ])('is refused where it says nothing: %s', (pattern, why) => {
    expect(() => parsePattern(pattern)).toThrow(why)
  })
})

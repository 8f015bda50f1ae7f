import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Commands } from '../../../../src/engine/detect/command.js'
import { syntax } from '../../../support/bash-grammar.js'

const commands = new Commands(syntax)
const of = (command: string) => commands.of({ command })

describe('two commands', () => {
  it.each([
    ['git  status', 'git status'],
    ['git status # once more', 'git status'],
    ['cd /work && git status', 'git status'],
    ['cd a; cd b; git status', 'git status'],
    [`grep "foo" 'a b'`, `grep 'foo' "a b"`],
    ['curl http://h/?id=48291', 'curl http://h/?id=77120'],
    ['git show 1a2b3c4d', 'git show 9f8e7d6c'],
    ['x 3f2504e0-4f89-11d3-9a0c-0305e82c3301', 'x 9b2504e0-4f89-11d3-9a0c-0305e82c33ff'],
    ['ls --since 2026-01-31T10:00:00Z', 'ls --since 2026-02-01T11:22:33Z'],
    ['cat /tmp/tmp.aB3xY9z1', 'cat /tmp/tmp.Qq81mN2c'],
    ['python t.py --tag k3j9xq7w2', 'python t.py --tag p8a1zz4q9'],
  ])('that do the same are equal: %j and %j', (one, other) => {
    expect(of(one).key).toBe(of(other).key)
  })

  it.each([
    ['git status', 'git diff'],
    ['grep foo a', 'grep foo b'],
    ['cd a', 'cd b'],
    ["sed -n '1000,1050p' f", "sed -n '1050,1100p' f"],
    ['head -n 10 f', 'head -n 20 f'],
    ['cat /tmp/notes.txt', 'cat /tmp/other.txt'],
    ['echo "a#b"', 'echo "a#c"'],
  ])('that do not are not: %j and %j', (one, other) => {
    expect(of(one).key).not.toBe(of(other).key)
  })

  it.each([
    ['git status --short', 'git status'],
    ['cd x && timeout 10 python -m pytest -x', 'python -m pytest'],
    ['sudo env A=1 npm run build', 'npm run'],
    ['/usr/bin/rg x | head', 'rg'],
    ['FOO=1 make all', 'make all'],
    ['for i in 1 2; do curl x; done', 'curl'],
    ['ls', 'ls'],
  ])('have a verb: %j has %j', (command, verb) => {
    expect(of(command).verb).toBe(verb)
  })

  it('are read whatever they are made of, within bounds', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        const { key, sketch, said, verb } = of(text)
        expect(Number.isSafeInteger(key)).toBe(true)
        expect(sketch.words.length).toBeLessThanOrEqual(64)
        expect(said.length + verb.length).toBeLessThan(130)
      }),
      { numRuns: 300 },
    )
    const deep = `${'('.repeat(5_000)}ls${')'.repeat(5_000)}`
    for (const text of [deep, 'a '.repeat(500_000), '$('.repeat(2_000), `echo ${"'"}${'x'.repeat(30_000)}`]) {
      expect(of(text).sketch.words.length).toBeLessThanOrEqual(64)
    }
  })

  it('are remembered in a bounded number', () => {
    const own = new Commands(syntax)
    for (let at = 0; at < 17_000; at += 1) own.of({ command: `unlike ax${at}` })
    const { parsed } = own
    own.of({ command: 'unlike ax0' })
    expect(own.parsed).toBe(parsed + 1)
    own.of({ command: 'unlike ax0' })
    expect(own.parsed).toBe(parsed + 1)
  })
})

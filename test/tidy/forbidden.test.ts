/** Words and constructs that have no place here: there are none, and each would be found. */
import { describe, expect, it } from 'vitest'
import { checkConstructs, checkWords } from './checkers/forbidden.js'
import { projectFiles } from './project-files.js'

/** Files of others, with their own words. */
const FOREIGN = /^(LICENSE|package-lock\.json)$|\.(png|svg|gif|node)$/

describe('forbidden words', () => {
  it('are nowhere in the project', () => {
    expect(checkWords(projectFiles(/./).filter((file) => !FOREIGN.test(file.path)))).toEqual([])
  })

  it.each([
    `// ${'TO'}${'DO'}: later`,
    `# ${'FIX'}${'ME'}`,
    `cd /${'work'}/project`,
    `open ${'/Us'}ers/jo/x`,
    `PATH=/root/${'.nvm'}/bin`,
    `written ${'by'} Claude`,
    `Co-authored-${'by'}: x`,
  ])('are found: %s', (text) => {
    expect(checkWords([{ path: 'docs/a.md', text: `fine\n${text}` }])).toEqual([
      expect.stringMatching(/^docs\/a\.md:2: "/),
    ])
  })

  it.each(['see docs/work/plan.md', 'const todo = list', 'https://example.com/work/x', 'the agent claude runs'])(
    'are not: %s',
    (text) => {
      expect(checkWords([{ path: 'docs/a.md', text }])).toEqual([])
    },
  )
})

describe('forbidden constructs', () => {
  it('are nowhere in src/ and test/', () => {
    expect(checkConstructs(projectFiles(/^(src|test)\/.*\.ts$/))).toEqual([])
  })

  it.each([
    ['export function f(x: any) {}', '`any`'],
    ['const x = y as unknown as any[]', '`any`'],
    ['export const home = process.env.HOME', 'reads the environment'],
    [`export const home = process['env'].HOME`, 'reads the environment'],
    ['export const home = globalThis.process.env', 'reads the environment'],
    ['export function f() { const { env } = process }', 'reads the environment'],
    [`import { env as e } from 'node:process'`, 'reads the environment'],
    ['let count = 0', 'state at module level'],
    ['export let count = 0', 'state at module level'],
    ['var count = 0', 'state at module level'],
    ['const seen = new Map<string, number>()', 'state at module level'],
    ['const seen = new WeakSet()', 'state at module level'],
    ['export const queue: string[] = []', 'state at module level'],
    ['export const f = () => mkdirSync(a, { mode: 1, recursive: true })', 'a recursive mkdir may never end'],
    ['export const f = () => fs.promises.mkdir(a, { recursive: true })', 'a recursive mkdir may never end'],
  ])('are found in src/: %s', (text, message) => {
    expect(checkConstructs([{ path: 'src/base/a.ts', text }])).toEqual([expect.stringContaining(message)])
  })

  it.each([
    ['src/cli/environment.ts', 'export const home = process.env.HOME'],
    ['src/base/a.ts', 'export function f() { let x = 0; return { env: x } }'],
    ['src/base/a.ts', `const TABLE = new Map([['a', 1]])\nexport const LIST = ['b']`],
    ['src/base/a.ts', `// any process.env\nexport const s = 'any'`],
    ['test/support/a.ts', 'export const ci = process.env.CI'],
    ['src/base/a.ts', 'export const f = () => [mkdirSync(a, { mode: 1 }), rmSync(b, { recursive: true })]'],
    ['test/support/a.ts', 'mkdirSync(a, { recursive: true })'],
  ])('are not in %s: %s', (path, text) => {
    expect(checkConstructs([{ path, text }])).toEqual([])
  })
})

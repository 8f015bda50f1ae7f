/** Sizes of files and functions: within the house style's limits, and each limit can be met. */
import { describe, expect, it } from 'vitest'
import { checkSizes } from './checkers/sizes.js'
import { projectFiles } from './project-files.js'

const lines = (count: number, line = '// x') => `${line}\n`.repeat(count)
const body = (count: number) => lines(count - 2, '  x()')

describe('sizes', () => {
  it('are within the limits everywhere', () => {
    expect(checkSizes(projectFiles(/\.([cm]?[jt]s|c|h|cc)$/))).toEqual([])
  })

  it.each([
    ['src/a.ts', lines(450)],
    ['bpf/a.bpf.c', lines(400)],
    ['src/a.ts', `function f() {\n${body(70)}}\n`],
    ['test/a.test.ts', `describe.each([])('x', () => {\n${body(200)}})\n`],
    ['docs/a.md', lines(1000)],
  ])('at the limit are fine: %s', (path, text) => {
    expect(checkSizes([{ path, text }])).toEqual([])
  })

  it.each([
    ['src/a.ts', lines(451), 'src/a.ts: has 451 lines, split it by 450'],
    ['scripts/a.mjs', lines(451), 'scripts/a.mjs: has 451 lines, split it by 450'],
    ['bpf/a.bpf.c', lines(401), 'bpf/a.bpf.c: has 401 lines, split it by 400'],
    ['src/a.ts', `\nfunction f() {\n${body(71)}}\n`, 'src/a.ts:2: a function of 71 lines'],
    ['src/a.ts', `const f = () => {\n${body(71)}}\n`, 'src/a.ts:1: a function of 71 lines'],
    ['src/a.ts', `class A {\n  m() {\n${body(71)}}\n}\n`, 'src/a.ts:2: a function of 71 lines'],
    ['test/a.test.ts', `it('x', () => {\n${body(71)}})\n`, 'test/a.test.ts:1: a function of 71 lines'],
  ])('above the limit are found: %s', (path, text, message) => {
    expect(checkSizes([{ path, text }])).toEqual([expect.stringContaining(message)])
  })
})

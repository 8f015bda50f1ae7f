/** Cycles and files nobody reaches: there are none, and both would be noticed. */
import { describe, expect, it } from 'vitest'
import { findCycles, findUnreached } from './checkers/import-graph.js'
import { projectFiles } from './project-files.js'

/** What processes start with; everything else has to be imported from here. */
const ENTRIES = [
  'src/cli/main.ts',
  'src/engine/main.ts',
  'src/engine/baselines-main.ts',
  'src/engine/policy/main.ts',
  'src/engine/replay/main.ts',
  'src/gateway/main.ts',
  'src/sensor/main.ts',
  'src/sensor/clean-main.ts',
  'src/sensor/probe-main.ts',
  'src/sensor/sweep-main.ts',
  'src/sinks/main.ts',
  'src/sinks/trial-main.ts',
]

const sources = () => projectFiles(/^src\/.*\.ts$/)

describe('import cycles', () => {
  it('do not exist in src/', () => {
    expect(findCycles(sources())).toEqual([])
  })

  it('are found, through types and dynamic imports too', () => {
    const found = findCycles([
      { path: 'src/a.ts', text: `import type { B } from './b.js'` },
      { path: 'src/b.ts', text: `export * from './c.js'` },
      { path: 'src/c.ts', text: `const a = await import('./a.js')` },
      { path: 'src/d.ts', text: `import './a.js'` },
    ])
    expect(found).toEqual([expect.stringContaining('src/a.ts → src/b.ts → src/c.ts → src/a.ts')])
  })

  it('are not seen in a diamond', () => {
    const found = findCycles([
      { path: 'src/a.ts', text: `import './b.js'\nimport './c.js'` },
      { path: 'src/b.ts', text: `import './d.js'` },
      { path: 'src/c.ts', text: `import './d.js'` },
      { path: 'src/d.ts', text: '' },
    ])
    expect(found).toEqual([])
  })
})

describe('files that no entry point reaches', () => {
  it('do not exist in src/', () => {
    expect(findUnreached(sources(), ENTRIES)).toEqual([])
  })

  it('are found, and so are entry points that are gone', () => {
    const files = [
      { path: 'src/cli/main.ts', text: `import './used.js'` },
      { path: 'src/cli/used.ts', text: '' },
      { path: 'src/cli/left-over.ts', text: `import './used.js'` },
    ]
    expect(findUnreached(files, ['src/cli/main.ts', 'src/gone/main.ts'])).toEqual([
      'src/gone/main.ts: is listed as an entry point but does not exist',
      expect.stringMatching(/^src\/cli\/left-over\.ts: no entry point reaches it/),
    ])
  })
})

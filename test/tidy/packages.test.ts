/** package.json, its lock and the licences: exact, fitting, said; and each check can fail. */
import { describe, expect, it } from 'vitest'
import { checkLicences } from './checkers/licences.js'
import { checkLock, checkPins } from './checkers/packages.js'
import { projectFiles, projectPaths, readJson } from './project-files.js'

describe('packages', () => {
  it('are pinned to exact versions', () => {
    expect(checkPins(readJson('package.json'))).toEqual([])
  })

  it('are locked at those versions, with no registry in the lock', () => {
    expect(checkLock(readJson('package.json'), readJson('package-lock.json'))).toEqual([])
  })

  it.each(['^1.2.3', '~1.2.3', '1.2', '*', 'latest', 'file:../x', '>=1.0.0'])('are not pinned by %s', (version) => {
    expect(checkPins({ devDependencies: { x: version } })).toEqual([expect.stringContaining('pin the exact version')])
  })

  it('that are missing, other or hosted in the lock are found', () => {
    const manifest = { dependencies: { a: '1.0.0', b: '1.0.0', c: '1.0.0' } }
    const optionalDependencies = { b: '1.0.1', 'c-other-platform': '1.0.0' }
    const resolved = 'https://registry.example.com/c/-/c-1.0.0.tgz'
    const c = { version: '1.0.0', resolved, optionalDependencies }
    const lock = {
      packages: { 'node_modules/b': { version: '1.0.1' }, 'node_modules/c': c },
    }
    expect(checkLock(manifest, lock)).toEqual([
      expect.stringContaining('a is not locked'),
      expect.stringContaining('b is not locked'),
      expect.stringContaining('node_modules/c names the registry'),
      expect.stringContaining('c-other-platform, optional for node_modules/c, has no entry'),
    ])
  })
})

describe('licences', () => {
  it('are said in every C file of bpf/, and in full beside them', () => {
    expect(checkLicences(projectFiles(/^bpf\/.*\.[ch]$/))).toEqual([])
    expect(projectPaths(/^(bpf\/)?LICENSE$/)).toEqual(['LICENSE', 'bpf/LICENSE'])
  })

  it.each(['', 'int x;', '/* SPDX-License-Identifier: MIT */', '/* licence below */\n// SPDX-License-Identifier: x'])(
    'that are missing or others are found: %s',
    (text) => {
      expect(checkLicences([{ path: 'bpf/a.bpf.c', text }])).toHaveLength(1)
    },
  )
})

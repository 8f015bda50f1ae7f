/** Folders at a path that a person named: all that are missing, or a reason; never a wait without an end. */
import { mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { makeFolders } from '../../../src/base/make-folders.js'
import { withTempDir } from '../../support/sluice-run.js'

describe('folders at a path that a person named', () => {
  it('are made with those above, and are left as they are where they are there', async () => {
    await withTempDir(async (dir) => {
      const path = join(dir, 'a/b/c')
      makeFolders(path, 0o711)
      writeFileSync(join(path, 'kept'), '')
      makeFolders(path, 0o700)
      expect(readdirSync(path)).toEqual(['kept'])
      expect([path, join(dir, 'a')].map((each) => statSync(each).mode & 0o777)).toEqual([0o711, 0o711])
    })
  })

  it('can not be made below a link to nowhere', async () => {
    await withTempDir(async (dir) => {
      mkdirSync(join(dir, 'there'))
      symlinkSync('nowhere', join(dir, 'there/link'))
      expect(() => makeFolders(join(dir, 'there/link/a'))).toThrow(expect.objectContaining({ code: 'EEXIST' }))
    })
  })

  it.each([
    ['/proc/there/is/none', 'ENOENT'],
    ['/dev/null/below', 'ENOTDIR'],
    ['/dev/null', 'EEXIST'],
  ])('can not be made at %s, which is said at once: %s', (path, code) => {
    expect(() => makeFolders(path, 0o700)).toThrow(expect.objectContaining({ code }))
  })
})

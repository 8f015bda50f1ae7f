import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const isRoot = process.getuid?.() === 0

/** Dropping is for good, so it happens in a process of its own, on the two files that it takes, compiled for the occasion. */
describe.skipIf(!isRoot)('dropping root (needs root)', () => {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-drop-'))

  beforeAll(() => {
    for (const file of ['base/error', 'base/drop-privileges']) {
      const source = readFileSync(new URL(`../../../src/${file}.ts`, import.meta.url), 'utf8')
      const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 }
      mkdirSync(join(dir, file, '..'), { recursive: true })
      writeFileSync(join(dir, `${file}.js`), ts.transpileModule(source, { compilerOptions }).outputText)
    }
    writeFileSync(join(dir, 'package.json'), '{"type": "module"}')
  })
  afterAll(() => rmSync(dir, { recursive: true }))

  function drop(user: string): string {
    const script = `
      import { dropPrivileges } from './base/drop-privileges.js'
      try {
        dropPrivileges('engine', ${JSON.stringify(user)})
        console.log('now', process.getuid(), process.getgid(), process.getgroups().length <= 1)
        try { process.seteuid(0); console.log('back') } catch { console.log('no way back') }
      } catch (error) {
        console.log(error.code, error.message, error.hint)
      }`
    return execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: dir, encoding: 'utf8' })
  }

  it('becomes the user and can not become root again', () => {
    expect(drop('nobody')).toBe('now 65534 65534 true\nno way back\n')
  })

  it('says how to make a user that is not there', () => {
    expect(drop('sluice-no-such-user')).toMatch(/^PRIVILEGE .*does not exist useradd --system .* sluice-no-such-user/)
  })

  it('does not take root for a user', () => {
    expect(drop('root')).toMatch(/^PRIVILEGE /)
  })
})

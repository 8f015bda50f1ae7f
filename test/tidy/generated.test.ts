/** Generated files: made from the sources that are there now, and never committed. */
import { spawnSync } from 'node:child_process'
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { projectPaths, root } from './project-files.js'

const GENERATED = /^(node_modules|dist|build|coverage)\/|\/generated\/|\.(node|tsbuildinfo)$/

function checkBuild(checkout: string): { code: number | null; messages: string } {
  const { status, stderr } = spawnSync(process.execPath, ['scripts/build.mjs', '--check'], {
    cwd: checkout,
    encoding: 'utf8',
  })
  return { code: status, messages: stderr }
}

describe('generated files', () => {
  it('are fresh', () => {
    expect(checkBuild(root)).toEqual({ code: 0, messages: '' })
  })

  it.each(['event', 'metrics'])('of the documentation are fresh: else run node scripts/%s-reference.mjs', (name) => {
    const { stdout } = spawnSync(process.execPath, [`scripts/${name}-reference.mjs`, '--print'], {
      cwd: root,
      encoding: 'utf8',
    })
    const file = name === 'event' ? 'events' : name
    expect(readFileSync(join(root, `docs/reference/${file}.md`), 'utf8')).toBe(stdout)
  })

  it.each([
    ['md', 'docs/reference/policy.md'],
    ['json', 'docs/reference/policy.schema.json'],
  ])('of the policy language are fresh (%s): else run node scripts/policy-reference.mjs', (form, path) => {
    const { stdout } = spawnSync(process.execPath, ['scripts/policy-reference.mjs', '--print', form], {
      cwd: root,
      encoding: 'utf8',
    })
    expect(readFileSync(join(root, path), 'utf8')).toBe(stdout)
  })

  it('of the build are not committed', () => {
    expect(projectPaths(GENERATED, { committed: true })).toEqual([])
  })

  it('that were edited by hand, or whose sources changed, are found', () => {
    const checkout = mkdtempSync(join(tmpdir(), 'sluice-generated-'))
    try {
      for (const path of [
        'scripts',
        'proto',
        'src/proto/generated',
        'build/stamps/codec.json',
        'node_modules/protobufjs-cli',
      ]) {
        cpSync(join(root, path), join(checkout, path), { recursive: true })
      }
      expect(checkBuild(checkout).messages).not.toContain('codec:')
      appendFileSync(join(checkout, 'src/proto/generated/codec.js'), '// edited\n')
      expect(checkBuild(checkout)).toEqual({
        code: 1,
        messages: expect.stringContaining('codec: what it wrote was changed'),
      })
      appendFileSync(join(checkout, 'proto/sluice/v1/event.proto'), '// edited\n')
      expect(checkBuild(checkout).messages).toContain('codec: its sources changed')
    } finally {
      rmSync(checkout, { recursive: true })
    }
  })
})

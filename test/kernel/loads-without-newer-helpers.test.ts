/**
 * What the programs fall back to where the kernel is older than any that the tests run on: chosen by the kernel's types, so from a copy
 * of them in which the newer helper has another name. It is this kernel that verifies it, and it is only loaded.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { compiledC } from '../support/compiled.mjs'
import { privileged } from '../support/privileged.js'
import { withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const OBJECTS = fileURLToPath(new URL('../../build/native', import.meta.url))

/** Verified instructions by program. */
function load(object: string, btf: string): Map<string, number> {
  const args = [join(OBJECTS, `${object}.bpf.o`), btf]
  const out = execFileSync(compiledC('loads'), args, { encoding: 'utf8' })
  const words = out
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
  return new Map(words.map(([program = '', instructions]) => [program, Number(instructions)]))
}

/** This kernel's types, with an enumerator that has another name. */
function typesWithout(enumerator: string, path: string): void {
  const types = readFileSync('/sys/kernel/btf/vmlinux')
  const at = types.indexOf(`\0${enumerator}\0`)
  expect(at).toBeGreaterThan(0)
  types.write('X', at + 1)
  writeFileSync(path, types)
}

describe.skipIf(skip)(`without bpf_loop ${reason}`, () => {
  it('the programs load all the same, with loops that the verifier goes through round by round', async () => {
    await withTempDir(async (dir) => {
      const btf = join(dir, 'btf')
      typesWithout('BPF_FUNC_loop', btf)
      const [today, before] = ['/sys/kernel/btf/vmlinux', btf].map((types) => load('core', types))
      expect([...(before?.keys() ?? [])]).toEqual([...(today?.keys() ?? [])])
      const cost = (of = new Map<string, number>()) => [...of.values()].reduce((sum, each) => sum + each, 0)
      expect(cost(today)).toBeGreaterThan(0)
      expect(cost(before)).toBeGreaterThan(2 * cost(today))
      expect(load('walk', btf).size).toBeGreaterThan(0)
    })
  })
})

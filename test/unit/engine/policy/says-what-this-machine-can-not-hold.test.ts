/** What a policy asks for and one machine or another can't enforce, each with its place and what to do instead. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readPolicyHost } from '../../../../src/base/policy-host.js'
import type { Here } from '../../../../src/engine/policy/here.js'
import { findingsHere } from '../../../../src/engine/policy/here.js'
import { ENFORCE, load, MONITOR } from './policies.js'

const GOOD: Here = { landlock: 7, ptraceScope: 0, unixHooks: true, asRoot: false, byRoot: false }
const FOR_SH = 'egress:\n  - {host: a.com}\n  - {host: b.com, binary: [/bin/sh]}\n'

function here(text: string, machine: Partial<Here> = {}): string[] {
  const { parsed } = load(text)
  if (parsed === null) throw new Error('the policy can not be read')
  return findingsHere(parsed, { ...GOOD, ...machine }).map(
    ({ line, column, severity, message }) => `${line}:${column}: ${severity}: ${message}`,
  )
}

describe('what a machine can not hold', () => {
  it('is nothing where it has what it takes, and nothing in monitor mode', () => {
    expect(here(`${ENFORCE}${FOR_SH}`)).toEqual([])
    const bare = { landlock: 0, unixHooks: false, asRoot: true }
    expect(here(`${MONITOR}${FOR_SH}`, bare)).toEqual([])
  })

  it('is a rule for certain programs, where nothing keeps its processes apart', () => {
    expect(here(`${ENFORCE}${FOR_SH}`, { landlock: 1 })).toEqual([
      expect.stringMatching(
        /^6:19: error: egress\[1\]\.binary: can't be enforced here: its processes can take each other over .*; start it by sluice run --policy/,
      ),
    ])
    expect(here(`${ENFORCE}${FOR_SH}`, { landlock: 0, ptraceScope: 3 })).toEqual([])
    expect(here(`${ENFORCE}${FOR_SH}`, { asRoot: true })).toEqual([
      expect.stringMatching(/binary: can't be enforced here: its processes run as root/),
    ])
    expect(here(`${ENFORCE}allow_privileged: true\n${FOR_SH}`, { asRoot: true, landlock: 0 })).toEqual([])
    expect(here(`${ENFORCE}egress: [{host: a.com}]\n`, { asRoot: true, landlock: 0 })).toEqual([])
  })

  it('are Unix sockets where the kernel has no hook for them, unless root starts it', () => {
    expect(here(ENFORCE, { unixHooks: false })).toEqual([
      expect.stringMatching(/^3:1: error: mode: can't be enforced here: this kernel has no hook for Unix sockets/),
    ])
    expect(here(ENFORCE, { unixHooks: false, byRoot: true })).toEqual([])
    expect(here(`${ENFORCE}allow_brokers: true\n`, { unixHooks: false })).toEqual([])
  })

  it('can be read of this one', () => {
    expect(readPolicyHost(3)).toEqual({ landlock: 3, ptraceScope: expect.any(Number), unixHooks: expect.any(Boolean) })
  })

  describe('at a path', () => {
    let dir = ''
    beforeAll(() => {
      dir = mkdtempSync(join(tmpdir(), 'sluice-here-'))
      mkdirSync(join(dir, 'theirs'))
      chmodSync(join(dir, 'theirs'), 0o777)
      writeFileSync(join(dir, 'theirs', 'git'), '', { mode: 0o755 })
    })
    afterAll(() => rmSync(dir, { recursive: true }))

    it('is a program that others than root may put there; one that is not there is told', () => {
      const rule = (path: string) =>
        `${ENFORCE}egress:\n  - {host: b.com, binary: ["sha256:${'0a'.repeat(32)}", ${path}]}\n`
      expect(here(rule(join(dir, 'theirs', 'git')))).toEqual([
        expect.stringMatching(
          /^5:\d+: error: egress\[0\]\.binary\[1\]: can't be enforced here: .*, so it can be any program; /,
        ),
      ])
      expect(here(rule('/nonexistent/git'))).toEqual([
        '5:103: warning: egress[0].binary[1]: /nonexistent/git is not here: the rule is for nobody until it is',
      ])
      expect(here(rule('/usr'))).toEqual([expect.stringContaining('/usr is no file')])
    })
  })
})

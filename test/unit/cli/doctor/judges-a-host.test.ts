import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { isAtLeast, type KernelHost, parseCapabilities } from '../../../../src/base/kernel-host.js'
import { checksText } from '../../../../src/cli/commands/doctor.js'
import { checkHost } from '../../../../src/cli/doctor/checks.js'
import { type HostFacts, mountsOfInterest } from '../../../../src/cli/doctor/host-facts.js'
import { readJournalFacts } from '../../../../src/cli/doctor/journal-facts.js'
import { parseProbe } from '../../../../src/cli/doctor/probe.js'

const program = {
  name: 'sl_exec',
  hook: 'sched_process_exec',
  lost: 'programs that start',
  loaded: true,
  attached: true,
  error: null,
}
const kernel: KernelHost = {
  ...{ release: '6.1.0-13-amd64', effectiveCapabilities: 0x1ffffffffffn, btfProblem: null, lockdown: 'none' },
  ...{ lsms: ['landlock', 'bpf'], filtered: false },
}
const MIB = 1024 * 1024
const journal: HostFacts['journal'] = {
  state: 'there',
  ...{ dir: '/j', sessions: 2, bytes: 3 * MIB, signedUnixMs: 0, freeBytes: 99 * MIB, hasKey: true },
}
const whole: HostFacts = {
  ...{ platform: 'linux', kernel, nodeVersion: '20.20.2', uid: 0, seccomp: true, landlock: 7 },
  mounts: [
    { path: '/sys/fs/cgroup', fsType: 'cgroup2' },
    { path: '/sys/fs/bpf', fsType: 'bpf' },
  ],
  ...{ addonBuilt: true, launcherBuilt: true, engineUserExists: true, agent: 'nobody', pins: [], policyProblems: [] },
  probe: { programs: [program], degraded: [], error: null },
  journal,
}
const states = (facts: Partial<HostFacts>) =>
  checkHost({ ...whole, ...facts }).filter((check) => check.state === 'fail' || check.state === 'warn')

describe('the judgement of a host', () => {
  it('finds nothing on one that has everything', () => {
    expect(states({})).toEqual([])
    const notes = checkHost(whole).filter((check) => check.state === 'note')
    expect(notes.map((check) => check.name)).toEqual(['bpffs', 'agent', 'lsm', 'bpf lsm', 'landlock', 'seccomp'])
    expect(checkHost(whole).filter((check) => check.state === 'ok')).toHaveLength(12)
  })

  it.each<[string, 'fail' | 'warn', Partial<HostFacts>]>([
    ['kernel', 'fail', { platform: 'darwin' }],
    ['node', 'fail', { nodeVersion: '18.0.0' }],
    ['privilege', 'fail', { kernel: { ...kernel, effectiveCapabilities: 0n } }],
    ['btf', 'fail', { kernel: { ...kernel, btfProblem: 'is missing' } }],
    ['lockdown', 'fail', { kernel: { ...kernel, lockdown: 'confidentiality' } }],
    ['cgroup', 'fail', { mounts: [{ path: '/c', fsType: 'cgroup' }] }],
    ['cgroup', 'warn', { mounts: null }],
    ['addon', 'fail', { addonBuilt: false }],
    ['launcher', 'fail', { launcherBuilt: false }],
    ['programs', 'fail', { probe: { programs: [], degraded: [], error: 'x' } }],
    ['optional', 'warn', { probe: { programs: [program], degraded: ['io_uring: goes unseen'], error: null } }],
    ['engine user', 'warn', { engineUserExists: false }],
    ['policies', 'fail', { policyProblems: ['/etc/sluice/policies/a.yaml:3:1: unknown key'] }],
    ['journal', 'warn', { journal: { ...journal, freeBytes: MIB } }],
    ['journal', 'warn', { journal: { ...journal, hasKey: false } }],
    ['pins', 'warn', { pins: ['/sys/fs/bpf/sluice/1-00000000'] }],
  ])('names what is lost without %s, and the fix', (name, state, facts) => {
    const [check, ...rest] = states(facts)
    expect(check).toMatchObject({ name, state })
    expect(check?.lost).toMatch(/\w/)
    expect(check?.fix).toMatch(/\w/)
    expect(rest).toEqual([])
  })

  it('has no use for programs on a kernel that is too old, and says that first', () => {
    const found = states({ kernel: { ...kernel, release: '5.14.0' }, probe: null })
    expect(found.map(({ name, state }) => [name, state])).toEqual([
      ['kernel', 'fail'],
      ['programs', 'warn'],
    ])
    expect(found[0]).toMatchObject({ found: 'Linux 5.14.0 is too old: 5.15 or newer is needed' })
  })

  it('shows each hook, and what is lost without the one that the kernel refused', () => {
    const refused = { ...program, hook: 'iter/task', attached: false, error: 'attaching: Invalid argument\nlibbpf: x' }
    const probe = { programs: [program, refused], degraded: [], error: null }
    expect(states({ probe })).toMatchObject([
      { name: 'programs', state: 'fail', found: '1 of 2 load and attach' },
      { name: 'iter/task', state: 'fail', lost: 'programs that start' },
    ])
    expect(states({ probe })[1]?.found).toBe('sl_exec does not attach: attaching: Invalid argument')
    expect(checkHost(whole)).toContainEqual(expect.objectContaining({ name: 'sched_process_exec', state: 'ok' }))
    const locked = states({ probe, kernel: { ...kernel, lockdown: 'confidentiality' } })
    expect(locked.find((check) => check.name === 'iter/task')?.fix).toBe('see lockdown')
  })

  it('does not call ok what it could not try without root', () => {
    const found = states({ uid: 1000, probe: null })
    expect(found.map(({ name, state }) => [name, state])).toEqual([
      ['privilege', 'warn'],
      ['programs', 'warn'],
    ])
  })

  it.each<[string, Partial<HostFacts['journal']>, RegExp]>([
    ['there', {}, /^\/j: 2 sessions, 3 MiB, signed last 1970-01-01T00:00:00Z, 99 MiB free$/],
    ['without a checkpoint', { signedUnixMs: null }, /nothing signed yet/],
    ['off', { dir: null, state: 'none' }, /^is off/],
    ['new', { state: 'none' }, /nothing was written yet/],
    ['closed to us', { state: { problem: 'permission denied' } }, /permission denied/],
  ])('says how the journal is that is %s', (_, facts, found) => {
    const check = checkHost({ ...whole, journal: { ...journal, ...facts } }).find(({ name }) => name === 'journal')
    expect(check?.found).toMatch(found)
    expect(check?.lost).toBeNull()
  })

  it('compares versions as numbers', () => {
    expect(isAtLeast('5.15.0-generic', [5, 15])).toBe(true)
    expect(isAtLeast('5.9.16', [5, 15])).toBe(false)
    expect(isAtLeast('10.0', [5, 15])).toBe(true)
    expect(isAtLeast('unknown', [5, 15])).toBe(false)
  })

  it('shows a mark, and what to do under what fails', () => {
    const text = checksText(checkHost({ ...whole, kernel: { ...kernel, btfProblem: 'is missing' } }), false)
    expect(text).toContain('✓ kernel             Linux 6.1.0-13-amd64\n')
    expect(text).toMatch(/✗ btf {16}\/sys\/kernel\/btf\/vmlinux is missing\n {21}lost: .+\n {21}fix: {2}.+\n/)
  })
})

describe('facts of a host', () => {
  it('are read from proc', () => {
    expect(parseCapabilities('Name:\tx\nCapEff:\t000001ffffffffff\n')).toBe(0x1ffffffffffn)
    expect(parseCapabilities('')).toBeNull()
    expect(
      mountsOfInterest(
        '31 23 0:28 / /a\\040b rw - cgroup2 cgroup2 rw\n32 31 0:29 / /c rw,x shared:1 - cgroup cgroup rw\n33 1 0:1 / / rw - ext4 x rw\n',
      ),
    ).toEqual([
      { path: '/a b', fsType: 'cgroup2' },
      { path: '/c', fsType: 'cgroup' },
    ])
  })

  it('are those of a journal that is there, and of one that is not', () => {
    const dir = mkdtempSync(join(tmpdir(), 'sluice-doctor-'))
    try {
      expect(readJournalFacts(join(dir, 'none'))).toMatchObject({ state: 'none' })
      const session = join(dir, 'sessions', '01a20321-2018-7719-b794-fca4202b23a9')
      for (const folder of [session, join(dir, 'keys')]) mkdirSync(folder, { recursive: true })
      writeFileSync(join(session, '000001.journal'), 'x'.repeat(100))
      const facts = readJournalFacts(dir)
      expect(facts).toMatchObject({ state: 'there', sessions: 1, bytes: 100, signedUnixMs: null, hasKey: false })
      expect(facts.freeBytes).toBeGreaterThan(0)
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })

  it('are null where the probe talks nonsense', () => {
    expect(parseProbe('{"programs":[],"error":null}')).toEqual({ programs: [], degraded: [], error: null })
    expect(parseProbe('Segmentation fault').error).toMatch('does not understand')
  })
})

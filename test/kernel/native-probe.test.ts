import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Cgroup, loadAddon } from '../../src/native/addon.js'
import { compileC } from '../support/c-program.js'
import { freeCgroupPath, removeCgroupTree } from '../support/cgroup-folder.js'
import { privileged } from '../support/privileged.js'

const { skip, reason } = privileged('bpf')
const AF_INET = 2
const AF_INET6 = 10
const EPERM = 1
const EAFNOSUPPORT = 97
const ETIMEDOUT = 110

function children(): string[] {
  return readdirSync('/proc/self/task').flatMap((thread) =>
    readFileSync(`/proc/self/task/${thread}/children`, 'utf8').split(' ').filter(Boolean),
  )
}

describe.skipIf(skip)(`the probe ${reason}`, () => {
  const addon = loadAddon()
  let path: string
  let cgroup: Cgroup

  beforeEach(() => {
    path = freeCgroupPath()
    cgroup = addon.openCgroup(path, { create: true })
  })

  afterEach(async () => {
    cgroup.close()
    await removeCgroupTree(path)
  })

  it('connects and sends where nothing forbids it, and is gone when it returns', () => {
    const before = children()
    expect(addon.probeReach(cgroup, AF_INET)).toBe(0)
    // A host may have no IPv6 at all.
    expect(addon.probeReach(cgroup, AF_INET6)).not.toBe(EPERM)
    expect(children()).toEqual(before)
    expect(cgroup.populated()).toBe(false)
  })

  it.each([
    ['connect4', AF_INET],
    ['sendmsg4', AF_INET],
    ['connect6', AF_INET6],
    ['sendmsg6', AF_INET6],
  ] as const)('meets EPERM where a program refuses %s, and only there', (hook, family) => {
    const dir = mkdtempSync(join(tmpdir(), 'sluice-test-'))
    try {
      if (addon.probeReach(cgroup, family) === EAFNOSUPPORT) return
      execFileSync(compileC('refuse', dir), [path, hook])
      expect(addon.probeReach(cgroup, family)).toBe(EPERM)
      expect(addon.probeReach(cgroup, family === AF_INET ? AF_INET6 : AF_INET)).not.toBe(EPERM)
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  it('meets EPERM where what comes in is dropped, if it is to hear itself', () => {
    const dir = mkdtempSync(join(tmpdir(), 'sluice-test-'))
    try {
      expect(addon.probeReach(cgroup, AF_INET, true)).not.toBe(EPERM)
      execFileSync(compileC('refuse', dir), [path, 'ingress'])
      expect(addon.probeReach(cgroup, AF_INET)).not.toBe(EPERM)
      expect(addon.probeReach(cgroup, AF_INET, true)).toBe(EPERM)
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  it('gives up in a cgroup that is frozen, and is gone all the same', () => {
    const before = children()
    cgroup.freeze(true)
    expect(() => addon.probeReach(cgroup, AF_INET)).toThrowError(
      expect.objectContaining({ code: 'ESYSCALL', errno: ETIMEDOUT }),
    )
    expect(children()).toEqual(before)
    cgroup.freeze(false)
    expect(cgroup.processes()).toEqual([])
  })

  it.each([0, 3, 9, 11, 2.5])('knows no family %s', (family) => {
    expect(() => addon.probeReach(cgroup, family)).toThrowError(
      expect.objectContaining({ code: 'EINVAL_ARGUMENT', argument: 'family' }),
    )
  })
})

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadAddon } from '../../src/native/addon.js'
import { cgroupMount, freeCgroupPath, removeCgroupTree } from '../support/cgroup-folder.js'
import { privileged } from '../support/privileged.js'

const { skip, reason } = privileged('root')
const ENOENT = 2
const EINVAL = 22
const ESRCH = 3
const NO_PID = 2 ** 22 + 1

describe.skipIf(skip)(`a cgroup of the addon ${reason}`, () => {
  const addon = loadAddon()
  let path: string
  let child: ChildProcess

  beforeEach(() => {
    path = freeCgroupPath()
    child = spawn('sleep', ['60'], { stdio: 'ignore' })
  })

  afterEach(async () => {
    child.kill('SIGKILL')
    await removeCgroupTree(path)
  })

  function start(): { pid: number; cgroup: ReturnType<typeof addon.openCgroup> } {
    const cgroup = addon.openCgroup(path, { create: true })
    if (child.pid === undefined) throw new Error('sleep did not start')
    cgroup.addProcess(child.pid)
    return { pid: child.pid, cgroup }
  }

  it('is made with mode 0755 whatever the umask is, and opened again if it is there', () => {
    const before = process.umask(0o077)
    try {
      const first = addon.openCgroup(path, { create: true })
      const again = addon.openCgroup(`${path}//`, { create: true })
      expect(statSync(path).mode & 0o777).toBe(0o755)
      expect(again.id).toBe(first.id)
      expect(first.id).toBe(statSync(path, { bigint: true }).ino)
    } finally {
      process.umask(before)
    }
  })

  it('is not made without `create`', () => {
    expect(() => addon.openCgroup(path, { create: false })).toThrowError(
      expect.objectContaining({ code: 'ESYSCALL', errno: ENOENT, argument: path }),
    )
  })

  it.each([true, false])('is refused outside cgroup v2 (create: %s), and nothing is made there', (create) => {
    const outside = create ? join(tmpdir(), 'sluice-test-not-a-cgroup') : tmpdir()
    const refused = expect.objectContaining({ code: 'EINVAL_ARGUMENT', argument: 'path' })
    expect(() => addon.openCgroup(outside, { create })).toThrowError(refused)
    expect(existsSync(outside)).toBe(!create)
  })

  it('takes a process in and lists it', () => {
    const { pid, cgroup } = start()
    expect(cgroup.processes()).toEqual([pid])
    expect(cgroup.populated()).toBe(true)
    expect(readFileSync(`/proc/${pid}/cgroup`, 'utf8')).toMatch(/^0::\/sluice-test-\w+$/m)
  })

  it('says ESRCH for a process that is not there', () => {
    const cgroup = addon.openCgroup(path, { create: true })
    expect(() => cgroup.addProcess(NO_PID)).toThrowError(expect.objectContaining({ code: 'ESYSCALL', errno: ESRCH }))
    expect(cgroup.processes()).toEqual([])
    expect(cgroup.populated()).toBe(false)
  })

  it('freezes and thaws', () => {
    const { cgroup } = start()
    const frozen = () => readFileSync(join(path, 'cgroup.freeze'), 'utf8').trim()
    cgroup.freeze(true)
    expect(frozen()).toBe('1')
    cgroup.freeze(false)
    expect(frozen()).toBe('0')
  })

  it('kills what is in it, below it and frozen', async () => {
    const { pid, cgroup } = start()
    const below = addon.openCgroup(join(path, 'below'), { create: true })
    below.addProcess(pid)
    cgroup.freeze(true)
    expect(cgroup.processes()).toEqual([])
    expect(cgroup.populated()).toBe(true)
    const exited = once(child, 'exit')
    cgroup.kill()
    expect(await exited).toEqual([null, 'SIGKILL'])
    expect(cgroup.populated()).toBe(false)
  })

  it('never kills the root of the hierarchy', () => {
    const root = addon.openCgroup(cgroupMount() ?? '', { create: false })
    expect(() => root.kill()).toThrowError(expect.objectContaining({ code: 'ESYSCALL', errno: EINVAL }))
    root.close()
  })

  it('can be closed twice, and says so when it is used after', () => {
    const { cgroup } = start()
    cgroup.close()
    cgroup.close()
    const closed = expect.objectContaining({ code: 'ECLOSED' })
    expect(() => cgroup.processes()).toThrowError(closed)
    expect(() => cgroup.addProcess(1)).toThrowError(closed)
    expect(() => cgroup.populated()).toThrowError(closed)
    expect(() => cgroup.freeze(true)).toThrowError(closed)
    expect(() => cgroup.kill()).toThrowError(closed)
    expect(() => addon.probeReach(cgroup, 2)).toThrowError(closed)
  })
})

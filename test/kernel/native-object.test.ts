import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { release } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type BpfObject, type Cgroup, loadAddon } from '../../src/native/addon.js'
import { ABI } from '../../src/native/generated/abi.js'
import { EventBatch, toBigInt } from '../../src/proto/codec.js'
import { freeCgroupPath, removeCgroupTree } from '../support/cgroup-folder.js'
import { deferred } from '../support/deferred.js'
import { loadOnly } from '../support/few-programs.js'
import { launch } from '../support/launcher.js'
import { patient } from '../support/patience.js'
import { privileged } from '../support/privileged.js'

const { skip, reason } = privileged('bpf')
const ADDON = fileURLToPath(new URL('../../build/Release/sluice.node', import.meta.url))
const RING = 'sl_ring_priority'
const EBUSY = 16
const EEXIST = 17
const ESRCH = 3
/** As the kernel counts them. 6.1 goes through callbacks again and again, 6.12 and 6.18 do not. */
const VERIFIED_MAX = release().startsWith('6.1.') ? 70_000 : 55_000
const VERIFIED_SUM_MAX = 240_000
const NO_PID = 2 ** 22 + 1
const READY_DEADLINE_MS = patient(20_000)

describe.skipIf(skip)(`a BPF object of the addon ${reason}`, () => {
  const addon = loadAddon()
  let object: BpfObject
  let path: string
  let cgroup: Cgroup

  beforeEach(() => {
    object = addon.openObject('core')
    path = freeCgroupPath()
    cgroup = addon.openCgroup(path, { create: true })
  })

  afterEach(async () => {
    object.close()
    cgroup.close()
    await removeCgroupTree(path)
  })

  function tag(pid: number, sandbox: bigint): void {
    const { size, fields } = ABI.structs.sl_task
    const value = Buffer.alloc(size)
    value.writeBigUInt64LE(sandbox, fields.sandbox)
    object.updateTask('sl_tasks', pid, value)
  }

  /** But for those whose hook this kernel does not have. */
  function loaded(): string[] {
    const missing = object.missing()
    return object.programs().filter((program) => !missing.includes(program))
  }

  it('loads, and every program says what it cost', () => {
    object.load()
    const programs = loaded()
    const ids = programs.map((program) => {
      const { id, recursionMisses, verifiedInstructions } = object.programInfo(program)
      expect(recursionMisses).toBe(0)
      expect(verifiedInstructions).toBeGreaterThanOrEqual(0)
      return id
    })
    expect(new Set(ids).size).toBe(programs.length)
  })

  it('takes the verifier little: every run waits for it', () => {
    object.load()
    const programs = loaded()
    const verified = programs.map((program) => object.programInfo(program).verifiedInstructions)
    const sum = verified.reduce((before, instructions) => before + instructions, 0)
    const cost = programs.map((program, index) => `${program} ${verified[index]}`)
    expect(Math.max(...verified), cost.join(', ')).toBeLessThan(VERIFIED_MAX)
    expect(sum, cost.join(', ')).toBeLessThan(VERIFIED_SUM_MAX)
  })

  it('does not load what autoload leaves out', () => {
    const [first = ''] = object.programs()
    object.setAutoload(first, false)
    object.load()
    expect(() => object.programInfo(first)).toThrowError(expect.objectContaining({ code: 'EBPF', argument: first }))
    expect(() => object.attach(first)).toThrowError(expect.objectContaining({ argument: first }))
  })

  it('wants its rings to be powers of two', () => {
    for (const size of [0, 4095, 4097, 3 * 4096]) {
      expect(() => object.setMapSize(RING, size)).toThrowError(expect.objectContaining({ argument: 'maxEntries' }))
    }
    object.setMapSize(RING, 64 * 1024)
    loadOnly(object, [])
    expect(() => object.setMapSize(RING, 64 * 1024)).toThrowError(expect.objectContaining({ errno: EBUSY }))
  })

  it('ends a load error with what the kernel had to say', () => {
    object.setMapSize('sl_counters', 2 ** 32 - 1)
    expect(() => object.load()).toThrowError(/^loading object core: .+\n(.|\n)*sl_counters/)
  })

  it('reads, writes and deletes map entries', () => {
    loadOnly(object, [])
    const key = Buffer.alloc(8, 7)
    const value = Buffer.alloc(ABI.structs.sl_sandbox.size, 9)
    expect(object.lookup('sl_sandboxes', key)).toBeNull()
    expect(object.delete('sl_sandboxes', key)).toBe(false)
    object.update('sl_sandboxes', key, value)
    expect(object.lookup('sl_sandboxes', key)).toEqual(value)
    expect(object.delete('sl_sandboxes', key)).toBe(true)
    expect(object.lookup('sl_sandboxes', key)).toBeNull()
    const perCpu = object.lookup('sl_counters', Buffer.alloc(4))
    expect((perCpu?.length ?? 0) % ABI.structs.sl_counters.size).toBe(0)
    expect(object.mapId('sl_counters')).toBeGreaterThan(0)
  })

  it('refuses keys and values of the wrong size, and maps that have none', () => {
    loadOnly(object, [])
    const bad = (argument: string) => expect.objectContaining({ code: 'EINVAL_ARGUMENT', argument })
    expect(() => object.lookup('sl_sandboxes', Buffer.alloc(7))).toThrowError(bad('key'))
    expect(() => object.update('sl_sandboxes', Buffer.alloc(8), Buffer.alloc(17))).toThrowError(bad('value'))
    expect(() => object.lookup(RING, Buffer.alloc(0))).toThrowError(bad(`map ${RING}`))
    expect(() => object.lookup('sl_tasks', Buffer.alloc(4))).toThrowError(bad('map sl_tasks'))
    expect(() => object.lookupTask('sl_sandboxes', process.pid)).toThrowError(bad('map sl_sandboxes'))
    expect(() => object.lookup('nothing', Buffer.alloc(4))).toThrowError(bad('map nothing'))
  })

  it('keeps task storage by process', () => {
    loadOnly(object, [])
    expect(object.lookupTask('sl_tasks', process.pid)).toBeNull()
    tag(process.pid, 77n)
    expect(object.lookupTask('sl_tasks', process.pid)?.readBigUInt64LE(ABI.structs.sl_task.fields.sandbox)).toBe(77n)
    const gone = expect.objectContaining({ code: 'ESYSCALL', errno: ESRCH })
    expect(() => object.lookupTask('sl_tasks', NO_PID)).toThrowError(gone)
    expect(() => tag(NO_PID, 1n)).toThrowError(gone)
  })

  it('attaches a tracing program once, to nothing but its tracepoint', () => {
    loadOnly(object, ['sl_exit_hook', 'sl_connect4'])
    object.attach('sl_exit_hook')
    expect(() => object.attach('sl_exit_hook')).toThrowError(expect.objectContaining({ errno: EEXIST }))
    object.detach('sl_exit_hook')
    object.attach('sl_exit_hook')
    const wrong = (program: string) =>
      expect.objectContaining({ code: 'EINVAL_ARGUMENT', argument: `program ${program}` })
    expect(() => object.attachCgroup('sl_exit_hook', path)).toThrowError(wrong('sl_exit_hook'))
    expect(() => object.attach('sl_connect4')).toThrowError(wrong('sl_connect4'))
  })

  it('lets a stranger connect under its cgroup programs', () => {
    loadOnly(object, ['sl_connect4', 'sl_connect6'])
    object.attachCgroup('sl_connect4', path)
    object.attachCgroup('sl_connect6', path)
    expect(addon.probeReach(cgroup, 2)).toBe(0)
    // A host may have no IPv6 at all; what our programs would say is EPERM.
    expect(addon.probeReach(cgroup, 10)).not.toBe(1)
    expect(cgroup.processes()).toEqual([])
  })

  it('gives the events of a tagged process to its ring, and wakes who waits for it', async () => {
    loadOnly(object, ['sl_exec_hook', 'sl_fork_hook', 'sl_exit_hook'])
    const ring = addon.openRing(object, RING)
    for (const program of ['sl_exec_hook', 'sl_fork_hook', 'sl_exit_hook']) object.attach(program)
    const launched = launch({ command: ['true'] })
    const pid = launched.child.pid ?? 0
    tag(pid, cgroup.id)
    cgroup.addProcess(pid)
    const woken = deferred<string>()
    ring.arm(() => woken.resolve('woken'))
    const began = addon.bootTimeNs()
    launched.go('G')
    expect(await Promise.race([woken.promise, sleep(READY_DEADLINE_MS, 'not woken')])).toBe('woken')
    expect(await launched.result).toMatchObject({ code: 0 })
    const buffer = Buffer.alloc(2 * addon.maxEncodedEvent)
    const drained = ring.drain(buffer, 1)
    expect(drained).toMatchObject({ events: 1, malformed: 0, more: true })
    const rest = ring.drain(buffer.subarray(drained.bytes), 256)
    expect(rest).toMatchObject({ malformed: 0, more: false })
    const { events } = EventBatch.decode(buffer.subarray(0, drained.bytes + rest.bytes))
    expect(events.map((event) => event.kind)).toEqual([ABI.enums.SL_KIND_EXEC, ABI.enums.SL_KIND_EXIT])
    for (const event of events) expect(event).toMatchObject({ pid, tid: pid, ppid: process.pid })
    expect(events.map((event) => toBigInt(event.sandbox))).toEqual([cgroup.id, cgroup.id])
    expect(events[0]?.exec?.args?.toString()).toBe('true\0')
    expect(toBigInt(events[1]?.timeNs)).toBe(rest.lastTimeNs)
    expect(rest.lastTimeNs).toBeGreaterThan(began)
    expect(ring.drain(buffer, 256)).toEqual({ bytes: 0, events: 0, malformed: 0, more: false, lastTimeNs: 0n })
    ring.close()
  })

  it('wakes at once when something waits already, once, and not after disarm', async () => {
    loadOnly(object, ['sl_exit_hook'])
    const ring = addon.openRing(object, RING)
    object.attach('sl_exit_hook')
    const child = spawn('sleep', ['60'], { stdio: 'ignore' })
    tag(child.pid ?? 0, cgroup.id)
    child.kill('SIGKILL')
    await once(child, 'exit')
    let calls = 0
    ring.arm(() => {
      calls += 1
    })
    ring.disarm()
    await sleep(20)
    expect(calls).toBe(0)
    const woken = deferred<string>()
    ring.arm(() => {
      calls += 1
      woken.resolve('woken')
    })
    expect(await Promise.race([woken.promise, sleep(READY_DEADLINE_MS, 'not woken')])).toBe('woken')
    await sleep(20)
    expect(calls).toBe(1)
    ring.close()
    expect(() => ring.drain(Buffer.alloc(addon.maxEncodedEvent), 1)).toThrowError(
      expect.objectContaining({ code: 'ECLOSED' }),
    )
  })

  it('can be closed twice, and leaves nothing in the kernel', () => {
    loadOnly(object, ['sl_exit_hook'])
    object.attach('sl_exit_hook')
    const { id } = object.programInfo('sl_exit_hook')
    object.close()
    object.close()
    expect(() => object.programs()).toThrowError(expect.objectContaining({ code: 'ECLOSED' }))
    const again = addon.openObject('core')
    loadOnly(again, ['sl_exit_hook'])
    expect(again.programInfo('sl_exit_hook').id).not.toBe(id)
    again.close()
  })

  it.each(['the main thread', 'a worker'])('does not keep a process from ending with a ring armed in %s', (where) => {
    const open = `
      const addon = require(${JSON.stringify(ADDON)})
      const object = addon.openObject('core')
      for (const program of object.programs()) if (program !== 'sl_exit_hook') object.setAutoload(program, false)
      object.load()
      object.attach('sl_exit_hook')
      addon.openRing(object, '${RING}').arm(() => {})
      process.exit(0)`
    const inWorker = `new (require('node:worker_threads').Worker)(${JSON.stringify(open)}, { eval: true })`
    const script = where === 'a worker' ? inWorker : open
    const { status, signal, stderr } = spawnSync(process.execPath, ['-e', script], {
      encoding: 'utf8',
      timeout: patient(10_000),
    })
    expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' })
  })

  it('hands an error of the waiting function to the process, as any callback’s', () => {
    const script = `
      const addon = require(${JSON.stringify(ADDON)})
      const object = addon.openObject('core')
      for (const program of object.programs()) if (program !== 'sl_exit_hook') object.setAutoload(program, false)
      object.load()
      object.attach('sl_exit_hook')
      const value = Buffer.alloc(${ABI.structs.sl_task.size})
      value.writeBigUInt64LE(1n)
      process.on('uncaughtException', (error) => { console.log(error.message); process.exit(3) })
      addon.openRing(object, '${RING}').arm(() => { throw new Error('from ready') })
      const child = require('node:child_process').spawn('sleep', ['60'])
      object.updateTask('sl_tasks', child.pid, value)
      child.kill('SIGKILL')`
    const { status, stdout } = spawnSync(process.execPath, ['-e', script], {
      encoding: 'utf8',
      timeout: patient(10_000),
    })
    expect({ status, stdout }).toEqual({ status: 3, stdout: 'from ready\n' })
  })
})

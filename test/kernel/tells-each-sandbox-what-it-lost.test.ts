/**
 * What a sensor reports of each sandbox's losses: once, all of it, also by another sensor after it, and of one that is over for the last
 * time. The counters are the kernel side's own, of real storms.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Cgroup, loadAddon } from '../../src/native/addon.js'
import { ABI } from '../../src/native/generated/abi.js'
import { toBigInt } from '../../src/proto/codec.js'
import { findCgroupRoot } from '../../src/sensor/cgroup-root.js'
import { type KernelSide, openKernelSide } from '../../src/sensor/kernel-side.js'
import { createLossReader, type LossReader } from '../../src/sensor/losses.js'
import { encodeSandbox, encodeTask, encodeWatch, sandboxKey } from '../../src/sensor/map-values.js'
import { openPinFolder, type PinFolder } from '../../src/sensor/pin-folder.js'
import { addShare, OTHERS, readShare, sandboxesWithShare } from '../../src/sensor/ring-shares.js'
import { mountOwnBpfFs, type OwnBpfFs } from '../support/bpf-fs.js'
import { compileC } from '../support/c-program.js'
import { freeCgroupPath, removeCgroupTree } from '../support/cgroup-folder.js'
import { launch } from '../support/launcher.js'
import { privileged } from '../support/privileged.js'
import { until } from '../support/sluice-process.js'

const { skip, reason } = privileged('bpf')
const { SL_KIND_FILE_OPEN } = ABI.enums
const RING_BYTES = { priority: 65_536, bulk: 4096 }
/** read(2) of the sync descriptor, as /proc/PID/syscall writes it. */
const WAITS_FOR_GO = '0 0x3 '
const STORM = '1000'

describe.skipIf(skip)(`losses by sandbox ${reason}`, () => {
  const addon = loadAddon()
  let dir: string
  let bpfFs: OwnBpfFs
  let pins: PinFolder
  let kernel: KernelSide
  let losses: LossReader
  let made: { path: string; cgroup: Cgroup }[]

  const open = () => openKernelSide({ addon, cgroupRoot: findCgroupRoot(), ringBytes: RING_BYTES, pins })

  beforeEach(async () => {
    made = []
    dir = mkdtempSync(join(tmpdir(), 'sluice-test-'))
    bpfFs = mountOwnBpfFs(dir)
    pins = openPinFolder(addon, bpfFs.pinDir)
    kernel = await open()
    losses = createLossReader(kernel)
  })

  afterEach(async () => {
    pins.removeAll()
    kernel.close()
    pins.close()
    for (const { path, cgroup } of made) {
      cgroup.close()
      await removeCgroupTree(path)
    }
    bpfFs.unmount()
    rmSync(dir, { recursive: true, force: true })
  })

  function sandbox(): bigint {
    const path = freeCgroupPath()
    const cgroup = addon.openCgroup(path, { create: true })
    made.push({ path, cgroup })
    addShare(kernel.object, cgroup.id)
    kernel.object.update('sl_sandboxes', sandboxKey(cgroup.id), encodeSandbox(cgroup.id))
    return cgroup.id
  }

  async function storm(id: bigint): Promise<void> {
    const launched = launch({ command: [compileC('storm', dir), 'writes', STORM] })
    const pid = launched.child.pid ?? 0
    await until('the launcher waits', () => readFileSync(`/proc/${pid}/syscall`, 'utf8').startsWith(WAITS_FOR_GO))
    kernel.object.updateTask('sl_tasks', pid, encodeTask(id))
    launched.go('G')
    expect(await launched.result).toMatchObject({ code: 0 })
  }

  /** As the next report has it: opens that were dropped, by sandbox; 0 is the node's. */
  function reported(reader = losses): Map<bigint, bigint> {
    const opens = reader
      .changed()
      .losses.filter(({ kind, dropped }) => kind === SL_KIND_FILE_OPEN && toBigInt(dropped) > 0n)
    return new Map(opens.map(({ sandbox: id, dropped }) => [toBigInt(id), toBigInt(dropped)]))
  }

  const dropped = (id: bigint) => readShare(kernel.object, id).get(SL_KIND_FILE_OPEN)?.dropped ?? 0n

  it('are told once, of each its own and of the node none', async () => {
    const [one, two] = [sandbox(), sandbox()]
    await storm(one)
    expect(dropped(one)).toBeGreaterThan(500n)
    expect(reported()).toEqual(new Map([[one, dropped(one)]]))
    expect(reported()).toEqual(new Map())
    await storm(two)
    expect(reported()).toEqual(new Map([[two, dropped(two)]]))
    await storm(two)
    await storm(one)
    expect(reported()).toEqual(
      new Map([
        [one, dropped(one)],
        [two, dropped(two)],
      ]),
    )
    losses.repeat()
    expect(reported().size).toBe(2)
  })

  it('are known to the next sensor, also those of a sandbox that ended meanwhile', async () => {
    const [one, two] = [sandbox(), sandbox()]
    await storm(one)
    await storm(two)
    const [before, last] = [dropped(one), dropped(two)]
    kernel.object.delete('sl_sandboxes', sandboxKey(two))
    const next = await open()
    kernel.close()
    kernel = next
    const again = createLossReader(kernel)
    expect(reported(again)).toEqual(
      new Map([
        [one, before],
        [two, last],
      ]),
    )
    expect(sandboxesWithShare(kernel.object)).toEqual([one])
    await storm(one)
    expect(dropped(one)).toBeGreaterThan(before)
    expect(reported(again)).toEqual(new Map([[one, dropped(one)]]))
  })

  it('are nobody’s alone after a sandbox was forgotten', async () => {
    const one = sandbox()
    await storm(one)
    expect(reported().size).toBe(1)
    losses.forget(one)
    expect(sandboxesWithShare(kernel.object)).toEqual([])
    await storm(one)
    expect(dropped(OTHERS)).toBeGreaterThan(500n)
    expect(reported()).toEqual(new Map([[0n, dropped(OTHERS)]]))
    // And begin anew with its next share.
    addShare(kernel.object, one)
    const others = dropped(OTHERS)
    await storm(one)
    expect(reported().get(one)).toBe(dropped(one))
    expect(dropped(OTHERS)).toBe(others)
  })

  it('are counted for a sandbox that the kernel side found, from its beginning to its end', async () => {
    const path = freeCgroupPath()
    const cgroup = addon.openCgroup(path, { create: true })
    made.push({ path, cgroup })
    kernel.object.update('sl_watched_cgroups', sandboxKey(cgroup.id), encodeWatch(1))
    const inside = join(path, 'found')
    mkdirSync(inside)
    const [found = 0n] = sandboxesWithShare(kernel.object)
    expect(found).not.toBe(0n)
    await storm(found)
    expect(reported()).toEqual(new Map([[found, dropped(found)]]))
    rmdirSync(inside)
    expect(sandboxesWithShare(kernel.object)).toEqual([])
  })
})

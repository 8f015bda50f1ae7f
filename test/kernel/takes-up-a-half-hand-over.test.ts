/** A hand-over that died at any point is gone on from, and two sensors never hold the same pins. */
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ABI } from '../../src/native/generated/abi.js'
import { newGeneration, readControl } from '../../src/sensor/hand-over.js'
import { linkPin, openPinFolder, removeStalePins } from '../../src/sensor/pin-folder.js'
import { compileC } from '../support/c-program.js'
import { loadOnly } from '../support/few-programs.js'
import { PinnedKernel } from '../support/pinned-kernel.js'
import { privileged } from '../support/privileged.js'

const { skip, reason } = privileged('bpf')
const { SL_KIND_FILE_OPEN } = ABI.enums
const HOOKS = ['sl_fork_hook', 'sl_exit_hook', 'sl_exec_hook', 'sl_sys_exit', 'sl_cgroup_attach']

describe.skipIf(skip)(`a hand-over ${reason}`, () => {
  let pinned: PinnedKernel

  beforeEach(async () => {
    pinned = new PinnedKernel()
    await pinned.open()
  })

  afterEach(() => pinned.close())

  it('that died before its one write, or after it, is gone on from', async () => {
    const storm = compileC('storm', pinned.dir)
    await (await pinned.start([storm, 'opens', '0'])).result
    const calm = pinned.attempted(SL_KIND_FILE_OPEN)
    for (const wrote of [false, true]) {
      const half = halfHandOver({ wrote })
      expect(readControl(pinned.side.object).previous).not.toBe(0)
      const seen = pinned.attempted(SL_KIND_FILE_OPEN)
      await (await pinned.start([storm, 'opens', '100'])).result
      expect(pinned.attempted(SL_KIND_FILE_OPEN), 'in between').toBe(seen + calm + 100)
      half.close()
      await pinned.handOverOnce()
      await (await pinned.start([storm, 'opens', '100'])).result
      expect(pinned.attempted(SL_KIND_FILE_OPEN), 'afterwards').toBe(seen + 2 * (calm + 100))
    }
  })

  /** What a sensor that is killed in its hand-over has done by then. */
  function halfHandOver({ wrote }: { wrote: boolean }): { close(): void } {
    const generation = newGeneration()
    const object = pinned.addon.openObject('core')
    object.setConstant('sl_generation', generation)
    for (const map of object.maps()) if (!map.endsWith('_scratch')) object.adoptMap(map, join(pinned.pins.path, map))
    loadOnly(object, HOOKS)
    for (const program of HOOKS) {
      object.attach(program)
      object.pinLink(program, join(pinned.pins.path, linkPin(program, generation)))
    }
    const { fields } = ABI.structs.sl_control
    const control = pinned.side.object.lookup('sl_control', Buffer.alloc(4)) ?? Buffer.alloc(0)
    control.writeUInt32LE(control.readUInt32LE(fields.active), fields.previous)
    pinned.side.object.update('sl_control', Buffer.alloc(4), control)
    if (wrote) control.writeUInt32LE(generation, fields.active)
    pinned.side.object.update('sl_control', Buffer.alloc(4), control)
    return object
  }

  it('finds its pins held by another, or no place for them, and says what to do', () => {
    expect(() => openPinFolder(pinned.addon, pinned.bpfFs.pinDir)).toThrow('another sensor holds the pins')
    expect(removeStalePins(pinned.addon, pinned.bpfFs.pinDir)).toBe(null)
    expect(() => openPinFolder(pinned.addon, join(pinned.dir, 'nowhere'))).toThrow('is not in a BPF file system')
  })
})

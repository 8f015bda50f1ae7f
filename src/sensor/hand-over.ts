/**
 * Attaching programs so that they outlive the sensor, beside those of an earlier sensor where there are some, and handing over to them
 * without recording an event twice or missing one (`is_our_turn` in bpf/emit.bpf.h). Cgroup links are kept and get the new program in
 * place; tracing links can't, so the new ones are attached and pinned beside the old, one write makes them act, and the old are
 * removed. A sensor that dies in the middle leaves what the next one can go on from.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Addon, BpfObject } from '../native/addon.js'
import { ABI } from '../native/generated/abi.js'
import { plannedOf } from './attach-plan.js'
import { generationOf, isLinkPin, linkPin, orStale, type PinFolder } from './pin-folder.js'

const CONTROL = 'sl_control'
const SLOT = Buffer.alloc(4)
const GENERATION_MAX = 2 ** 31
/**
 * On top of waiting for RCU: on preemptible kernels since 6.13 the sys_exit hook can be preempted between two programs, where RCU does
 * not wait for it.
 */
const GRACE_MS = 20

export interface HandOverOptions {
  addon: Addon
  /** Loaded, with the maps of the folder, and with `generation` as its constant. */
  object: BpfObject
  pins: PinFolder
  cgroupRoot: string
  generation: number
}

interface Control {
  countersId: bigint
  missedBefore: bigint
  active: number
  previous: number
}

/** Never one that a task still carries from an earlier hand-over. */
export function newGeneration(): number {
  return randomInt(1, GENERATION_MAX)
}

/** When this returns the object's programs act, and no others of ours. */
export async function handOver(options: HandOverOptions): Promise<void> {
  const control = await settle(options, readControl(options.object))
  if (control.countersId === 0n) control.countersId = randomBytes(8).readBigUInt64LE() | 1n
  const links = options.pins.names().filter(isLinkPin)
  for (const name of links) {
    if (generationOf(name) !== 0 && generationOf(name) !== control.active) options.pins.remove(name)
  }
  attach(options)
  removeUnplanned(options)
  const before = tracingPins(options.pins, control.active)
  if (before.length === 0) {
    writeControl(options.object, { ...control, active: options.generation, previous: 0 })
    return
  }
  const both = { ...control, previous: control.active }
  writeControl(options.object, both)
  writeControl(options.object, { ...both, active: options.generation })
  await settle(options, readControl(options.object))
  for (const name of before) options.pins.remove(name)
}

/** Ends a hand-over: the earlier programs act no more, on anything that was under way either; what they missed is kept. */
async function settle({ addon, object, pins }: HandOverOptions, control: Control): Promise<Control> {
  if (control.previous === 0) return control
  await grace(addon)
  // A hand-over that never came to its one write has changed nothing.
  const handedOver = control.active !== control.previous
  const missed = handedOver ? missesOf(object, pins, control.previous) : 0n
  const settled = { ...control, missedBefore: control.missedBefore + missed, previous: 0 }
  writeControl(object, settled)
  return settled
}

async function grace(addon: Addon): Promise<void> {
  try {
    addon.waitForPrograms()
  } catch {
    // A kernel with nohz_full CPUs does not offer it; then time has to do alone.
  }
  await sleep(GRACE_MS)
}

function attach({ object, pins, cgroupRoot, generation }: HandOverOptions): void {
  for (const { program, at } of plannedOf(object)) {
    if (at === 'trace') {
      object.attach(program)
      object.pinLink(program, `${pins.path}/${linkPin(program, generation)}`)
    } else {
      const path = `${pins.path}/${linkPin(program, 0)}`
      if (orStale(pins.path, () => object.replaceLink(program, path))) continue
      object.attachCgroup(program, cgroupRoot)
      object.pinLink(program, path)
    }
  }
}

/** Cgroup programs that an earlier sensor had and this one has no more. */
function removeUnplanned({ object, pins }: HandOverOptions): void {
  const planned = new Set(plannedOf(object).map(({ program }) => linkPin(program, 0)))
  for (const name of pins.names()) {
    if (isLinkPin(name) && generationOf(name) === 0 && !planned.has(name)) pins.remove(name)
  }
}

function tracingPins(pins: PinFolder, generation: number): string[] {
  if (generation === 0) return []
  return pins.names().filter((name) => isLinkPin(name) && generationOf(name) === generation)
}

function missesOf(object: BpfObject, pins: PinFolder, generation: number): bigint {
  const misses = tracingPins(pins, generation).map((name) => object.pinnedMisses(`${pins.path}/${name}`))
  return BigInt(misses.reduce((sum, count) => sum + count, 0))
}

export function readControl(object: BpfObject): Control {
  const value = object.lookup(CONTROL, SLOT)
  if (value === null) throw new Error('sl_control has no entry')
  const { fields } = ABI.structs.sl_control
  return {
    countersId: value.readBigUInt64LE(fields.counters_id),
    missedBefore: value.readBigUInt64LE(fields.missed_before),
    active: value.readUInt32LE(fields.active),
    previous: value.readUInt32LE(fields.previous),
  }
}

function writeControl(object: BpfObject, control: Control): void {
  const { size, fields } = ABI.structs.sl_control
  const value = Buffer.alloc(size)
  value.writeBigUInt64LE(control.countersId, fields.counters_id)
  value.writeBigUInt64LE(control.missedBefore, fields.missed_before)
  value.writeUInt32LE(control.active, fields.active)
  value.writeUInt32LE(control.previous, fields.previous)
  object.update(CONTROL, SLOT, value)
}

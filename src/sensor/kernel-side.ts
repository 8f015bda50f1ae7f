/**
 * The sensor's hold on the kernel: the core object, loaded and attached by the plan, and its maps. For a run it ends with the sensor;
 * for an agent it is pinned, and the next sensor takes the maps and puts its programs in place of the earlier ones. It does not read
 * rings (uplink.ts) and knows no sandboxes (sandbox-cgroups.ts).
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { readKernelHost } from '../base/kernel-host.js'
import type { Addon, BpfObject, RingReader } from '../native/addon.js'
import { CORE_OBJECT, plannedOf, UNIX_PLAN } from './attach-plan.js'
import { proveLetsForeignTasksThrough } from './foreign-proof.js'
import { handOver, newGeneration, readControl } from './hand-over.js'
import { explainRefusal, refuseUnfitKernel } from './kernel-refusal.js'
import { orStale, type PinFolder } from './pin-folder.js'
import { shareRings } from './ring-shares.js'
import { countTakenBefore, NOTHING_TAKEN, type TakenBefore } from './taken-before.js'
import { openUringPrograms, type UringPrograms } from './uring-programs.js'

/** Memory of one program's own, which holds nothing from one call to the next. */
const SCRATCH = /_scratch$/

export interface KernelSide {
  readonly object: BpfObject
  readonly priority: RingReader
  readonly bulk: RingReader
  readonly uring: UringPrograms
  /** For `degraded`: what this kernel can't have of the core's programs. */
  readonly degraded: readonly string[]
  /** Several sandboxes use the rings: each has a share of them, and its losses are counted by themselves. */
  readonly shared: boolean
  /** Names the counters and rings: another sensor that finds them pinned says the same. */
  readonly countersId: string
  /** Times that programs of earlier sensors, with the same counters, were skipped by the kernel. */
  readonly missedBefore: bigint
  /** What earlier sensors took from the rings. */
  readonly takenBefore: TakenBefore
  /** Lets go of it: what is pinned goes on. */
  close(): void
}

export interface KernelSideOptions {
  addon: Addon
  cgroupRoot: string
  ringBytes: { priority: number; bulk: number }
  /** Null: it ends with this process. */
  pins: PinFolder | null
}

/** @throws SluiceError KERNEL if the object does not load, does not attach, or would refuse a foreign task; IO for pins of another shape. */
export async function openKernelSide(options: KernelSideOptions): Promise<KernelSide> {
  const { addon, pins } = options
  refuseUnfitKernel(readKernelHost())
  const object = addon.openObject(CORE_OBJECT)
  try {
    object.setMapSize('sl_ring_priority', options.ringBytes.priority)
    object.setMapSize('sl_ring_bulk', options.ringBytes.bulk)
    const adopted = pins === null ? attachOwn(options, object) : await attachPinned({ ...options, pins }, object)
    const priority = addon.openRing(object, 'sl_ring_priority')
    const bulk = addon.openRing(object, 'sl_ring_bulk')
    const { countersId, missedBefore } = readControl(object)
    const uring = openUringPrograms(addon, object)
    const takenBefore = adopted ? countTakenBefore(object, [priority, bulk]) : NOTHING_TAKEN
    return {
      ...{ object, priority, bulk, uring, missedBefore, takenBefore, shared: pins !== null },
      degraded: degradedBy(object),
      countersId: (pins === null ? randomBytes(8).readBigUInt64LE() : countersId).toString(16),
      close() {
        uring.close()
        priority.close()
        bulk.close()
        object.close()
      },
    }
  } catch (error) {
    object.close()
    throw explainRefusal(error, readKernelHost())
  }
}

/** Whether there were rings of an earlier sensor, as `attachPinned`. */
function attachOwn({ addon, cgroupRoot }: KernelSideOptions, object: BpfObject): boolean {
  object.load()
  proveLetsForeignTasksThrough({ addon, object, cgroupRoot })
  for (const planned of plannedOf(object)) {
    if (planned.at === 'trace') object.attach(planned.program)
    else object.attachCgroup(planned.program, cgroupRoot)
  }
  return false
}

async function attachPinned(options: KernelSideOptions & { pins: PinFolder }, object: BpfObject): Promise<boolean> {
  const { addon, cgroupRoot, pins } = options
  const generation = newGeneration()
  const before = new Set(pins.names())
  try {
    proveApart(addon, { cgroupRoot, generation })
    object.setConstant('sl_generation', generation)
    const missing = object.maps().filter((map) => !SCRATCH.test(map) && !adoptMap(object, map, pins))
    object.load()
    shareRings(object)
    for (const map of missing) object.pinMap(map, join(pins.path, map))
    await handOver({ addon, object, pins, cgroupRoot, generation })
    return !missing.includes('sl_counters')
  } catch (error) {
    // Programs that nobody reads must not go on; those of an earlier sensor still act.
    for (const name of pins.names()) if (!before.has(name)) pins.remove(name)
    throw error
  }
}

/** With maps of its own: its sandboxes and its quarantine are none of those of the programs that run meanwhile. */
function proveApart(addon: Addon, { cgroupRoot, generation }: { cgroupRoot: string; generation: number }): void {
  const object = addon.openObject(CORE_OBJECT)
  try {
    object.setConstant('sl_generation', generation)
    object.load()
    proveLetsForeignTasksThrough({ addon, object, cgroupRoot })
  } finally {
    object.close()
  }
}

/** As whole sentences. */
export function degradedBy(object: Pick<BpfObject, 'missing'>): string[] {
  const missing = object.missing()
  const hooks = UNIX_PLAN.filter(({ program }) => missing.includes(program)).map(({ hook }) => hook)
  return hooks.length === 0 ? [] : [`unix: Unix sockets have no verdict, as this kernel has no ${hooks.join(' and ')}`]
}

function adoptMap(object: BpfObject, map: string, pins: PinFolder): boolean {
  return orStale(pins.path, () => object.adoptMap(map, join(pins.path, map)))
}

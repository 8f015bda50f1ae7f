/**
 * Tries for real what a sensor needs of this kernel, and prints what came of it as one JSON object. For `sluice doctor`. Everything
 * is attached for an instant only, cgroup programs to a throw-away cgroup.
 */
import { messageOf } from '../base/error.js'
import { type Addon, loadAddon } from '../native/addon.js'
import { CORE_OBJECT, type PlannedProgram, plannedOf } from './attach-plan.js'
import { findCgroupRoot } from './cgroup-root.js'
import { proveLetsForeignTasksThrough } from './foreign-proof.js'
import { degradedBy } from './kernel-side.js'
import { openUringPrograms } from './uring-programs.js'

interface ProgramProbe {
  name: string
  hook: string
  lost: string
  loaded: boolean
  attached: boolean
  verifiedInstructions: number
  error: string | null
}

/** Alone, so that one that does not load leaves the others their say. */
function probeProgram(addon: Addon, planned: PlannedProgram, cgroupRoot: string): ProgramProbe {
  const { program: name, hook, lost } = planned
  const probe: ProgramProbe = { name, hook, lost, loaded: false, attached: false, verifiedInstructions: 0, error: null }
  const object = addon.openObject(CORE_OBJECT)
  try {
    for (const program of object.programs()) object.setAutoload(program, program === name)
    object.load()
    probe.loaded = true
    probe.verifiedInstructions = object.programInfo(name).verifiedInstructions
    if (planned.at === 'trace') object.attach(name)
    else proveLetsForeignTasksThrough({ addon, object, cgroupRoot, programs: [planned] })
    probe.attached = true
  } catch (error) {
    probe.error = messageOf(error)
  } finally {
    object.close()
  }
  return probe
}

/** What of the optional programs does not load, as whole sentences. */
function probeOptional(addon: Addon): string[] {
  const core = addon.openObject(CORE_OBJECT)
  try {
    core.load()
    const uring = openUringPrograms(addon, core)
    uring.close()
    return [...degradedBy(core), ...uring.degraded]
  } catch {
    return [] // the core's own programs say why
  } finally {
    core.close()
  }
}

function planOf(addon: Addon): readonly PlannedProgram[] {
  const core = addon.openObject(CORE_OBJECT)
  try {
    return plannedOf(core)
  } finally {
    core.close()
  }
}

function probe(): { programs: ProgramProbe[]; degraded: string[]; error: string | null } {
  try {
    const addon = loadAddon()
    const cgroupRoot = findCgroupRoot()
    const programs = planOf(addon).map((planned) => probeProgram(addon, planned, cgroupRoot))
    return { programs, degraded: probeOptional(addon), error: null }
  } catch (error) {
    return { programs: [], degraded: [], error: messageOf(error) }
  }
}

process.stdout.write(`${JSON.stringify(probe())}\n`)

/**
 * Clears away, on demand, what sensors that are gone have left on this machine, of this version or another: cgroups with the processes in
 * them, the folders of runs and of an agent, pins with the programs that they keep in the kernel. Guards that nothing is touched that a
 * live part holds: every step is taken under the lock that such a part would hold. Not here: who may ask (root), and how it is shown.
 */
import { existsSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../base/error.js'
import type { Addon } from '../native/addon.js'
import { cgroupTree, removeCgroup, removeIfEmpty } from './cgroup-release.js'
import { removeStalePins } from './pin-folder.js'
import { isHolder, POLICIES_FOLDER } from './policy-store.js'
import { readRunState } from './run-state.js'
import { SANDBOX_PARENT } from './sandbox-cgroups.js'
import { ageMs, RUN_FOLDER, type SweepOptions, sweepRun, sweepStaleProofs, UNLOCKED_AGE_MS } from './sweep.js'

/** `kept`: it is there and can't be removed, with what to do; `inUse`: a live part of sluice has it, which is as it should be. */
export interface CleanStep {
  readonly what: string
  readonly outcome: 'removed' | 'inUse' | 'kept'
  readonly detail: string
}

export interface CleanOptions extends SweepOptions {
  /** Of other runs. */
  readonly furtherRuntimeDirs: readonly string[]
  readonly pinDir: string
  readonly agentDir: string
  /** Held by whoever keeps an agent's sensor running: while it is, that sensor may just be starting again. */
  readonly agentLock: string
}

/** Never throws for one of them: it is told and the next is looked at. */
export function clean(options: CleanOptions): CleanStep[] {
  const steps = cleanRuns(options)
  steps.push(...withoutAgent(options, () => [...cleanAgent(options), ...cleanPins(options)]))
  steps.push(...cleanOrphans(options))
  return steps
}

function cleanRuns(options: CleanOptions): CleanStep[] {
  sweepStaleProofs(options.cgroupRoot)
  const gone = 'a run that died: what still ran went back to where it came from'
  return runDirs(options).map((path) => sweptStep(path, () => sweepRun(path, options), gone))
}

function cleanAgent(options: CleanOptions): CleanStep[] {
  const { agentDir } = options
  if (!existsSync(agentDir)) return []
  const lifted = policiesIn(agentDir)
  const held = lifted === 0 ? '' : `; nothing is refused to them any more (policies lifted: ${lifted})`
  const gone = `an agent that is gone: what still ran in its sandboxes goes on, unwatched${held}`
  return [sweptStep(agentDir, () => sweepRun(agentDir, options), gone)]
}

/** Of its sandboxes. */
function policiesIn(agentDir: string): number {
  const folder = join(agentDir, POLICIES_FOLDER)
  return existsSync(folder) ? readdirSync(folder).filter(isHolder).length : 0
}

function sweptStep(what: string, sweep: () => ReturnType<typeof sweepRun>, gone: string): CleanStep {
  try {
    const outcome = sweep()
    if (outcome === 'swept') return { what, outcome: 'removed', detail: gone }
    if (outcome === 'alive') return { what, outcome: 'inUse', detail: 'its sensor runs' }
    return { what, outcome: 'kept', detail: 'a cgroup of it is still in use; end what runs there, then clean again' }
  } catch (error) {
    return { what, outcome: 'kept', detail: messageOf(error) }
  }
}

/** `then` while it is sure that no agent lives, and none can start. */
function withoutAgent({ addon, agentLock, runtimeDir }: CleanOptions, then: () => CleanStep[]): CleanStep[] {
  if (!existsSync(runtimeDir)) return then()
  const lock = addon.lockFile(agentLock)
  if (lock === null) return [{ what: agentLock, outcome: 'inUse', detail: 'an agent runs here' }]
  try {
    return then()
  } finally {
    lock.release()
  }
}

function cleanPins({ addon, pinDir }: CleanOptions): CleanStep[] {
  try {
    const removed = removeStalePins(addon, pinDir)
    if (removed === null) return [{ what: pinDir, outcome: 'inUse', detail: 'a sensor holds it' }]
    return removed.map(({ path, pins }) => {
      const detail = `${pins} pins: the programs and maps that they kept in the kernel are gone`
      return { what: path, outcome: 'removed', detail }
    })
  } catch (error) {
    return [{ what: pinDir, outcome: 'kept', detail: messageOf(error) }]
  }
}

/** Cgroups of ours that no folder lists, because somebody removed it. Who ran in them first, and where that came from, nobody knows. */
function cleanOrphans(options: CleanOptions): CleanStep[] {
  const { addon, cgroupRoot, agentDir } = options
  const parent = join(cgroupRoot, SANDBOX_PARENT)
  const listed = listedCgroups([...runDirs(options), agentDir])
  const steps = foldersIn(parent).flatMap((name): CleanStep[] => {
    const what = join(parent, name)
    // One that is younger may be that of a run which is just starting; one that is held, of a sensor with another runtime folder.
    const isLive = ageMs(what) < UNLOCKED_AGE_MS || isHeld(what)
    if (isLive || listed.has(`/${SANDBOX_PARENT}/${name}`)) return []
    const processes = cgroupTree(what).reduce((sum, path) => sum + processesIn(addon, path), 0)
    if (processes > 0) {
      const detail = `in use, and nothing here says by whom (processes: ${processes}); end them, then clean again`
      return [{ what, outcome: 'kept', detail }]
    }
    return removeCgroup(what) ? [{ what, outcome: 'removed', detail: 'a cgroup that no run lists' }] : []
  })
  removeIfEmpty(parent)
  return steps
}

/** All of those that can be read. */
function listedCgroups(runDirs: readonly string[]): Set<string> {
  return new Set(
    runDirs.flatMap((runDir) => {
      try {
        return readRunState(runDir).map(({ path }) => path)
      } catch {
        return []
      }
    }),
  )
}

function processesIn(addon: Addon, path: string): number {
  try {
    const cgroup = addon.openCgroup(path, { create: false })
    try {
      return cgroup.processes().length
    } finally {
      cgroup.close()
    }
  } catch {
    return 0 // removed meanwhile
  }
}

function runDirs({ runtimeDir, furtherRuntimeDirs }: CleanOptions): string[] {
  return [...new Set([runtimeDir, ...furtherRuntimeDirs])].flatMap((dir) =>
    foldersIn(dir).flatMap((name) => (RUN_FOLDER.test(name) ? [join(dir, name)] : [])),
  )
}

/** Whether a process has the folder open, as a sensor has those of its sandboxes. */
function isHeld(path: string): boolean {
  const pids = foldersIn('/proc').filter((name) => /^\d+$/.test(name))
  return pids.some((pid) => openFolders(pid).includes(path))
}

/** Empty for one that ended meanwhile. */
function openFolders(pid: string): string[] {
  const dir = `/proc/${pid}/fd`
  try {
    return readdirSync(dir).flatMap((fd) => {
      try {
        return [readlinkSync(`${dir}/${fd}`)]
      } catch {
        return []
      }
    })
  } catch {
    return []
  }
}

function foldersIn(path: string): string[] {
  if (!existsSync(path)) return []
  const entries = readdirSync(path, { withFileTypes: true })
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
}

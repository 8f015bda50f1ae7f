/**
 * Cleaning up after runs whose sensor died: their processes go back to the cgroup they came from, their cgroups and folders are
 * removed. A run is dead when nobody holds its lock; the kernel gives a lock back however its holder ended.
 */
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Log } from '../base/log.js'
import type { Addon } from '../native/addon.js'
import { moveAll, removeCgroup, removeIfEmpty } from './cgroup-release.js'
import { Controllers } from './controllers.js'
import { PROOF_PREFIX } from './foreign-proof.js'
import { LOCK_FILE, readRunState, type SandboxRecord } from './run-state.js'
import { SANDBOX_PARENT } from './sandbox-cgroups.js'

/** A folder without a lock, or a proof's cgroup, belongs to a run that is just starting, unless it is older than any start takes. */
export const UNLOCKED_AGE_MS = 60_000
/** Of one run; an agent's has another name, as another agent goes on with what it lists. */
export const RUN_FOLDER = /^run-/

const GATEWAY_FOLDER = /^gateway-(run-.+)$/

export interface SweepOptions {
  addon: Addon
  cgroupRoot: string
  runtimeDir: string
  log: Log
}

/** A sensor that is killed in the middle of its proof leaves the proof's cgroup, which no run's list knows. */
export function sweepStaleProofs(cgroupRoot: string): void {
  for (const name of readdirSync(cgroupRoot)) {
    const path = join(cgroupRoot, name)
    if (name.startsWith(PROOF_PREFIX) && ageMs(path) >= UNLOCKED_AGE_MS) removeCgroup(path)
  }
}

/** 0 for what is gone meanwhile. */
export function ageMs(path: string): number {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat === undefined ? 0 : Date.now() - stat.mtimeMs
}

/** Returns how many dead runs were cleaned up. Never throws for one of them: it logs and goes on to the next. */
export function sweepStaleRuns(options: SweepOptions): number {
  const { runtimeDir, log } = options
  let swept = 0
  sweepStaleProofs(options.cgroupRoot)
  if (!existsSync(runtimeDir)) return 0
  for (const name of readdirSync(runtimeDir)) {
    sweepGateway(runtimeDir, name)
    if (!RUN_FOLDER.test(name)) continue
    try {
      if (sweepRun(join(runtimeDir, name), options) === 'swept') swept += 1
    } catch (error) {
      log.warn({ run: name, error: (error as Error).message }, 'a stale run could not be cleaned up')
    }
  }
  return swept
}

/** The folder of a gateway whose run is gone. It holds a socket at most. */
function sweepGateway(runtimeDir: string, name: string): void {
  const run = GATEWAY_FOLDER.exec(name)?.[1]
  const path = join(runtimeDir, name)
  if (run === undefined || existsSync(join(runtimeDir, run)) || ageMs(path) < UNLOCKED_AGE_MS) return
  rmSync(path, { recursive: true, force: true })
}

/** What a dead sensor froze would stand still for ever. */
function thaw(addon: Addon, path: string, { frozen, cgroupId }: SandboxRecord): void {
  if (!frozen || !existsSync(path)) return
  const cgroup = addon.openCgroup(path, { create: false })
  if (cgroup.id.toString() === cgroupId) cgroup.freeze(false)
  cgroup.close()
}

/** @throws SluiceError IO for a list that another version wrote. */
export function sweepRun(runDir: string, options: SweepOptions): 'swept' | 'alive' | 'in use' {
  const { addon, cgroupRoot, log } = options
  const lockPath = join(runDir, LOCK_FILE)
  if (!existsSync(lockPath) && ageMs(runDir) < UNLOCKED_AGE_MS) return 'alive'
  const lock = addon.lockFile(lockPath)
  if (lock === null) return 'alive'
  try {
    let inUse = false
    for (const record of readRunState(runDir)) {
      const path = join(cgroupRoot, record.path)
      thaw(addon, path, record)
      if (record.groups.length > 0 && !new Controllers(cgroupRoot).releaseNow(record)) inUse = true
      if (record.adopted) continue
      if (existsSync(path)) {
        moveAll(addon, path, join(cgroupRoot, record.origin), cgroupRoot)
      }
      if (!removeCgroup(path)) inUse = true
    }
    if (inUse) return 'in use'
    removeIfEmpty(join(cgroupRoot, SANDBOX_PARENT))
    rmSync(runDir, { recursive: true, force: true })
    log.info({ runDir }, 'cleaned up after a run that died')
    return 'swept'
  } finally {
    lock.release()
  }
}

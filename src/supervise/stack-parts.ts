/**
 * What the roles of one run and those of a node's agent have in common: where their programs are, how their rings are sized, the folder
 * they live in, and the sweep for a sensor that died. Guards that the folder is root's alone to change.
 */
import { existsSync, lstatSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { execa } from 'execa'
import { errnoCode, reasonOf, SluiceError } from '../base/error.js'
import { programFile } from '../base/installation.js'
import { makeFolders } from '../base/make-folders.js'
import { ROLE_ENVIRONMENT, ROLE_NODE_OPTIONS } from './role.js'
import { systemUserExists } from './system-user.js'

/** Loading BPF objects takes well under a second; a loaded machine may take its time. */
export const READY_DEADLINE_MS = 20_000
export const SWEEP_DEADLINE_MS = 15_000

/** How long records may gather in a ring before they are read. */
export const FLUSH_MS = { priority: 1, bulk: 5 }
/** Exec, exit and connect in one ring, file opens in the other. */
export const RING_BYTES = { priority: 4 * 1024 * 1024, bulk: 8 * 1024 * 1024 }

/** A sandbox of an agent has half of a ring at most (bpf/share.bpf.h): one that is alone has as much as a run of its own. */
export const AGENT_RING_BYTES = { priority: 4 * 1024 * 1024, bulk: 16 * 1024 * 1024 }

/** For the time that an engine takes to start again. */
export const SPOOL_BYTES = 64 * 1024 * 1024
export const AGENT_SPOOL_BYTES = 256 * 1024 * 1024

export const ROOT_UID = 0
const GROUP_OR_OTHERS_WRITE = 0o022

/** Where sessions leave a signed history, and how much of it is kept. */
export interface JournalPlace {
  readonly dir: string
  readonly keepDays: number
  readonly keepBytes: number
}

/** Where the roles' programs are. */
export interface Mains {
  readonly sensor: URL
  readonly engine: URL
  readonly gateway: URL
  readonly sweep: URL
}

export const BUILT_MAINS: Mains = {
  sensor: pathToFileURL(programFile('sensor/main')),
  engine: pathToFileURL(programFile('engine/main')),
  gateway: pathToFileURL(programFile('gateway/main')),
  sweep: pathToFileURL(programFile('sensor/sweep-main')),
}

/** Throws PRIVILEGE. */
export function requireRoot(): void {
  if (process.geteuid?.() === ROOT_UID) return
  throw new SluiceError('PRIVILEGE', 'watching a sandbox takes root', { hint: 'run it with sudo' })
}

/** Made if missing. Throws IO if others than root may write there. */
export function prepareRuntimeDir(runtimeDir: string): void {
  if (!existsSync(runtimeDir)) orSay(runtimeDir, () => makeIfMissing(runtimeDir))
  const found = lstatSync(runtimeDir)
  if (!found.isDirectory() || found.uid !== ROOT_UID || (found.mode & GROUP_OR_OTHERS_WRITE) !== 0) {
    throw new SluiceError('IO', `${runtimeDir} must be a directory that only root may write to`, {
      hint: found.isDirectory() ? `chown root ${runtimeDir} && chmod 755 ${runtimeDir}` : `remove what is there`,
    })
  }
}

function makeIfMissing(path: string): void {
  try {
    makeFolders(path, 0o755)
  } catch (error) {
    // It is no folder, or a link leads nowhere: the caller looks.
    if (errnoCode(error) !== 'EEXIST') throw error
  }
}

/** Throws IO, with what to look at, for what can't be made. */
export function orSay<T>(path: string, make: () => T): T {
  try {
    return make()
  } catch (error) {
    throw new SluiceError('IO', `nothing can be made in ${path}: ${reasonOf(error)}`, {
      hint: `root must be able to write there; \`mount\` and \`df -i\` tell more`,
      cause: error,
    })
  }
}

/** `user` null: there is none of that name and the engine stays root, which `degraded` says. */
export async function engineUserOf(name: string): Promise<{ user: string | null; degraded: string[] }> {
  const exists = await systemUserExists(name)
  if (exists === null) throw new SluiceError('IO', `the name service can't be asked for the user ${name}`)
  return exists
    ? { user: name, degraded: [] }
    : { user: null, degraded: [`engine-user: no system user ${name}, so the engine runs as root`] }
}

/** Cleans up after sensors that died. Null, or what went wrong, to be put into a sentence. */
export async function sweepRuns(sweep: URL, runtimeDir: string): Promise<string | null> {
  const result = await execa(process.execPath, [...ROLE_NODE_OPTIONS, fileURLToPath(sweep), runtimeDir], {
    cwd: '/',
    env: ROLE_ENVIRONMENT,
    extendEnv: false,
    stdio: ['ignore', 'ignore', 'inherit'],
    detached: true,
    reject: false,
    timeout: SWEEP_DEADLINE_MS,
  })
  return result.failed ? ` (the sweep failed: ${result.shortMessage})` : null
}

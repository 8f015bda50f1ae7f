/**
 * What a sensor leaves on disk so that the next start can clean up after it, or go on with what it held: a lock that ends with the
 * sensor's process, and the list of its sandboxes. Written before a process is moved, so a crash can't hide a move.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { errnoCode, SluiceError } from '../base/error.js'
import { CONTROLLERS } from './controllers.js'

export const LOCK_FILE = 'lock'
const STATE_FILE = 'sandboxes.json'

const recordSchema = z.object({
  id: z.string().default(''),
  /** Cgroup of the sandbox, below the cgroup v2 root. */
  path: z.string(),
  /** Cgroup its first process came from, below the cgroup v2 root; empty for an adopted one. */
  origin: z.string(),
  /** The kernel's id of the cgroup, decimal: a path can be another cgroup's by the next start. */
  cgroupId: z.string().default(''),
  /** The cgroup is somebody else's: it is never removed or emptied by us. */
  adopted: z.boolean().default(false),
  /** As the engine gave it, in base64. */
  descriptor: z.string().default(''),
  frozen: z.boolean().default(false),
  /** Encoded ShutFor in base64: why, as the engine gave it. */
  frozenFor: z.string().default(''),
  throttledFor: z.string().default(''),
  /** Its processes can't get at each other's memory, as whoever launched it says. */
  apart: z.boolean().default(false),
  /** The pattern that its path matched; empty if a command made or adopted it. */
  watch: z.string().default(''),
  /** CLOCK_BOOTTIME in ns when it began, decimal. */
  sinceNs: z.string().default('0'),
  /** An encoded Limits in base64; empty: it is not throttled. */
  throttle: z.string().default(''),
  /** Groups on v1 hierarchies that we made for it. */
  groups: z.array(z.object({ controller: z.enum(CONTROLLERS), path: z.string(), origin: z.string() })).default([]),
})

export type SandboxRecord = z.infer<typeof recordSchema>

/** Of one that we are about to have. */
export function newRecord(of: { id: string; path: string; descriptor: Uint8Array; sinceNs: bigint }): SandboxRecord {
  return {
    ...{
      id: of.id,
      path: of.path,
      origin: '',
      cgroupId: '',
      watch: '',
      throttle: '',
      groups: [],
      frozenFor: '',
      throttledFor: '',
    },
    ...{ adopted: false, frozen: false, apart: false },
    descriptor: Buffer.from(of.descriptor).toString('base64'),
    sinceNs: String(of.sinceNs),
  }
}

export function writeRunState(runDir: string, sandboxes: readonly SandboxRecord[]): void {
  const file = join(runDir, STATE_FILE)
  writeFileSync(`${file}.new`, JSON.stringify(sandboxes), { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

/**
 * The recorded sandboxes; empty if there were none.
 * @throws SluiceError IO for a file that can't be understood, another version's say: what it lists must not be forgotten.
 */
export function readRunState(runDir: string): SandboxRecord[] {
  const file = join(runDir, STATE_FILE)
  try {
    return z.array(recordSchema).parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return []
    throw new SluiceError('IO', `${file} can't be understood; another version of sluice may have written it`, {
      cause: error,
    })
  }
}

/**
 * Which cgroups are sandboxes of this machine, and whether a process is in one: all that this engine knows of, and all that any
 * sensor of ours has made. A process whose cgroup can't be read counts as inside: the answer decides who may give orders. A known hole: a root process that moved itself out of its sandbox's cgroup is not
 * recognised here (its sticky id is in the kernel, which the engine can't ask); the socket's uid check still stands.
 */
import { readFileSync } from 'node:fs'

/** SL_SHARES_MAX of bpf/map_abi.h: of more the losses are not counted one by one. What is saved of their sessions has room for no more either. */
export const SANDBOXES_MAX = 4_096
/**
 * The folder of every sensor's sandboxes, below the cgroup v2 root (SANDBOX_PARENT of the sensor, which the engine does not import).
 * Runs that are side by side have engines of their own, and none must listen to what runs in another's sandbox.
 */
export const SANDBOX_PARENT = '/sluice'
/** What is said of a process whose cgroup is not known. */
const UNKNOWN = 'unknown'

export class SandboxRegistry {
  private readonly paths = new Set<string>()
  private readonly readCgroup: (pid: number) => string

  constructor(readCgroup: (pid: number) => string = (pid) => readFileSync(`/proc/${pid}/cgroup`, 'utf8')) {
    this.readCgroup = readCgroup
  }

  /** @param cgroupPath below the cgroup v2 root. False if there is no room, or if the path is no sandbox's. */
  add(cgroupPath: string): boolean {
    const path = trimmed(cgroupPath)
    if (path === '/' || this.paths.size >= SANDBOXES_MAX) return false
    this.paths.add(path)
    return true
  }

  remove(cgroupPath: string): void {
    this.paths.delete(trimmed(cgroupPath))
  }

  /** The cgroup of the sandbox that the process is in, null if it is in none. */
  sandboxOf(pid: number): string | null {
    let text: string
    try {
      text = this.readCgroup(pid)
    } catch {
      return UNKNOWN
    }
    // The line of cgroup v2; a hybrid host has lines of v1 controllers besides.
    const line = text.split('\n').find((entry) => entry.startsWith('0::'))
    if (line === undefined) return UNKNOWN
    const cgroup = trimmed(line.slice(3).replace(/ \(deleted\)$/, ''))
    if (isAtOrBelow(cgroup, SANDBOX_PARENT)) return cgroup
    for (const path of this.paths) {
      if (isAtOrBelow(cgroup, path)) return cgroup
    }
    return null
  }
}

function isAtOrBelow(path: string, parent: string): boolean {
  return path === parent || path.startsWith(`${parent}/`)
}

function trimmed(path: string): string {
  return `/${path.replace(/^\/+|\/+$/g, '')}`
}

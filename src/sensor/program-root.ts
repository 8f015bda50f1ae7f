/**
 * The file system that a sandbox's programs are looked for in: the machine's, or that of the container it is, as its oldest process has it. Guards
 * that the sandbox can't choose it: mounts of a user namespace of its own count for nothing. Kept open, so that the process may end.
 */
import { closeSync, constants, openSync, readlinkSync, statSync } from 'node:fs'
import type { WalkedTask } from './task-walk.js'

/** Looked at, the oldest first. */
const TASKS_MAX = 256
const UNKNOWN = 'where its programs are can not be told: its processes are in a user namespace of their own'

export class ProgramRoot {
  /** Stands for /, as a prefix of absolute paths; null: it can't be told. */
  readonly path: string | null
  readonly problem: string | null
  readonly #fd: number | null

  private constructor(fd: number | null, path: string | null) {
    this.#fd = fd
    this.path = path
    this.problem = path === null ? UNKNOWN : null
  }

  /** Of a sandbox with these tasks; without any the machine's own. */
  static of(tasks: readonly Pick<WalkedTask, 'pid' | 'startTimeNs'>[]): ProgramRoot {
    const machine = userNamespace('self')
    const living = [...tasks].sort((a, b) => Number(a.startTimeNs - b.startTimeNs) || a.pid - b.pid)
    if (living.length === 0) return new ProgramRoot(null, '')
    const oldest = living.slice(0, TASKS_MAX).find(({ pid }) => userNamespace(String(pid)) === machine)
    if (oldest === undefined) return new ProgramRoot(null, null)
    if (isOurs(oldest.pid)) return new ProgramRoot(null, '')
    try {
      const fd = openSync(`/proc/${oldest.pid}/root`, constants.O_RDONLY | constants.O_DIRECTORY)
      return new ProgramRoot(fd, `/proc/self/fd/${fd}`)
    } catch {
      return new ProgramRoot(null, null)
    }
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd)
  }
}

/** Of the sensor's own file system, whatever mounts it has. */
function isOurs(pid: number): boolean {
  try {
    const [its, own] = [statSync(`/proc/${pid}/root/`), statSync('/')]
    return its.dev === own.dev && its.ino === own.ino
  } catch {
    return false
  }
}

function userNamespace(pid: string): string | null {
  try {
    return readlinkSync(`/proc/${pid}/ns/user`)
  } catch {
    return null
  }
}

/**
 * Who is ours, as the kernel side keeps it: the cgroups of each sandbox (sl_sandboxes) and the sticky ids of tasks (sl_tasks). A
 * sandbox's id there is the cgroup id of its root. Making and removing cgroups is not done here.
 */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { BpfObject } from '../native/addon.js'
import { cgroupTree } from './cgroup-release.js'
import { cgroupPathOf } from './cgroup-root.js'
import type { HeldNames } from './held-names.js'
import {
  encodeSandbox,
  encodeTask,
  encodeWatch,
  holdsFound,
  isFound,
  sandboxIdOf,
  sandboxKey,
  takenOver,
  taskSandbox,
  watchLevels,
} from './map-values.js'
import { addShare } from './ring-shares.js'
import type { TaskWalk, WalkedTask } from './task-walk.js'

export interface SandboxIdentityOptions {
  object: BpfObject
  walk: TaskWalk
  cgroupRoot: string
}

/** Of a cgroup below which others make sandboxes. */
export interface WatchedBelow {
  /** How far below it one begins. */
  readonly levels: number
  /** Names of those that are held as soon as they are found; null: none are. */
  readonly held: HeldNames | null | 'as before'
}

/** `unknown`: it can't be told. */
export type TaskIdentity = { readonly sandbox: bigint } | 'none' | 'unknown'

export class SandboxIdentity {
  readonly #object: BpfObject
  readonly #walk: TaskWalk
  readonly #cgroupRoot: string

  constructor(options: SandboxIdentityOptions) {
    this.#object = options.object
    this.#walk = options.walk
    this.#cgroupRoot = options.cgroupRoot
  }

  /** The cgroup first, then the process: at no instant is it in the cgroup without being ours. Read back. */
  tagFirst(sandbox: bigint, pid: number): void {
    addShare(this.#object, sandbox)
    this.#object.update('sl_sandboxes', sandboxKey(sandbox), encodeSandbox(sandbox))
    this.#object.updateTask('sl_tasks', pid, encodeTask(sandbox))
    const stored = this.#object.lookupTask('sl_tasks', pid)
    if (stored === null || taskSandbox(stored) !== sandbox) throw new Error('the tag did not read back')
  }

  /**
   * Makes the cgroup at `path` and all below it the sandbox's, with every task in them. Cgroups from the top down: one that is made
   * meanwhile either has a parent that is ours already, or is found in the listing. Then the tasks, until none is left.
   */
  take(sandbox: bigint, path: string): WalkedTask[] {
    addShare(this.#object, sandbox)
    cgroupTree(join(this.#cgroupRoot, path), (below) => this.#mark(sandbox, below))
    return this.#walk.untilSettled('tag', sandbox)
  }

  /** The cgroups first, so that nobody becomes ours behind the walk. */
  untag(sandbox: bigint): void {
    this.forgetCgroups(sandbox)
    this.#walk.untilSettled('untag', sandbox)
  }

  /** Its tasks keep their ids. */
  forgetCgroups(sandbox: bigint): void {
    for (const cgroupId of this.cgroupsOf(sandbox)) this.#object.delete('sl_sandboxes', sandboxKey(cgroupId))
  }

  /** Ids of the sandbox's cgroups. */
  cgroupsOf(sandbox: bigint): Set<bigint> {
    const found = new Set<bigint>()
    for (const key of this.#object.keys('sl_sandboxes')) {
      const value = this.#object.lookup('sl_sandboxes', key)
      if (value !== null && sandboxIdOf(value) === sandbox) found.add(key.readBigUInt64LE())
    }
    return found
  }

  /** Ids of all sandboxes that the kernel side knows. */
  sandboxes(): Set<bigint> {
    const found = new Set<bigint>()
    for (const key of this.#object.keys('sl_sandboxes')) {
      const value = this.#object.lookup('sl_sandboxes', key)
      if (value !== null) found.add(sandboxIdOf(value))
    }
    return found
  }

  /** Cgroups below watched ones that the kernel side made sandboxes, and that nobody has decided on yet. */
  foundByKernel(): bigint[] {
    return this.#object.keys('sl_sandboxes').flatMap((key) => {
      const value = this.#object.lookup('sl_sandboxes', key)
      return value !== null && isFound(value) && sandboxIdOf(value) === key.readBigUInt64LE()
        ? [sandboxIdOf(value)]
        : []
    })
  }

  /** What is made there is a sandbox at once, held or not. The entry goes with the cgroup. */
  watchBelow(cgroupId: bigint, { levels, held }: WatchedBelow): void {
    const key = sandboxKey(cgroupId)
    const before = this.#object.lookup('sl_watched_cgroups', key)
    if (before !== null && watchLevels(before) === levels && held === 'as before') return
    const value = encodeWatch(levels, held === 'as before' ? null : held)
    if (before === null || !before.equals(value)) this.#object.update('sl_watched_cgroups', key, value)
  }

  /** Nothing is watched below other cgroups than these. */
  watchOnly(folders: ReadonlyMap<bigint, WatchedBelow | null>): void {
    for (const key of this.#object.keys('sl_watched_cgroups')) {
      if ((folders.get(key.readBigUInt64LE()) ?? null) === null) this.#object.delete('sl_watched_cgroups', key)
    }
  }

  /** What is found from now on is not held: nobody would come with its policy. */
  holdNoneFound(): void {
    for (const key of this.#object.keys('sl_watched_cgroups')) {
      const value = this.#object.lookup('sl_watched_cgroups', key)
      if (value !== null && holdsFound(value))
        this.#object.update('sl_watched_cgroups', key, encodeWatch(watchLevels(value), null))
    }
  }

  /** By the sticky id and, failing that, by the cgroup that the process is in. */
  ofProcess(pid: number): TaskIdentity {
    try {
      const stored = this.#object.lookupTask('sl_tasks', pid)
      if (stored !== null && taskSandbox(stored) !== 0n) return { sandbox: taskSandbox(stored) }
      const path = cgroupPathOf(pid)
      return path === null ? 'unknown' : this.#ofCgroup(path)
    } catch {
      return 'unknown'
    }
  }

  #ofCgroup(path: string): TaskIdentity {
    const { ino } = statSync(join(this.#cgroupRoot, path), { bigint: true })
    const value = this.#object.lookup('sl_sandboxes', sandboxKey(ino))
    return value === null ? 'none' : { sandbox: sandboxIdOf(value) }
  }

  #mark(sandbox: bigint, path: string): void {
    const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
    if (stat === undefined) return
    const key = sandboxKey(stat.ino)
    const before = this.#object.lookup('sl_sandboxes', key)
    const isOurs = before !== null && sandboxIdOf(before) === sandbox
    if (isOurs && !isFound(before)) return
    this.#object.update('sl_sandboxes', key, isOurs ? takenOver(before) : encodeSandbox(sandbox))
  }
}

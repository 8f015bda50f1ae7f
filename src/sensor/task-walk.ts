/**
 * Walks over every task of the machine in the kernel (bpf/walk.bpf.c): for processes that were there before us, for taking ids away
 * again, and for those that left their cgroup. Threads included. One walk can be outrun by a fork, so whoever changes something
 * walks until a walk changes nothing. Nothing else may run between two of our own steps: every walk is one call.
 */
import type { Addon, BpfObject } from '../native/addon.js'
import { ABI } from '../native/generated/abi.js'

const WALK_OBJECT = 'walk'
const WALK_PROGRAM = 'sl_walk_tasks'
const SOCKETS_PROGRAM = 'sl_walk_sockets'
const DENIED_PROGRAM = 'sl_walk_denied'
const FILES_PROGRAM = 'sl_walk_files'
const FOLD_PROGRAM = 'sl_fold_sweep'
/** A storm of forks adds some tasks behind each walk; each of these is ours from then on, so that the rest shrinks fast. */
const WALKS_MAX = 64

const SLOT: Uint8Array = Buffer.alloc(4)

export type WalkMode = 'tag' | 'untag' | 'list'

const MODES: Readonly<Record<WalkMode, number>> = {
  tag: ABI.enums.SL_WALK_TAG,
  untag: ABI.enums.SL_WALK_UNTAG,
  list: ABI.enums.SL_WALK_LIST,
}

/** A task of the sandbox as the kernel knows it. Times are CLOCK_BOOTTIME in ns. */
export interface WalkedTask {
  readonly pid: number
  readonly tid: number
  readonly ppid: number
  readonly uid: number
  readonly gid: number
  readonly execCount: number
  /** Of the process. */
  readonly startTimeNs: bigint
  readonly parentStartTimeNs: bigint
  /** That it is in now. */
  readonly cgroupId: bigint
  /** No thread of its process runs any more. */
  readonly dead: boolean
}

interface Walk {
  tasks: WalkedTask[]
  changed: number
  failed: number
}

export class TaskWalk {
  readonly #walker: BpfObject

  /** @throws NativeError EBPF where the kernel has no task iterators (before 5.8). */
  constructor(addon: Addon, core: BpfObject) {
    this.#walker = addon.openObject(WALK_OBJECT)
    try {
      this.#walker.shareMaps(core)
      this.#walker.load()
    } catch (error) {
      this.#walker.close()
      throw error
    }
  }

  /** The tasks that have the sandbox's id, threads included. */
  list(sandbox: bigint): WalkedTask[] {
    return this.#walk('list', sandbox).tasks
  }

  /**
   * Gives the id to every task of the sandbox's cgroups (those in sl_sandboxes), or takes it away from every task that has it.
   * Returns every task met.
   * @throws Error if a task could not be given the id, or if the walks never came to an end.
   */
  untilSettled(mode: 'tag' | 'untag', sandbox: bigint): WalkedTask[] {
    const met = new Map<number, WalkedTask>()
    for (let count = 0; count < WALKS_MAX; count += 1) {
      const { tasks, changed, failed } = this.#walk(mode, sandbox)
      if (failed > 0) throw new Error(`the kernel had no room for the ids of ${failed} tasks`)
      for (const task of tasks) met.set(task.tid, task)
      if (changed === 0) return [...met.values()]
    }
    throw new Error(`its processes fork faster than ${WALKS_MAX} walks over them`)
  }

  /** Makes every socket that tasks of sandboxes with a policy have open their sandbox's. @throws Error if there was no room for one. */
  ownSockets(): void {
    const { length } = this.#walker.iterate(SOCKETS_PROGRAM)
    if (length > 0) throw new Error('the kernel had no room for whose the open sockets are')
  }

  /** Connections of sandboxes that their policies deny, as sl_walked_connection end to end; a process's own each. Their resets may leave. */
  deniedConnections(): Buffer {
    return this.#walker.iterate(DENIED_PROGRAM)
  }

  /** Files that this process has open, by descriptor, as sl_program: by that the kernel side knows who executes them. */
  openPrograms(): Map<number, Buffer> {
    const written = this.#walker.iterate(FILES_PROGRAM)
    const { size, fields } = ABI.structs.sl_walked_file
    const found = new Map<number, Buffer>()
    for (let at = 0; at + size <= written.length; at += size) {
      const program = written.subarray(at + fields.program, at + fields.program + ABI.structs.sl_program.size)
      found.set(written.readUInt32LE(at + fields.fd), Buffer.from(program))
    }
    return found
  }

  /** Has every thread tell what it counted of repeated opens (bpf/fold.bpf.h). */
  tellFolded(): void {
    this.#walker.iterate(FOLD_PROGRAM)
  }

  close(): void {
    this.#walker.close()
  }

  #request(mode: WalkMode, sandbox: bigint): void {
    const { size, fields } = ABI.structs.sl_walk_request
    const request = Buffer.alloc(size)
    request.writeBigUInt64LE(sandbox, fields.sandbox)
    request.writeUInt32LE(MODES[mode], fields.mode)
    this.#walker.update('sl_walk_request', SLOT, request)
  }

  #walk(mode: WalkMode, sandbox: bigint): Walk {
    this.#request(mode, sandbox)
    const written = this.#walker.iterate(WALK_PROGRAM)
    const { fields } = ABI.structs.sl_walk_request
    const changed = this.#walker.lookup('sl_walk_request', SLOT)?.readUInt32LE(fields.changed) ?? 0
    const walk: Walk = { tasks: [], changed, failed: 0 }
    for (let at = 0; at + ABI.structs.sl_walked.size <= written.length; at += ABI.structs.sl_walked.size) {
      const flags = written.readUInt32LE(at + ABI.structs.sl_walked.fields.flags)
      if ((flags & ABI.enums.SL_WALKED_FAILED) !== 0) walk.failed += 1
      else walk.tasks.push(readTask(written, at, flags))
    }
    return walk
  }
}

function readTask(from: Buffer, at: number, flags: number): WalkedTask {
  const { fields } = ABI.structs.sl_walked
  return {
    pid: from.readUInt32LE(at + fields.pid),
    tid: from.readUInt32LE(at + fields.tid),
    ppid: from.readUInt32LE(at + fields.ppid),
    uid: from.readUInt32LE(at + fields.uid),
    gid: from.readUInt32LE(at + fields.gid),
    execCount: from.readUInt32LE(at + fields.exec_count),
    startTimeNs: from.readBigUInt64LE(at + fields.start_time_ns),
    parentStartTimeNs: from.readBigUInt64LE(at + fields.parent_start_ns),
    cgroupId: from.readBigUInt64LE(at + fields.cgroup_id),
    dead: (flags & ABI.enums.SL_WALKED_DEAD) !== 0,
  }
}

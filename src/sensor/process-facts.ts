/**
 * What a process that was already running is, as facts like those of the kernel's: identity from the walk over the tasks, program,
 * directory and arguments from /proc. A process that ends meanwhile keeps its identity and has no program. Arguments are those that
 * the process shows now, which it may have written over.
 */
import { closeSync, openSync, readFileSync, readlinkSync, readSync, statSync } from 'node:fs'
import { ABI } from '../native/generated/abi.js'
import { EventBatch, fromBigInt, type IKernelEvent, type IProcessFacts } from '../proto/codec.js'
import type { WalkedTask } from './task-walk.js'

/** Of `cpu`, where no CPU made the record: no machine has so many. The sequence of these facts is the sensor's own. */
const NO_CPU = 0xfff
const DELETED = ' (deleted)'
const NS_PER_TICK = 10_000_000n
const START_TIME_FIELD = 22

export interface ProcessFactsOptions {
  readonly tasks: readonly WalkedTask[]
  /** Cgroup id of the sandbox's root. */
  readonly sandbox: bigint
  /** CLOCK_BOOTTIME from before the first of them was tagged: none of their own records is older. */
  readonly untilNs: bigint
  /** Numbers the facts of this sensor. */
  nextSeq(): bigint
}

/** `events` fields of an EventBatch, one for each process, parents before their children. */
export function encodeProcessFacts(options: ProcessFactsOptions): Buffer[] {
  return [...processFacts(options)].map((event) => Buffer.from(EventBatch.encode({ events: [event] }).finish()))
}

/** One for each process, parents before their children; each is looked at when it is asked for. */
export function* processFacts(options: ProcessFactsOptions): Generator<IKernelEvent> {
  const processes = leaders(options.tasks)
  const known = new Set(processes.map((task) => keyOf(task.pid, task.startTimeNs)))
  for (const [index, task] of processes.entries()) {
    const parent = known.has(keyOf(task.ppid, task.parentStartTimeNs)) ? task.parentStartTimeNs : 0n
    yield {
      kind: ABI.enums.SL_KIND_PROCESS,
      timeNs: fromBigInt(options.untilNs - BigInt(processes.length - index)),
      cpuSeq: fromBigInt(options.nextSeq()),
      cpu: NO_CPU,
      sandbox: fromBigInt(options.sandbox),
      pid: task.pid,
      tid: task.pid,
      ppid: task.ppid,
      uid: task.uid,
      gid: task.gid,
      execCount: task.execCount,
      startTimeNs: fromBigInt(task.startTimeNs),
      cgroupId: fromBigInt(task.cgroupId),
      process: { ...imageOf(task), parentStartTimeNs: fromBigInt(parent) },
    }
  }
}

/** One task a process, in the order in which they were started. */
function leaders(tasks: readonly WalkedTask[]): WalkedTask[] {
  const byPid = new Map<number, WalkedTask>()
  for (const task of tasks) {
    if (!task.dead && (task.tid === task.pid || !byPid.has(task.pid))) byPid.set(task.pid, task)
  }
  return [...byPid.values()].sort((a, b) => Number(a.startTimeNs - b.startTimeNs))
}

function keyOf(pid: number, startTimeNs: bigint): string {
  return `${pid}-${startTimeNs}`
}

function imageOf(task: WalkedTask): IProcessFacts {
  try {
    const exe = linkOf(`/proc/${task.pid}/exe`)
    const cwd = linkOf(`/proc/${task.pid}/cwd`)
    const args = argsOf(task.pid)
    const file = statSync(`/proc/${task.pid}/exe`, { bigint: true, throwIfNoEntry: false })
    // Last: if it is still the same process, all of the above was of it.
    if (!isStill(task)) return {}
    return {
      exe: exe.path,
      exeFlags: exe.flags,
      cwd: cwd.path,
      cwdFlags: cwd.flags,
      args: args.bytes,
      argc: args.count,
      argsBytes: fromBigInt(args.trueBytes),
      exeInode: fromBigInt(file?.ino ?? 0n),
      exeDev: kernelDevice(file?.dev ?? 0n),
    }
  } catch {
    return {} // it ended
  }
}

function linkOf(path: string): { path: Buffer; flags: number } {
  const target = readlinkSync(path, 'buffer')
  if (!target.toString('latin1').endsWith(DELETED)) return { path: target, flags: 0 }
  const name = target.subarray(0, target.length - DELETED.length)
  const { SL_PATH_DELETED, SL_PATH_DETACHED } = ABI.enums
  const detached = name.toString('latin1').startsWith('/memfd:')
  return { path: name, flags: SL_PATH_DELETED | (detached ? SL_PATH_DETACHED : 0) }
}

function argsOf(pid: number): { bytes: Buffer; count: number; trueBytes: bigint } {
  const fd = openSync(`/proc/${pid}/cmdline`, 'r')
  try {
    const kept = Buffer.alloc(ABI.limits.SL_ARGS_MAX)
    let length = 0
    for (let got = -1; got !== 0 && length < kept.length; length += got)
      got = readSync(fd, kept, length, kept.length - length, null)
    const beyond = Buffer.alloc(ABI.limits.SL_ARGS_MAX)
    let trueBytes = BigInt(length)
    for (let got = length === kept.length ? -1 : 0; got !== 0; trueBytes += BigInt(got)) got = readSync(fd, beyond)
    const bytes = kept.subarray(0, length)
    return { bytes, count: bytes.reduce((count, byte) => count + (byte === 0 ? 1 : 0), 0), trueBytes }
  } finally {
    closeSync(fd)
  }
}

/** By the start time, which /proc rounds down to a tick. */
function isStill(task: WalkedTask): boolean {
  const stat = readFileSync(`/proc/${task.pid}/stat`, 'latin1')
  // The name, the second field, is in parentheses and can hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[START_TIME_FIELD - 3] === String(task.startTimeNs / NS_PER_TICK)
}

/** What stat(2) says (glibc's makedev) as the kernel has it: major << 20 | minor. */
function kernelDevice(device: bigint): number {
  const major = ((device >> 32n) & ~0xfffn) | ((device >> 8n) & 0xfffn)
  const minor = ((device >> 12n) & ~0xffn) | (device & 0xffn)
  return Number(BigInt.asUintN(32, (major << 20n) | minor))
}

/**
 * Processes that carry a sandbox's id but have left its cgroup, which a process that runs as root can do. They are still ours: found by
 * the id in task storage, of whichever of their threads, and killed or stopped with the sandbox.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { TaskWalk } from './task-walk.js'

/** A fork storm outside the cgroup can outrun a pass; then its rest is left and told. */
const PASSES_MAX = 20
const PASS_MS = 5

export interface EscapedOutcome {
  killed: number
  /** Still alive after the last pass. */
  left: number
}

/** Kills every process with the id `sandbox`, pass after pass until a pass finds none. */
export async function killEscaped(walk: TaskWalk, sandbox: bigint): Promise<EscapedOutcome> {
  const killed = new Set<number>()
  for (let pass = 0; pass < PASSES_MAX; pass += 1) {
    const pids = livingProcesses(walk, sandbox)
    if (pids.length === 0) return { killed: killed.size, left: 0 }
    for (const pid of pids) {
      signal(pid, 'SIGKILL')
      killed.add(pid)
    }
    await sleep(PASS_MS)
  }
  return { killed: killed.size, left: livingProcesses(walk, sandbox).length }
}

/** Stops (or lets go on) those outside the cgroups `inside`, which a freezer can't reach. Once more for what the first pass missed. */
export function stopEscaped(
  walk: TaskWalk,
  options: { sandbox: bigint; inside: ReadonlySet<bigint>; stop: boolean },
): void {
  const { sandbox, inside, stop } = options
  const signalled = new Set<number>()
  for (let pass = 0; pass < PASSES_MAX; pass += 1) {
    const outside = walk.list(sandbox).filter((task) => !task.dead && !inside.has(task.cgroupId))
    const pids = new Set(outside.map((task) => task.pid).filter((pid) => !signalled.has(pid)))
    if (pids.size === 0) return
    for (const pid of pids) {
      signal(pid, stop ? 'SIGSTOP' : 'SIGCONT')
      signalled.add(pid)
    }
  }
}

/** Pids of those that carry the id, wherever they are. */
export function livingProcesses(walk: TaskWalk, sandbox: bigint): number[] {
  return [...new Set(walk.list(sandbox).flatMap((task) => (task.dead ? [] : [task.pid])))]
}

/** Right after the look-up: for the pid to be another process's by then, all pids would have to be given out in between. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // Gone.
  }
}

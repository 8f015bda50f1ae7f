/**
 * What an engine that comes new to this sensor is told first: the processes that run in its sandboxes. It has not seen them begin, or the
 * sensor that was to tell it died. Guards that a program is not told as that of an earlier exec, and that the whole has a bound: what
 * is beyond it is known by its ids alone. Not here: processes that were found when their cgroup was adopted, which are events.
 */
import { ConnectRequest, encodeBuffer, type IKernelEvent } from '../proto/codec.js'
import { processFacts } from './process-facts.js'
import type { HeldSandbox } from './sandbox-cgroups.js'
import type { TaskWalk, WalkedTask } from './task-walk.js'

/** Each costs some system calls, and nothing is read from the rings meanwhile. */
export const RUNNING_MAX = 8_192
export const RUNNING_BYTES_MAX = 16 * 1024 * 1024
/** Of one message; each can have some 40 KiB. */
const PROCESSES_PER_MESSAGE = 32

export interface RunningOptions {
  readonly walk: Pick<TaskWalk, 'list'>
  readonly sandboxes: readonly HeldSandbox[]
  bootTimeNs(): bigint
}

/** Whole ConnectRequests. */
export function encodeRunning(options: RunningOptions): Buffer[] {
  const messages: Buffer[] = []
  let bytes = 0
  let count = 0
  let processes: IKernelEvent[] = []
  const close = () => {
    if (processes.length === 0) return
    const message = encodeBuffer(ConnectRequest, { running: { processes } })
    messages.push(message)
    bytes += message.length
    processes = []
  }
  for (const sandbox of options.sandboxes) {
    for (const fact of factsOf(sandbox, options)) {
      processes.push(fact)
      count += 1
      if (processes.length >= PROCESSES_PER_MESSAGE) close()
      if (count >= RUNNING_MAX || bytes >= RUNNING_BYTES_MAX) break
    }
  }
  close()
  return messages
}

function* factsOf({ cgroupId: sandbox }: HeldSandbox, { walk, bootTimeNs }: RunningOptions): Generator<IKernelEvent> {
  const tasks = walk.list(sandbox)
  let group: IKernelEvent[] = []
  for (const fact of processFacts({ tasks, sandbox, untilNs: bootTimeNs(), nextSeq: () => 0n })) {
    group.push(fact)
    if (group.length < PROCESSES_PER_MESSAGE) continue
    yield* unchanged(group, walk.list(sandbox))
    group = []
  }
  yield* unchanged(group, walk.list(sandbox))
}

/** One that has made another exec meanwhile may have been asked for its program after that; it will tell of it. */
function unchanged(facts: readonly IKernelEvent[], now: readonly WalkedTask[]): IKernelEvent[] {
  const still = new Set(now.map(({ pid, execCount }) => `${pid} ${execCount}`))
  return facts.filter(({ pid, execCount }) => still.has(`${pid} ${execCount}`))
}

/**
 * Has the kernel side tell what it counted of repeated opens (bpf/fold.bpf.h), sends and refused connects (bpf/send.bpf.h) for threads that have been quiet since: a busy thread
 * tells by itself. And what io_uring was asked for and nothing told the end of. Not here: the counts, which never leave the kernel but as events.
 */
import type { Log } from '../base/log.js'
import type { TaskWalk } from './task-walk.js'
import type { UringPrograms } from './uring-programs.js'

/** Runs over every task of the host: some hundred microseconds. */
const SWEEP_MS = 1000

export interface FoldSweepOptions {
  walk: TaskWalk
  uring: UringPrograms
  /** Whether there is anybody who could be counted. */
  needed(): boolean
  log: Log
}

export interface FoldSweep {
  /** Once, now, and then `body`: what was counted up to here is in the rings. */
  before<T>(body: () => T): T
  stop(): void
}

/** A sweep that fails costs nothing but time: the counts stay in the kernel and are told later. */
export function startFoldSweep({ walk, uring, needed, log }: FoldSweepOptions): FoldSweep {
  const run = (which: 'late' | 'all') => {
    try {
      walk.tellFolded()
      uring.tell(which)
    } catch (error) {
      log.warn(
        { error: (error as Error).message },
        'what is kept in the kernel of repeated opens and of io_uring could not be asked for',
      )
    }
  }
  const timer = setInterval(() => {
    if (needed()) run('late')
  }, SWEEP_MS)
  timer.unref()
  return {
    before(body) {
      run('all')
      return body()
    },
    stop: () => clearInterval(timer),
  }
}

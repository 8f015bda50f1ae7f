/**
 * What /proc says of one process: its parent, its user, and when it started, which tells it from a later one with the same pid. Null for
 * one that can't be read. Guards nothing by itself: the answer may be old by the time it is used; who cares asks twice.
 */
import { readFileSync } from 'node:fs'

export interface ProcessFacts {
  readonly ppid: number
  /** Real, effective, saved and file system user. */
  readonly uids: readonly number[]
  /** In ticks since boot; never the same for two processes with one pid. */
  readonly startTicks: string
}

export function processFacts(
  pid: number,
  read: (path: string) => string = (path) => readFileSync(path, 'latin1'),
): ProcessFacts | null {
  try {
    const stat = read(`/proc/${pid}/stat`)
    // The name before them is in parentheses and can hold anything; proc(5) counts the state as field 3.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const uids = /^Uid:\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)$/m.exec(read(`/proc/${pid}/status`))
    const [ppid, startTicks] = [fields[1], fields[19]]
    if (uids === null || ppid === undefined || startTicks === undefined) return null
    return { ppid: Number(ppid), uids: uids.slice(1).map(Number), startTicks }
  } catch {
    return null
  }
}

/** What tracers' own processes took, and which tracers there are. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

const TICKS_PER_S = 100

/** Of a process, or of a kernel thread. */
export function cpuSeconds(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S
}

export function hasProgram(name) {
  return spawnSync('which', [name]).status === 0
}

/** Asks about terminals without making Node's stream objects for pipes (base/stderr.ts says why). */
import { isatty } from 'node:tty'
import type { ColorMode } from './environment.js'

export function isTerminal(fd: number): boolean {
  return isatty(fd)
}

/** `auto` is colour on a terminal only. */
export function wantsColor(mode: ColorMode, fd: number): boolean {
  return mode === 'always' || (mode === 'auto' && isTerminal(fd))
}

/** Columns of the terminal at `fd`, null where there is none. Opens a terminal stream: that one has a file description of its own. */
export function terminalColumns(fd: 1 | 2): number | null {
  if (!isTerminal(fd)) return null
  const columns = (fd === 1 ? process.stdout : process.stderr).columns
  return Number.isInteger(columns) && columns > 0 ? columns : null
}

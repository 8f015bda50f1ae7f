/** Where kernels and the emulator are kept once they are here: with the user's other caches, for every checkout of this machine. */
import { mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'

/** The folder, made if it wasn't there. It can be removed at any time; the next run fetches anew. */
export function downloadDir() {
  const { XDG_CACHE_HOME: wished = '' } = process.env
  // As the XDG base directories want it: a relative one counts for nothing.
  const dir = join(isAbsolute(wished) ? wished : join(homedir(), '.cache'), 'sluice', 'vm')
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  return dir
}

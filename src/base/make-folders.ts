/**
 * A folder with those above it that are missing. Guards that it ends: Node's own recursive mkdir asks again for ever, at full speed, where what is
 * above is there and can't hold a folder (/proc, a mount whose folder was removed, a link to nowhere).
 */
import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { errnoCode } from './error.js'

const MODE = 0o777

/** `mode` as for mkdir(2), of all that are made. Throws what it says. */
export function makeFolders(path: string, mode = MODE): void {
  try {
    makeFolder(path, mode)
  } catch (error) {
    const above = dirname(path)
    if (errnoCode(error) !== 'ENOENT' || above === path) throw error
    makeFolders(above, mode)
    makeFolder(path, mode)
  }
}

function makeFolder(path: string, mode: number): void {
  try {
    mkdirSync(path, { mode })
  } catch (error) {
    const isThere = errnoCode(error) === 'EEXIST' && statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
    if (!isThere) throw error
  }
}

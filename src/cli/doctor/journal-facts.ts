/**
 * What `doctor` is told of the journal: where it is, how much there is, when the node signed last, how much room there is. Guards that a folder which
 * could not be looked into says so. Only looks; `sessions verify` proves.
 */
import { lstatSync, readdirSync, statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { errnoCode, messageOf, reasonOf } from '../../base/error.js'
import {
  CHECKPOINTS_FILE,
  CHECKPOINTS_FOLDER,
  KEYS_FOLDER,
  SESSIONS_FOLDER,
  sessionsOf,
} from '../../proto/journal/journal-folder.js'

export interface JournalFacts {
  /** Null: none is written. */
  readonly dir: string | null
  /** `none`: nothing was written yet; a text: why it can't be looked into. */
  readonly state: 'there' | 'none' | { readonly problem: string }
  readonly sessions: number
  readonly bytes: number
  /** Of the last checkpoint, ms; null: there is none. */
  readonly signedUnixMs: number | null
  /** On its file system. */
  readonly freeBytes: number
  readonly hasKey: boolean
}

/** @param dir null: none is written */
export function readJournalFacts(dir: string | null): JournalFacts {
  const nothing = { dir, sessions: 0, bytes: 0, signedUnixMs: null, freeBytes: 0, hasKey: false }
  if (dir === null) return { ...nothing, state: 'none' }
  try {
    const { bavail, bsize } = statfsSync(dir)
    const ids = sessionsOf(dir)
    return {
      ...{ dir, state: 'there', sessions: ids.length, freeBytes: bavail * bsize },
      bytes: ids.reduce((sum, id) => sum + bytesIn(join(dir, SESSIONS_FOLDER, id)), 0),
      signedUnixMs: modified(join(dir, CHECKPOINTS_FOLDER, CHECKPOINTS_FILE)),
      hasKey: readdirSync(join(dir, KEYS_FOLDER)).some((name) => name.endsWith('.pub')),
    }
  } catch (error) {
    const state = errnoCode(error) === 'ENOENT' ? 'none' : { problem: messageOf(error) }
    return { ...nothing, state }
  }
}

/** A session that is removed meanwhile has none. */
function bytesIn(folder: string): number {
  try {
    return readdirSync(folder).reduce((sum, name) => sum + lstatSync(join(folder, name)).size, 0)
  } catch {
    return 0
  }
}

function modified(path: string): number | null {
  try {
    return statSync(path).mtimeMs
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return null
    throw new Error(`${path} can't be read: ${reasonOf(error)}`)
  }
}

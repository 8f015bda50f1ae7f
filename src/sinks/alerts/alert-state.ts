/**
 * The alerts of one sink on disk, with the place in the spool that they were made up to. Guards that the file is whole, and on disk before the spool may
 * forget what it was made of; one that is damaged is begun anew, which costs that what was told is not told to be over.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { errnoCode, reasonOf } from '../../base/error.js'
import type { Log } from '../../base/log.js'
import { makeFolders } from '../../base/make-folders.js'
import type { Place } from '../spool-reader.js'
import type { Kept } from './alert-book.js'

const VERSION = 1
const MODE = 0o600
const FOLDER_MODE = 0o700

interface Written {
  readonly version: number
  readonly place: Place | null
  readonly alerts: readonly Kept[]
}

const NOTHING: Omit<Written, 'version'> = { place: null, alerts: [] }

export class AlertState {
  private readonly path: string
  private readonly folder: string

  constructor(folder: string, sink: string) {
    this.folder = join(folder, 'alerts')
    this.path = join(this.folder, `${sink}.json`)
  }

  read(log: Log): Omit<Written, 'version'> {
    try {
      const found = JSON.parse(readFileSync(this.path, 'utf8')) as Written
      if (found.version === VERSION && Array.isArray(found.alerts)) return found
      log.error({ path: this.path }, 'the alerts of a sink are of another version: they are begun anew')
    } catch (error) {
      if (errnoCode(error) !== 'ENOENT')
        log.error({ path: this.path, error: reasonOf(error) }, 'the alerts of a sink were damaged: they are begun anew')
    }
    return NOTHING
  }

  /** Throws where the disk takes nothing; what was there stays. */
  write(place: Place | null, alerts: readonly Kept[]): void {
    makeFolders(this.folder, FOLDER_MODE)
    const aside = `${this.path}.new`
    const fd = openSync(aside, 'w', MODE)
    try {
      const bytes = Buffer.from(JSON.stringify({ version: VERSION, place, alerts } satisfies Written))
      let at = 0
      while (at < bytes.length) at += writeSync(fd, bytes, at)
      fsyncSync(fd)
    } catch (error) {
      rmSync(aside, { force: true })
      throw error
    } finally {
      closeSync(fd)
    }
    renameSync(aside, this.path)
  }
}

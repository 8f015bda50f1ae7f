/**
 * Up to where the batch goes that was begun last, on disk before it is sent: another process makes the same one again, so that a receiver which knows batches
 * knows it. What can't be written or read costs that, and nothing else.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeFolders } from '../base/make-folders.js'
import type { Place } from './spool-reader.js'

const MODE = 0o600
const FOLDER_MODE = 0o700

export class Underway {
  private readonly folder: string
  private readonly path: string

  constructor(folder: string, sink: string) {
    this.folder = join(folder, 'underway')
    this.path = join(this.folder, `${sink}.json`)
  }

  /** Null: none that is known. */
  read(): Place | null {
    try {
      const { spoolId, position } = JSON.parse(readFileSync(this.path, 'utf8')) as Partial<Place>
      return typeof spoolId === 'string' && Number.isSafeInteger(position)
        ? { spoolId, position: Number(position) }
        : null
    } catch {
      return null
    }
  }

  write({ spoolId, position }: Place): void {
    try {
      makeFolders(this.folder, FOLDER_MODE)
      writeFileSync(`${this.path}.new`, JSON.stringify({ spoolId, position }), { mode: MODE })
      renameSync(`${this.path}.new`, this.path)
    } catch {
      // Its place in the spool is what counts.
    }
  }
}

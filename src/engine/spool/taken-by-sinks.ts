/**
 * How far the sinks are, as they have it in their own file: what all of them have need not be kept. Guards that without a file, or with one that can't
 * be read, or that is about another spool, everything is kept. Not here: what is done with it.
 */
import { join } from 'node:path'
import { SqliteFile } from '../../base/sqlite-file.js'
import { CURSORS_FILE, CURSORS_FORM } from '../../proto/spool/spool-form.js'

export class TakenBySinks {
  private readonly path: string
  private file: SqliteFile | null = null

  constructor(folder: string) {
    this.path = join(folder, CURSORS_FILE)
  }

  /** Every sink has what is before this position; 0: nobody can say so. */
  upTo(spoolId: string): number {
    try {
      if (this.file?.isThere === false) this.close()
      this.file ??= SqliteFile.read(this.path, CURSORS_FORM)
      const rows = this.file.sql('SELECT spool, position FROM cursor').all()
      if (rows.length === 0) return 0
      return Math.min(...rows.map(({ spool, position }) => (spool === spoolId ? Number(position) : 0)))
    } catch {
      this.close()
      return 0
    }
  }

  close(): void {
    this.file?.close()
    this.file = null
  }
}

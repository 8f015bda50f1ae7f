/**
 * How far each sink is, in a file that the engine reads to know what it need not keep. Guards that a sink goes back never more than what it had not
 * saved, and that a file which can't be written costs duplicates after a restart and nothing else.
 */
import { join } from 'node:path'
import { reasonOf } from '../base/error.js'
import type { Log } from '../base/log.js'
import { SqliteFile } from '../base/sqlite-file.js'
import { CURSORS_FILE, CURSORS_FORM } from '../proto/spool/spool-form.js'
import type { Place } from './spool-reader.js'

export class Cursors {
  private readonly path: string
  private readonly sinks: readonly string[]
  private readonly log: Log
  private file: SqliteFile | null = null
  private readonly places = new Map<string, Place>()
  private failed = false
  /** What was there is read: what is to be there is what we know. */
  private isRead = false

  /** @param sinks that there are; of others nothing is kept */
  constructor(folder: string, sinks: readonly string[], log: Log) {
    this.path = join(folder, CURSORS_FILE)
    this.sinks = sinks
    this.log = log
    this.orSay((file) => {
      for (const { sink, spool, position } of file.sql('SELECT sink, spool, position FROM cursor').all()) {
        // One that has had nothing yet has no spool either: it begins where this one does.
        if (sinks.includes(String(sink)) && spool === '') continue
        if (sinks.includes(String(sink))) {
          this.places.set(String(sink), { spoolId: String(spool), position: Number(position) })
        } else file.sql('DELETE FROM cursor WHERE sink = ?').run(sink ?? '')
      }
      this.writeAll(file)
    })
    this.isRead = true
  }

  /** Null: it begins where the spool does. */
  of(sink: string): Place | null {
    return this.places.get(sink) ?? null
  }

  save(sink: string, place: Place): void {
    const isNew = this.places.get(sink)
    if (isNew?.spoolId === place.spoolId && isNew.position === place.position) return
    this.places.set(sink, place)
    this.orSay((file) => this.write(file, sink, place))
  }

  close(): void {
    this.file?.close()
    this.file = null
  }

  /** Of one that has had nothing, too: what it lacks is kept for it, from its first moment on. */
  private writeAll(file: SqliteFile): void {
    for (const sink of this.sinks) this.write(file, sink, this.places.get(sink) ?? { spoolId: '', position: 0 })
  }

  private write(file: SqliteFile, sink: string, { spoolId, position }: Place): void {
    file.sql('INSERT OR REPLACE INTO cursor (sink, spool, position) VALUES (?, ?, ?)').run(sink, spoolId, position)
  }

  private orSay(work: (file: SqliteFile) => void): void {
    try {
      if (this.file?.isThere === false) this.close()
      if (this.file === null) {
        this.file = SqliteFile.open(this.path, CURSORS_FORM, (reason) =>
          this.log.error({ path: this.path, reason }, 'how far the sinks are was damaged: a new file is begun'),
        )
        if (this.isRead) this.writeAll(this.file)
      }
      work(this.file)
      this.failed = false
    } catch (error) {
      if (!this.failed)
        this.log.error({ path: this.path, error: reasonOf(error) }, 'how far the sinks are can not be saved')
      this.failed = true
      this.file = null
    }
  }
}

/**
 * A SQLite file of ours, in WAL mode and for its owner alone. Guards that one that is damaged, no database, or of another form than expected is
 * put aside and begun anew, which is said; that nothing in it runs by itself (a trigger, a view); and that its size has a limit. What was
 * committed survives kill -9; a machine that dies may take the last commits along, and nothing else. Not here: what is kept in it.
 */
import { closeSync, constants, fchmodSync, fstatSync, openSync, renameSync, rmSync, statSync } from 'node:fs'
import {
  type DatabaseSyncInstance as Database,
  DatabaseSync,
  type StatementSyncInstance as Statement,
} from '@photostructure/sqlite'
import { errnoCode, messageOf, SluiceError } from './error.js'

export interface SqliteForm {
  /** Whose files these are, in the header of each. */
  readonly applicationId: number
  /** Raised when `schema` changes. */
  readonly version: number
  /** Statements that make it, one for each table or index, as SQLite keeps them. */
  readonly schema: readonly string[]
  readonly bytesMax: number
}

/** What was there is beside it by this name, in the place of the one before. */
export const ASIDE = '.bad'
const MODE = 0o600
const PAGE_BYTES = 4_096
const BUSY_MS = 100
/** What is left of the log when it was empty again. */
const LOG_BYTES = 4 * 1024 * 1024
/** SQLITE_CORRUPT, SQLITE_NOTADB, and a file that ends too early; the low byte of an extended code is its class. */
const DAMAGED = [11, 26]
const CLASS = 0xff
const SHORT_READ = 522
const LOGS = ['-wal', '-shm']

export class SqliteFile {
  private readonly path: string
  private readonly inode: number
  private readonly db: Database
  private readonly isReader: boolean
  private readonly statements = new Map<string, Statement>()

  private constructor(path: string, db: Database, isReader = false) {
    this.path = path
    this.db = db
    this.isReader = isReader
    this.inode = statSync(path).ino
  }

  /** @param onAside with what was wrong with the one that was there. Throws IO where there can be none. */
  static open(path: string, form: SqliteForm, onAside: (reason: string) => void): SqliteFile {
    try {
      const db = tryOpen(path, form)
      if (typeof db !== 'string') return new SqliteFile(path, db)
      putAside(path)
      onAside(db)
      const anew = tryOpen(path, form)
      if (typeof anew !== 'string') return new SqliteFile(path, anew)
      throw new SluiceError('IO', anew)
    } catch (error) {
      throw new SluiceError('IO', `${path} can't be used: ${messageOf(error)}`, { cause: error })
    }
  }

  /** One that is there, only to look. Throws IO; it has no other form. */
  static read(path: string, form: SqliteForm): SqliteFile {
    let db: Database | null = null
    try {
      db = new DatabaseSync(path, { readOnly: true, timeout: BUSY_MS })
      const problem = formProblem(db, form)
      if (problem !== null) throw new SluiceError('IO', problem)
      return new SqliteFile(path, db, true)
    } catch (error) {
      db?.close()
      throw new SluiceError('IO', `${path} can't be read: ${messageOf(error)}`, { cause: error })
    }
  }

  /** Still at its path: nobody has removed it, or put another one there. */
  get isThere(): boolean {
    try {
      return statSync(this.path).ino === this.inode
    } catch {
      return false
    }
  }

  /** Prepared once. */
  sql(text: string): Statement {
    const known = this.statements.get(text)
    if (known !== undefined) return known
    const made = this.db.prepare(text)
    this.statements.set(text, made)
    return made
  }

  /** All of what `work` does, or nothing. */
  atOnce<T>(work: () => T): T {
    this.db.exec('BEGIN IMMEDIATE')
    try {
      const done = work()
      this.db.exec('COMMIT')
      return done
    } catch (error) {
      // A disk that is full has rolled it back already.
      if (this.db.isTransaction) this.db.exec('ROLLBACK')
      throw error
    }
  }

  close(): void {
    const { isThere } = this
    this.db.close()
    // SQLite leaves them, and they would be taken for those of whatever is there now. Who only reads knows nothing of what is there now.
    if (!isThere && !this.isReader) removeLogs(this.path)
  }
}

/** Whether the file itself is what is wrong. */
export function isDamage(error: unknown): boolean {
  const code: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'errcode') : null
  return typeof code === 'number' && (code === SHORT_READ || DAMAGED.includes(code & CLASS))
}

/** Or why what is there can't be gone on with. Throws what has nothing to do with what is in it. */
function tryOpen(path: string, form: SqliteForm): Database | string {
  const unfit = prepareFile(path)
  if (unfit !== null) return unfit
  const db = new DatabaseSync(path, { timeout: BUSY_MS, defensive: true })
  try {
    db.exec('PRAGMA trusted_schema = OFF; PRAGMA synchronous = NORMAL')
    db.prepare('PRAGMA journal_mode = WAL').get()
    db.prepare(`PRAGMA journal_size_limit = ${LOG_BYTES}`).get()
    db.prepare(`PRAGMA max_page_count = ${Math.floor(form.bytesMax / PAGE_BYTES)}`).get()
    if (isEmpty(db)) make(db, form)
    const problem = formProblem(db, form)
    if (problem === null) return db
    db.close()
    return problem
  } catch (error) {
    db.close()
    if (isDamage(error)) return messageOf(error)
    throw error
  }
}

/** There, and nobody else's to read; or what it is instead. */
function prepareFile(path: string): string | null {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK, MODE)
  } catch (error) {
    const code = errnoCode(error) ?? ''
    if (['ELOOP', 'EISDIR', 'ENXIO'].includes(code)) return 'it is no file'
    throw error
  }
  try {
    const found = fstatSync(fd)
    if (!found.isFile() || found.nlink !== 1) return 'it is no file of its own'
    fchmodSync(fd, MODE)
    return null
  } finally {
    closeSync(fd)
  }
}

function isEmpty(db: Database): boolean {
  return db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.n === 0 && versionOf(db) === 0
}

function make(db: Database, { applicationId, version, schema }: SqliteForm): void {
  const marks = `PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${version}`
  db.exec(`BEGIN IMMEDIATE; ${schema.join(';')}; ${marks}; COMMIT`)
}

function formProblem(db: Database, { applicationId, version, schema }: SqliteForm): string | null {
  const whose = db.prepare('PRAGMA application_id').get()?.application_id
  if (whose !== applicationId) return 'it is another program’s'
  if (versionOf(db) !== version) return `it has form ${versionOf(db)}, not ${version}`
  // Whole statements: what is not ours, as a trigger, would run with what we write.
  const found = db.prepare('SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid').all()
  const isOurs = found.length === schema.length && found.every(({ sql }, at) => sql === schema[at])
  if (!isOurs) return 'its tables are not ours'
  const checked = db.prepare('PRAGMA quick_check(1)').get()?.quick_check
  return checked === 'ok' ? null : String(checked)
}

function versionOf(db: Database): unknown {
  return db.prepare('PRAGMA user_version').get()?.user_version
}

function putAside(path: string): void {
  rmSync(`${path}${ASIDE}`, { recursive: true, force: true })
  renameSync(path, `${path}${ASIDE}`)
  removeLogs(path)
}

function removeLogs(path: string): void {
  for (const log of LOGS) rmSync(`${path}${log}`, { recursive: true, force: true })
}

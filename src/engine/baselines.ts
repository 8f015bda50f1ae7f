/**
 * What is usual for each identity, kept from session to session in one SQLite file. Guards that each session teaches once, also where an engine
 * dies between; that sessions, names and times that come in have bounds; and that nothing about the file is ever an error of who
 * asks: one that is gone or damaged is said and begun anew, what could not be kept is counted. Not here: which sessions are good enough
 * (live-detection.ts), and how much one teaches (detect/usual.ts).
 */
import { messageOf, SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import { isDamage, SqliteFile } from '../base/sqlite-file.js'
import type { IBaseline } from '../proto/codec.js'
import { BASELINES_FORM, BASELINES_MAX, type BaselinesMax } from './baselines-form.js'
import { forgetIn, identitiesIn } from './baselines-list.js'
import {
  COUNTED,
  type Counted,
  type History,
  type Identity,
  ITEM_KINDS,
  type Item,
  type ItemKind,
  type Learned,
  type UsualVolume,
} from './detect/history.js'
import { type KeptUsual, taught } from './detect/usual.js'

export interface Lesson {
  readonly sessionId: string
  /** Of its end. */
  readonly timeMs: number
  readonly learned: Learned
  /** False: what was new in it is noted, and nothing else. */
  readonly isGood: boolean
  /** Something of it was not seen, so its counts are too low. */
  readonly isPartial: boolean
  /** The list of what is new was given out. */
  readonly isListed: boolean
}

interface Row {
  readonly id: number
  readonly sessions: number
  readonly driftSinceMs: number
}

type SqlRow = Readonly<Record<string, unknown>>

export class Baselines {
  private readonly path: string
  private readonly log: Log
  private readonly max: BaselinesMax
  private file: SqliteFile | null
  /** Sessions that could not be kept, and look-ups that found nothing for that reason. */
  failed = 0
  /** What had no room: identities, items. */
  shed = 0

  /** Throws IO where there can be no file. */
  constructor(path: string, log: Log, max: Partial<BaselinesMax> = {}) {
    this.path = path
    this.log = log
    this.max = { ...BASELINES_MAX, ...max }
    this.file = this.opened()
  }

  /** As it is now; what comes later of other sessions is in its lists. */
  history(identity: Identity): History {
    return historyIn(identity, (ask, otherwise) => this.guarded(ask, otherwise))
  }

  /** A session has ended. */
  learn(identity: Identity, lesson: Lesson): void {
    if (this.file !== null && !this.file.isThere) this.anew('it was removed')
    this.guarded((file) => file.atOnce(() => this.keep(file, identity, lesson)), null)
  }

  /** Throws IO. */
  all(): IBaseline[] {
    return this.asked(identitiesIn)
  }

  /** @returns whether there was something. Throws IO. */
  forget(identity: Identity): boolean {
    return this.asked((file) => forgetIn(file, identity))
  }

  close(): void {
    this.file?.close()
    this.file = null
  }

  /** For people, who are told what is wrong with it. */
  private asked<T>(ask: (file: SqliteFile) => T): T {
    try {
      if (this.file === null) throw new Error('it could not be opened')
      return ask(this.file)
    } catch (error) {
      throw new SluiceError('IO', `${this.path}: ${messageOf(error)}`, { cause: error })
    }
  }

  private keep(file: SqliteFile, identity: Identity, lesson: Lesson): void {
    const { sessionId, timeMs, learned, isGood, isListed } = lesson
    const nowMs = wholeMs(timeMs)
    const known = rowOf(file, identity)
    if (known === null && !isGood) return
    if (file.sql('INSERT OR IGNORE INTO learned (session) VALUES (?)').run(sessionId).changes === 0) return
    const row = known ?? begun(file, identity, nowMs)
    // What is new is news before it is known.
    if (row.sessions >= Math.max(1, learned.settling)) this.noteDrift(file, row, learned)
    if (isListed) {
      file.sql('DELETE FROM drift WHERE identity = ?').run(row.id)
      file.sql('UPDATE identity SET drift_ms = ? WHERE id = ?').run(nowMs, row.id)
    }
    if (isGood) this.teach(file, row, lesson)
    file.sql('UPDATE identity SET last_ms = ? WHERE id = ?').run(nowMs, row.id)
    this.trim(file, nowMs)
  }

  private noteDrift(file: SqliteFile, row: Row, { items, lookBack }: Learned): void {
    const noted = Number(file.sql('SELECT count(*) AS n FROM drift WHERE identity = ?').get(row.id)?.n)
    const insert = file.sql('INSERT OR IGNORE INTO drift (identity, kind, name) VALUES (?, ?, ?)')
    const news = newsIn(file, row, items, lookBack)
    const fitting = news.slice(0, Math.max(0, this.max.drift - noted))
    this.shed += news.length - fitting.length
    for (const { kind, name } of fitting) insert.run(row.id, kind, name)
  }

  private teach(file: SqliteFile, row: Row, { timeMs, learned, isPartial }: Lesson): void {
    const session = row.sessions + 1
    file.sql('UPDATE identity SET sessions = ? WHERE id = ?').run(session, row.id)
    const upsert = file.sql(
      'INSERT INTO item (identity, kind, name, session) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET session = excluded.session',
    )
    for (const { kind, name } of learned.items) upsert.run(row.id, kind, name, session)
    for (const kind of ITEM_KINDS) this.shed += forgetItems(file, row, { kind, max: this.max.items })
    if (learned.windowMs === 0 || isPartial) return
    for (const counted of COUNTED) {
      const usual = learned.volume[counted]
      if (usual === undefined || usual.windows === 0) continue
      keepUsual(file, { row, counted, windowMs: learned.windowMs, session }, (kept) =>
        taught(kept, usual, counted, wholeMs(timeMs)),
      )
    }
    forgetWindows(file, row, this.max.windowKinds)
  }

  /** What nobody uses any more, and who was not seen for longest. */
  private trim(file: SqliteFile, nowMs: number): void {
    const { identities, ageMs, learned } = this.max
    file.sql('DELETE FROM identity WHERE last_ms < ?').run(nowMs - ageMs)
    const over = Number(file.sql('SELECT count(*) AS n FROM identity').get()?.n) - identities
    if (over > 0) {
      const oldest = 'SELECT id FROM identity ORDER BY last_ms, id LIMIT ?'
      this.shed += Number(file.sql(`DELETE FROM identity WHERE id IN (${oldest})`).run(over).changes)
    }
    file.sql('DELETE FROM learned WHERE id <= (SELECT max(id) FROM learned) - ?').run(learned)
  }

  /** Whatever is wrong with the file is no business of who asks. */
  private guarded<T>(ask: (file: SqliteFile) => T, otherwise: T): T {
    try {
      return this.file === null ? this.complain('it could not be opened', otherwise) : ask(this.file)
    } catch (error) {
      if (isDamage(error)) this.anew(messageOf(error))
      return this.complain(messageOf(error), otherwise)
    }
  }

  /** Each would be one more; the first says it. */
  private complain<T>(error: string, otherwise: T): T {
    this.failed += 1
    if (this.failed === 1) this.log.error({ file: this.path, error }, 'what is usual could not be kept or looked up')
    return otherwise
  }

  private anew(reason: string): void {
    this.log.warn({ file: this.path, reason }, 'what was usual is lost and learnt anew')
    this.file?.close()
    this.file = null
    try {
      this.file = this.opened()
    } catch (error) {
      this.complain(messageOf(error), null)
    }
  }

  private opened(): SqliteFile {
    return SqliteFile.open(this.path, { ...BASELINES_FORM, bytesMax: this.max.bytes }, (reason) =>
      this.log.warn({ file: this.path, reason }, 'what was usual can not be read; it is put aside, and learnt anew'),
    )
  }
}

/** Of a file that is there, for a replay: nothing is changed. Throws IO. */
export function readBaselines(path: string): { history(agent: string): History | null } {
  const file = SqliteFile.read(path, { ...BASELINES_FORM, bytesMax: BASELINES_MAX.bytes })
  const owners = 'SELECT owner FROM identity WHERE agent = ? ORDER BY sessions DESC, owner LIMIT 1'
  return {
    history(agent) {
      const ownerUid = Number(file.sql(owners).get(agent)?.owner)
      return Number.isNaN(ownerUid) ? null : historyIn({ agent, ownerUid }, (ask) => ask(file))
    },
  }
}

type Guard = <T>(ask: (file: SqliteFile) => T, otherwise: T) => T

function historyIn(identity: Identity, guarded: Guard): History {
  const row = guarded((file) => rowOf(file, identity), null)
  return {
    sessions: row?.sessions ?? 0,
    driftSinceMs: row?.driftSinceMs ?? null,
    usual: (windowMs) => (row === null ? {} : guarded((file) => usualIn(file, row, windowMs), {})),
    get drift() {
      return row === null ? [] : guarded((file) => driftIn(file, row), [])
    },
    news: (items, sessions) => (row === null ? [] : guarded((file) => newsIn(file, row, items, sessions), [])),
  }
}

function rowOf(file: SqliteFile, { agent, ownerUid }: Identity): Row | null {
  const found = file
    .sql('SELECT id, sessions, drift_ms FROM identity WHERE agent = ? AND owner = ?')
    .get(agent, ownerUid)
  if (found === undefined) return null
  return { id: Number(found.id), sessions: Number(found.sessions), driftSinceMs: Number(found.drift_ms) }
}

function begun(file: SqliteFile, { agent, ownerUid }: Identity, nowMs: number): Row {
  const insert = 'INSERT INTO identity (agent, owner, sessions, last_ms, drift_ms) VALUES (?, ?, 0, ?, ?)'
  const id = Number(file.sql(insert).run(agent, ownerUid, nowMs, nowMs).lastInsertRowid)
  return { id, sessions: 0, driftSinceMs: nowMs }
}

const USUAL = 'mean, deviation, windows, sessions, anchor_mean, anchor_deviation, anchor_ms'

function usualIn(file: SqliteFile, { id }: Row, windowMs: number): UsualVolume {
  const rows = file.sql(`SELECT counted, ${USUAL} FROM usual WHERE identity = ? AND window_ms = ?`).all(id, windowMs)
  const known = rows.flatMap((row) => {
    const kept = keptIn(row)
    return kept === null ? [] : [[String(row.counted), kept] as const]
  })
  return Object.fromEntries(known)
}

/** What is no number that we would have written counts as not there. */
function keptIn(row: SqlRow): KeptUsual | null {
  const kept = {
    ...{ mean: Number(row.mean), deviation: Number(row.deviation), windows: Number(row.windows) },
    ...{ sessions: Number(row.sessions), anchorMean: Number(row.anchor_mean) },
    ...{ anchorDeviation: Number(row.anchor_deviation), anchorMs: Number(row.anchor_ms) },
  }
  return Object.values(kept).every((value) => Number.isFinite(value) && value >= 0) ? kept : null
}

function keepUsual(
  file: SqliteFile,
  at: { row: Row; counted: Counted; windowMs: number; session: number },
  next: (kept: KeptUsual | null) => KeptUsual,
): void {
  const key = [at.row.id, at.windowMs, at.counted] as const
  const where = 'WHERE identity = ? AND window_ms = ? AND counted = ?'
  const found = file.sql(`SELECT ${USUAL} FROM usual ${where}`).get(...key)
  const usual = next(found === undefined ? null : keptIn(found))
  const { mean, deviation, windows, sessions, anchorMean, anchorDeviation, anchorMs } = usual
  file
    .sql(
      `INSERT OR REPLACE INTO usual (identity, window_ms, counted, ${USUAL}, session) VALUES (?,?,?,?,?,?,?,?,?,?,?)`,
    )
    .run(...key, mean, deviation, windows, sessions, anchorMean, anchorDeviation, anchorMs, at.session)
}

function driftIn(file: SqliteFile, { id }: Row): Item[] {
  const rows = file.sql('SELECT kind, name FROM drift WHERE identity = ? ORDER BY id').all(id)
  return rows.map(({ kind, name }) => ({ kind: kind as ItemKind, name: String(name) }))
}

/** Not noted yet either. */
function newsIn(file: SqliteFile, { id }: Row, items: readonly Item[], sessions: number): Item[] {
  const now = Number(file.sql('SELECT sessions FROM identity WHERE id = ?').get(id)?.sessions ?? 0)
  const used = file.sql('SELECT 1 FROM item WHERE identity = ? AND kind = ? AND name = ? AND session > ?')
  const noted = file.sql('SELECT 1 FROM drift WHERE identity = ? AND kind = ? AND name = ?')
  return items.filter(
    ({ kind, name }) =>
      used.get(id, kind, name, now - sessions) === undefined && noted.get(id, kind, name) === undefined,
  )
}

/** Of one kind those that were not used for longest. */
function forgetItems(file: SqliteFile, { id }: Row, { kind, max }: { kind: ItemKind; max: number }): number {
  const kept = Number(file.sql('SELECT count(*) AS n FROM item WHERE identity = ? AND kind = ?').get(id, kind)?.n)
  if (kept <= max) return 0
  const oldest = 'SELECT name FROM item WHERE identity = ? AND kind = ? ORDER BY session, name LIMIT ?'
  const removed = file
    .sql(`DELETE FROM item WHERE identity = ? AND kind = ? AND name IN (${oldest})`)
    .run(id, kind, id, kind, kept - max)
  return Number(removed.changes)
}

/** A policy that changes its windows leaves old ones behind. */
function forgetWindows(file: SqliteFile, { id }: Row, max: number): void {
  const latest = 'SELECT window_ms FROM usual WHERE identity = ? GROUP BY window_ms ORDER BY max(session) DESC LIMIT ?'
  file.sql(`DELETE FROM usual WHERE identity = ? AND window_ms NOT IN (${latest})`).run(id, id, max)
}

function wholeMs(timeMs: number): number {
  return Math.max(0, Math.round(timeMs)) || 0
}

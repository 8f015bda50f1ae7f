/**
 * The file of the spool, as the engine writes it: whole chunks in one transaction, and the oldest go where there are too many. Guards its bounds:
 * telemetry has its share, what is reserved has all that is left, and what goes is told in its place, exactly. Not here: when, and what
 * happens when the disk takes nothing.
 */
import { randomUUID } from 'node:crypto'
import { SqliteFile } from '../../base/sqlite-file.js'
import { type ChunkPart, joinParts, spoolForm } from '../../proto/spool/spool-form.js'
import { type Chunk, PARTS_MAX, type Shed } from './chunk-writer.js'

/** Of the whole, for telemetry; the rest is kept free for what is reserved. */
const TELEMETRY_SHARE = 0.75
/** Of places that are told; the count of an older one shows in the positions. */
const SHED_MAX = 4_096
const SHED_AT_ONCE = 64
const TOO_OLD = 'the spool kept it for as long as it may and no sink had taken it'
const TOO_MUCH = 'the spool was full and no sink had taken it'

export interface SpoolBounds {
  readonly bytesMax: number
  readonly ageMaxMs: number
}

type Bytes = Record<'telemetry' | 'reserved', number>

export class SpoolFile {
  readonly id: string
  /** The position of the next event. */
  readonly next: number
  private readonly file: SqliteFile
  private readonly bounds: SpoolBounds
  private readonly bytes: Bytes = { telemetry: 0, reserved: 0 }
  /** Of the clock that chunks have their times from. */
  private latestMs = 0
  /** Events that went, since it was opened. */
  shed = 0

  /**
   * @param went the one that this one stands in for: its numbers go on. Throws IO.
   * @param onAside with what was wrong with the one that was there
   */
  constructor(
    path: string,
    bounds: SpoolBounds,
    { went, onAside }: { went: { id: string; next: number } | null; onAside(reason: string): void },
  ) {
    this.bounds = bounds
    this.file = SqliteFile.open(path, spoolForm(bounds.bytesMax), onAside)
    try {
      const found = this.file.sql('SELECT id, next FROM spool').get()
      const id = went?.id ?? (found === undefined ? randomUUID() : String(found.id))
      this.id = id
      this.next = Math.max(went?.next ?? 1, Number(found?.next ?? 1))
      this.file.atOnce(() => {
        this.file.sql('DELETE FROM spool').run()
        this.file.sql('INSERT INTO spool (id, next) VALUES (?, ?)').run(id, this.next)
      })
      for (const row of this.file.sql('SELECT reserved, sum(bytes) AS bytes FROM chunk GROUP BY reserved').all()) {
        this.bytes[classOf(row.reserved)] = Number(row.bytes)
      }
      this.latestMs = Number(this.file.sql('SELECT max(unix_ms) AS ms FROM chunk').get()?.ms ?? 0)
    } catch (error) {
      this.file.close()
      throw error
    }
  }

  get isThere(): boolean {
    return this.file.isThere
  }

  /** Of all chunks. */
  get bytesKept(): number {
    return this.bytes.telemetry + this.bytes.reserved
  }

  /** All of it, or nothing. */
  write({ chunks, shed, next }: { chunks: readonly Chunk[]; shed: readonly Shed[]; next: number }): void {
    const before = { ...this.bytes }
    try {
      this.file.atOnce(() => {
        for (const chunk of chunks) this.insert(chunk)
        for (const each of shed) this.tell(each)
        this.file.sql('UPDATE spool SET next = ?').run(next)
        this.shedDownTo()
      })
    } catch (error) {
      Object.assign(this.bytes, before)
      throw error
    }
  }

  /** @param taken every sink has what is before it */
  trim(taken: number, nowMs: number): void {
    const before = { ...this.bytes }
    try {
      this.file.atOnce(() => {
        this.drop(taken)
        // A clock that was set back: what came before that is as old as can be.
        if (nowMs < this.latestMs) this.file.sql('UPDATE chunk SET unix_ms = ? WHERE unix_ms > ?').run(nowMs, nowMs)
        this.shedOld(nowMs - this.bounds.ageMaxMs)
      })
      this.latestMs = nowMs
    } catch (error) {
      Object.assign(this.bytes, before)
      throw error
    }
  }

  /** Bodies of the newest chunks, for who wants to know which events are there already. */
  newest(chunks: number): Buffer[] {
    const rows = this.file.sql('SELECT body FROM chunk ORDER BY first DESC LIMIT ?').all(chunks)
    return rows.map(({ body }) => Buffer.from(body as Uint8Array))
  }

  close(): void {
    this.file.close()
  }

  private insert({ first, count, reserved, unixMs, bytes, parts, body }: Chunk): void {
    this.file
      .sql('INSERT INTO chunk (first, count, reserved, unix_ms, bytes, parts, body) VALUES (?, ?, ?, ?, ?, ?, ?)')
      .run(first, count, reserved ? 1 : 0, unixMs, bytes, JSON.stringify(parts), body)
    this.bytes[reserved ? 'reserved' : 'telemetry'] += bytes
  }

  private drop(taken: number): void {
    const where = 'WHERE first < ? AND first + count <= ?'
    const gone = this.file.sql(`SELECT reserved, sum(bytes) AS bytes FROM chunk ${where} GROUP BY reserved`)
    const rows = gone.all(taken, taken)
    if (rows.length > 0) this.file.sql(`DELETE FROM chunk ${where}`).run(taken, taken)
    for (const row of rows) this.bytes[classOf(row.reserved)] -= Number(row.bytes)
    this.file.sql(`DELETE FROM shed ${where}`).run(taken, taken)
  }

  private shedDownTo(): void {
    const { bytesMax } = this.bounds
    const isTooMuch = () => this.bytes.telemetry > bytesMax * TELEMETRY_SHARE || this.bytesKept > bytesMax
    while (isTooMuch() && this.bytes.telemetry > 0) this.shedSome(0, isTooMuch)
    // Nothing else is left: what is reserved has the whole, and no more.
    while (this.bytesKept > bytesMax && this.bytes.reserved > 0) this.shedSome(1, () => this.bytesKept > bytesMax)
  }

  private shedSome(reserved: 0 | 1, goesOn: () => boolean): void {
    const oldest = 'SELECT first, count, reserved, bytes, parts FROM chunk WHERE reserved = ? ORDER BY first LIMIT ?'
    for (const row of this.file.sql(oldest).all(reserved, SHED_AT_ONCE)) if (goesOn()) this.shedOne(row, TOO_MUCH)
  }

  private shedOld(beforeMs: number): void {
    const old =
      'SELECT first, count, reserved, bytes, parts, unix_ms FROM chunk WHERE reserved = 0 ORDER BY first LIMIT ?'
    for (;;) {
      const rows = this.file.sql(old).all(SHED_AT_ONCE)
      const gone = rows.filter((row) => Number(row.unix_ms) < beforeMs)
      for (const row of gone) this.shedOne(row, TOO_OLD)
      if (gone.length < SHED_AT_ONCE) return
    }
  }

  private shedOne(row: Record<string, unknown>, cause: string): void {
    const first = Number(row.first)
    const count = Number(row.count)
    this.file.sql('DELETE FROM chunk WHERE first = ?').run(first)
    this.bytes[classOf(row.reserved)] -= Number(row.bytes)
    this.shed += count
    this.tell({ first, count, cause, parts: JSON.parse(String(row.parts)) as ChunkPart[] })
  }

  private tell({ first, count, cause, parts }: Shed): void {
    const before = this.file.sql(
      'SELECT first, count, cause, parts FROM shed WHERE first < ? ORDER BY first DESC LIMIT 1',
    )
    const last = before.get(first)
    const isNeighbour = last !== undefined && Number(last.first) + Number(last.count) === first && last.cause === cause
    const joined = isNeighbour ? joinParts(JSON.parse(String(last.parts)) as ChunkPart[], parts, PARTS_MAX) : null
    if (last !== undefined && joined !== null) {
      const longer = this.file.sql('UPDATE shed SET count = ?, parts = ? WHERE first = ?')
      longer.run(Number(last.count) + count, JSON.stringify(joined), Number(last.first))
      return
    }
    const insert = this.file.sql('INSERT INTO shed (first, count, cause, parts) VALUES (?, ?, ?, ?)')
    insert.run(first, count, cause, JSON.stringify(parts))
    const tooMany = 'DELETE FROM shed WHERE first <= (SELECT first FROM shed ORDER BY first DESC LIMIT 1 OFFSET ?)'
    this.file.sql(tooMany).run(SHED_MAX)
  }
}

function classOf(reserved: unknown): keyof Bytes {
  return Number(reserved) === 0 ? 'telemetry' : 'reserved'
}

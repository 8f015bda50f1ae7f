/**
 * The spool as the sinks read it: from a position on, in order, with what is missing told in its place. Guards that a spool which is damaged, gone or
 * another one than before is waited for and gone on with, that what can't be read now is never taken for missing, and that no position is
 * skipped without a word. Not here: how far a sink is.
 */
import { join } from 'node:path'
import { messageOf } from '../base/error.js'
import { SqliteFile } from '../base/sqlite-file.js'
import type { IEvent } from '../proto/codec.js'
import { CHUNK_BYTES_MAX, CHUNK_EVENTS_MAX, type ChunkPart, SPOOL_FILE, spoolForm } from '../proto/spool/spool-form.js'
import { nodeGap, type SpoolGap, sessionGap } from './spool-gap.js'
import { type SpooledEvent, SpooledEvents } from './spooled-event.js'

const NS_PER_MS = 1_000_000n
/** Sinks are near each other most of the time. */
const CHUNKS_KEPT = 256
const BYTES_KEPT = 8 * CHUNK_BYTES_MAX
const REMOVED =
  'the spool does not have them: its file was removed or damaged, it could not be written as its engine died, or they went long ago'

const UNREADABLE = 'the spool has something else in their place: its file was damaged'
const UNKNOWN = 'the spool has an event of a kind that this version does not know, or its file was damaged'

export interface Place {
  readonly spoolId: string
  readonly position: number
}

export interface Read {
  readonly events: readonly SpooledEvent[]
  /** One position each: what is behind some of them can be read again. */
  readonly isWhole: boolean
  /** Of the event behind the last of them. */
  readonly next: Place
}

interface Ends {
  readonly id: string
  /** Position of the event that comes next. */
  readonly next: number
}

interface ChunkRead {
  readonly first: number
  readonly count: number
  readonly events: readonly SpooledEvent[] | null
}

interface Kept {
  readonly count: number
  /** As they are in the spool. */
  readonly bytes: number
  readonly events: readonly SpooledEvent[]
}

export class SpoolReader {
  private readonly path: string
  private file: SqliteFile | null = null
  private problem: string | null = null
  private readonly onProblem: (problem: string | null) => void
  private readonly kept = new Map<number, Kept>()
  private keptOf = ''
  private readonly events = new SpooledEvents()

  /** @param onProblem why nothing can be read; null: it can be again */
  constructor(folder: string, onProblem: (problem: string | null) => void) {
    this.path = join(folder, SPOOL_FILE)
    this.onProblem = onProblem
  }

  /** Where the spool ends; null: there is none that can be read. */
  ends(): Ends | null {
    return this.reading(endsOf)
  }

  /** What is behind that place; null: nothing, or nothing that can be read, yet. */
  read(from: Place | null): Read | null {
    return this.reading((file) => this.readFrom(file, from))
  }

  close(): void {
    this.file?.close()
    this.file = null
  }

  /** Throws where the file can't be read: that says nothing of what is in it. */
  private readFrom(file: SqliteFile, from: Place | null): Read | null {
    const ends = endsOf(file)
    if (ends === null) return null
    const spoolId = ends.id
    if (this.keptOf !== spoolId) this.kept.clear()
    this.keptOf = spoolId
    if (from !== null && from.spoolId !== spoolId) return this.another(spoolId)
    const position = from?.position ?? oldest(file) ?? ends.next
    if (position >= ends.next) return null
    const chunk = this.chunkAt(file, position, spoolId)
    if (chunk === null || chunk.first > position) {
      const until = Math.min(chunk?.first ?? ends.next, ends.next)
      const gaps = missing(file, { spoolId, from: position, until })
      const events = gaps.flatMap((gap) => this.events.one(gap))
      return { events, isWhole: false, next: { spoolId, position: until } }
    }
    const until = chunk.first + chunk.count
    const next = { spoolId, position: until }
    if (chunk.events !== null) return { events: chunk.events.slice(position - chunk.first), isWhole: true, next }
    const gap: SpoolGap = { spoolId, position, count: until - position, exact: true, cause: UNREADABLE }
    return { events: this.events.one(nodeGap(gap, now())), isWhole: false, next }
  }

  /** The first that ends behind the position; `events` null: there is something else in their place. */
  private chunkAt(file: SqliteFile, position: number, spoolId: string): ChunkRead | null {
    for (const [first, { count, events }] of this.kept) {
      if (first <= position && position < first + count) return { first, count, events }
    }
    const next = 'SELECT first, count, body FROM chunk WHERE first > ? AND first + count > ? ORDER BY first LIMIT 1'
    const row = file.sql(next).get(position - CHUNK_EVENTS_MAX, position)
    if (row === undefined) return null
    const first = Number(row.first)
    const body = row.body as Uint8Array
    const count = Number(row.count)
    const events = this.eventsIn(body, { spoolId, first, count })
    if (events === null) return { first, count, events }
    this.kept.set(first, { count, bytes: body.length, events })
    this.keepFew()
    return { first, count, events }
  }

  /** The oldest go. */
  private keepFew(): void {
    let bytes = 0
    for (const each of this.kept.values()) bytes += each.bytes
    for (const [first, oldest] of this.kept) {
      if (this.kept.size <= CHUNKS_KEPT && bytes <= BYTES_KEPT) return
      bytes -= oldest.bytes
      this.kept.delete(first)
    }
  }

  /** Null: that is not the chunk that it was. */
  private eventsIn(
    body: Uint8Array,
    { spoolId, first, count }: { spoolId: string; first: number; count: number },
  ): SpooledEvent[] | null {
    const gap = { spoolId, count: 1, exact: true, cause: UNKNOWN }
    try {
      const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
      const events = this.events.of(bytes, (index) => nodeGap({ ...gap, position: first + index }, now()))
      return events.length === count ? events : null
    } catch {
      return null
    }
  }

  private another(id: string): Read {
    const cause = 'the spool was begun anew; how many events were in the one before it is not known'
    const gap: SpoolGap = { spoolId: id, position: 0, count: 0, exact: false, cause }
    return { events: this.events.one(nodeGap(gap, now())), isWhole: false, next: { spoolId: id, position: 1 } }
  }

  private reading<T>(work: (file: SqliteFile) => T): T | null {
    try {
      if (this.file?.isThere === false) this.close()
      this.file ??= SqliteFile.read(this.path, spoolForm(0))
      const done = work(this.file)
      if (this.problem !== null) this.onProblem(null)
      this.problem = null
      return done
    } catch (error) {
      try {
        this.close()
      } catch {
        this.file = null
      }
      const problem = messageOf(error)
      if (problem !== this.problem) this.onProblem(problem)
      this.problem = problem
      return null
    }
  }
}

function endsOf(file: SqliteFile): Ends | null {
  const found = file.sql('SELECT id, next FROM spool').get()
  return found === undefined ? null : { id: String(found.id), next: Number(found.next) }
}

function oldest(file: SqliteFile): number | null {
  const firsts = ['chunk', 'shed'].map((table) => file.sql(`SELECT min(first) AS first FROM ${table}`).get()?.first)
  const known = firsts.filter((first) => typeof first === 'number')
  return known.length === 0 ? null : Math.min(...known)
}

/** By session where that is known; the rest by its number alone. */
function missing(
  file: SqliteFile,
  { spoolId, from, until }: { spoolId: string; from: number; until: number },
): IEvent[] {
  const events: IEvent[] = []
  let untold = until - from
  const told = file
    .sql('SELECT first, count, cause, parts FROM shed WHERE first >= ? AND first + count <= ? ORDER BY first')
    .all(from, until)
  for (const row of told) {
    const [position, count] = [Number(row.first), Number(row.count)]
    const gap = { spoolId, position, count, exact: true, cause: String(row.cause) }
    for (const part of JSON.parse(String(row.parts)) as ChunkPart[]) events.push(sessionGap(gap, part))
    untold -= count
  }
  if (untold > 0) events.push(nodeGap({ spoolId, position: from, count: untold, exact: true, cause: REMOVED }, now()))
  return events
}

function now(): bigint {
  return BigInt(Date.now()) * NS_PER_MS
}

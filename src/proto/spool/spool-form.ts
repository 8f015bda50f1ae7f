/**
 * What is in a node's spool, as the engine writes it and the sinks read it: events in chunks, numbered by their positions without a hole; what had to
 * be left out in their place; and, in a file of the sinks' own, how far each of them is. Guards that every position is either an event or
 * counted. Not here: who writes, who reads.
 */
import type { SqliteForm } from '../../base/sqlite-file.js'
import type { IEvent } from '../codec.js'
import { toBigInt } from '../codec.js'

export const SPOOL_FILE = 'spool.db'
export const CURSORS_FILE = 'cursors.db'

/** "SLSP", "SLCU". */
const SPOOL_ID = 0x534c5350
const CURSORS_ID = 0x534c4355
/** Pages that are free but not given back, indexes, what is told of chunks that are gone. */
const ROOM = 1.25
const ROOM_BYTES = 16 * 1024 * 1024
const CURSORS_BYTES = 16 * 1024 * 1024

export const CHUNK_EVENTS_MAX = 1_024
export const CHUNK_BYTES_MAX = 256 * 1024
/** What a chunk takes besides its events. */
export const CHUNK_OWN_BYTES = 256

/** @param bytesMax of events */
export function spoolForm(bytesMax: number): SqliteForm {
  return {
    ...{ applicationId: SPOOL_ID, version: 1, bytesMax: bytesMax * ROOM + ROOM_BYTES },
    schema: [
      'CREATE TABLE spool (id TEXT NOT NULL, next INTEGER NOT NULL) STRICT',
      // reserved: never shed while there is something else. parts: of each session, JSON. body: a RunResponse.
      'CREATE TABLE chunk (first INTEGER PRIMARY KEY, count INTEGER NOT NULL, reserved INTEGER NOT NULL, unix_ms INTEGER NOT NULL, ' +
        'bytes INTEGER NOT NULL, parts TEXT NOT NULL, body BLOB NOT NULL) STRICT',
      'CREATE INDEX chunk_oldest ON chunk (reserved, first)',
      'CREATE TABLE shed (first INTEGER PRIMARY KEY, count INTEGER NOT NULL, cause TEXT NOT NULL, parts TEXT NOT NULL) STRICT',
    ],
  }
}

export const CURSORS_FORM: SqliteForm = {
  ...{ applicationId: CURSORS_ID, version: 1, bytesMax: CURSORS_BYTES },
  schema: ['CREATE TABLE cursor (sink TEXT PRIMARY KEY, spool TEXT NOT NULL, position INTEGER NOT NULL) STRICT'],
}

/** Of one session among the events of a chunk. */
export interface ChunkPart {
  readonly node: { readonly name: string; readonly bootId: string }
  readonly sandbox: { readonly id: string; readonly name: string }
  readonly sessionId: string
  count: number
  /** Decimal, as JSON has no numbers of 64 bits. */
  readonly firstSeq: string
  lastSeq: string
  readonly fromUnixNs: string
  toUnixNs: string
}

/** Adds one event to what is told of a chunk. */
export function countPart(parts: Map<string, ChunkPart>, event: IEvent): void {
  const sessionId = event.sessionId ?? ''
  const seq = String(toBigInt(event.seq))
  const time = String(toBigInt(event.timeUnixNs))
  const known = parts.get(sessionId)
  if (known !== undefined) {
    known.count++
    known.lastSeq = seq
    known.toUnixNs = time
    return
  }
  parts.set(sessionId, {
    node: { name: event.node?.name ?? '', bootId: event.node?.bootId ?? '' },
    sandbox: { id: event.sandbox?.id ?? '', name: event.sandbox?.name ?? '' },
    ...{ sessionId, count: 1, firstSeq: seq, lastSeq: seq, fromUnixNs: time, toUnixNs: time },
  })
}

/** What is told of two neighbours at once; null: they have too many sessions. */
export function joinParts(before: readonly ChunkPart[], behind: readonly ChunkPart[], max: number): ChunkPart[] | null {
  const joined = new Map(before.map((part) => [part.sessionId, { ...part }]))
  for (const part of behind) {
    const known = joined.get(part.sessionId)
    if (known === undefined) joined.set(part.sessionId, { ...part })
    else {
      known.count += part.count
      known.lastSeq = part.lastSeq
      known.toUnixNs = part.toUnixNs
    }
  }
  return joined.size > max ? null : [...joined.values()]
}

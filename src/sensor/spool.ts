/**
 * Batches on disk until an engine has taken them: files of raw frames in one directory, oldest first, read back in order. It outlives the
 * sensor's process. Guards its size: when it is full, or the disk is, the oldest file goes and what was in it is counted by kind;
 * and that a damaged file costs what was damaged and no more. Not here: when to write and what to send (outbox.ts).
 *
 * Nothing is synced: the page cache outlives a process, and after a crash of the machine there is nobody left to tell.
 */
import { closeSync, ftruncateSync, openSync, readdirSync, readFileSync, rmSync, writevSync } from 'node:fs'
import { join } from 'node:path'
import { errnoCode, messageOf, SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import { makeFolders } from '../base/make-folders.js'
import { addKinds, type BatchFrame, KINDS_MAX, RECORD_HEAD_BYTES, readRecord, recordHead } from './spool-record.js'

const SUFFIX = '.batches'
const NAME_DIGITS = 20
const FILE_NAME = /^\d{20}\.batches$/
/** A spool has at least so many files: one is the least that can be dropped. */
const FILES_MIN = 16
const FILE_BYTES_MAX = 16 * 1024 * 1024
const SPOOL_MODE = 0o700
const FILE_MODE = 0o600

/** Batches that are gone, in one row, with how many events of each kind they had. */
export interface DroppedBatches {
  readonly first: number
  readonly last: number
  readonly kinds: Uint32Array
  readonly cause: string
}

interface SpoolFile {
  readonly path: string
  /** Numbers of its oldest and newest batch. */
  readonly first: number
  last: number
  bytes: number
  readonly kinds: Uint32Array
}

export interface SpoolOptions {
  /** Made if missing; ours alone. */
  readonly dir: string
  readonly bytesMax: number
  readonly log: Log
}

export class Spool {
  /**
   * Up to here an engine may have taken batches without having said so yet. Of these, what is dropped is kept one by one, because the
   * engine's word may come when they are gone.
   */
  sentUpTo = 0
  readonly #options: SpoolOptions
  readonly #fileBytes: number
  /** Oldest first. Only the last is written to. */
  readonly #files: SpoolFile[]
  #dropped: DroppedBatches[] = []
  #bytes: number
  #forgotten = 0
  #writing: number | null = null
  /** The file that is being sent, and where to go on in it. */
  #reading: { file: SpoolFile; content: Buffer; nextAt: number; nextSeq: number } | null = null
  #complained = false

  /** Reads what an earlier sensor left. Throws IO if the directory can't be used. */
  constructor(options: SpoolOptions) {
    this.#options = options
    this.#fileBytes = Math.min(FILE_BYTES_MAX, Math.floor(options.bytesMax / FILES_MIN))
    try {
      makeFolders(options.dir, SPOOL_MODE)
      const names = readdirSync(options.dir).filter((name) => FILE_NAME.test(name))
      this.#files = names.sort().flatMap((name) => this.#open(join(options.dir, name)) ?? [])
    } catch (error) {
      throw new SluiceError('IO', `the spool ${options.dir} can't be used: ${messageOf(error)}`, {
        hint: 'name a directory that root may write to',
        cause: error,
      })
    }
    this.#bytes = this.#files.reduce((sum, file) => sum + file.bytes, 0)
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Number of the oldest batch; 0 if there is none. */
  get first(): number {
    const [oldest] = this.#files
    return oldest === undefined ? 0 : Math.max(oldest.first, this.#forgotten + 1)
  }

  /** Number of the newest batch; 0 if there is none. */
  get last(): number {
    return this.#files.at(-1)?.last ?? 0
  }

  /** What had to go, oldest first. It ends before the first batch that is still there. Forgotten with `forget`. */
  get dropped(): readonly DroppedBatches[] {
    return this.#dropped
  }

  /** Takes the next batch; numbers must rise. What there is no room for, on the disk or by our own limit, is `dropped`. */
  append(frame: BatchFrame): void {
    const size = RECORD_HEAD_BYTES + frame.bytes.length
    while (this.#bytes + size > this.#options.bytesMax && this.#files.length > 0) this.#dropOldest('the spool was full')
    for (;;) {
      try {
        this.#write(frame, size)
        this.#complained = false
        return
      } catch (error) {
        const cause = `the spool could not be written (${errnoCode(error) ?? messageOf(error)})`
        if (!this.#complained) this.#options.log.error({ error: messageOf(error) }, 'events are dropped')
        this.#complained = true
        if (this.#files.length === 0) {
          this.#drop({ first: frame.seq, last: frame.seq, kinds: Uint32Array.from(frame.kinds), cause })
          return
        }
        this.#dropOldest(cause)
      }
    }
  }

  /** As `append`, for a batch that is on its way: false where there is no room for it, and nothing goes for it. */
  keep(frame: BatchFrame): boolean {
    const size = RECORD_HEAD_BYTES + frame.bytes.length
    if (this.#bytes + size > this.#options.bytesMax) return false
    try {
      this.#write(frame, size)
      return true
    } catch {
      return false
    }
  }

  /** The first batch from `seq` on; null behind the last. To be read in order; its bytes are good until the next call. */
  read(seq: number): BatchFrame | null {
    for (const file of this.#files) {
      if (file.last < seq) continue
      const found = this.#readFrom(file, seq)
      if (found !== null) return found
    }
    return null
  }

  /** Batches up to `seq` are not needed any more. */
  forget(seq: number): void {
    this.#forgotten = Math.max(this.#forgotten, seq)
    this.#dropped = this.#dropped.filter(({ last }) => last > seq)
    while ((this.#files[0]?.last ?? Number.POSITIVE_INFINITY) <= seq) this.#removeOldest()
  }

  close(): void {
    if (this.#writing !== null) closeSync(this.#writing)
    this.#writing = null
    this.#reading = null
  }

  /** Null for a file of which nothing can be read; it is removed. */
  #open(path: string): SpoolFile | null {
    const content = readFileSync(path)
    let file: SpoolFile | null = null
    let at = 0
    for (let record = readRecord(content, at); record.kind !== 'torn'; record = readRecord(content, at)) {
      at = record.next
      if (record.kind === 'damaged' || record.frame.seq <= (file?.last ?? 0)) continue
      const { seq, kinds } = record.frame
      file ??= { path, first: seq, last: seq, bytes: content.length, kinds: new Uint32Array(KINDS_MAX) }
      file.last = seq
      addKinds(file.kinds, kinds)
    }
    if (at < content.length) this.#options.log.warn({ path, bytes: content.length - at }, 'the spool lost a torn end')
    if (file === null) rmSync(path)
    return file
  }

  /** A file of an earlier sensor is never written to: its end may be torn. */
  #write(frame: BatchFrame, size: number): void {
    const newest = this.#files.at(-1)
    if (newest === undefined || this.#writing === null || newest.bytes + size > this.#fileBytes) {
      this.#begin(frame, size)
      return
    }
    this.#put(frame, size, newest.bytes)
    newest.bytes += size
    newest.last = frame.seq
    addKinds(newest.kinds, frame.kinds)
    this.#bytes += size
  }

  #begin(frame: BatchFrame, size: number): void {
    const { seq } = frame
    if (this.#writing !== null) closeSync(this.#writing)
    this.#writing = null
    const path = join(this.#options.dir, `${String(seq).padStart(NAME_DIGITS, '0')}${SUFFIX}`)
    this.#writing = openSync(path, 'ax', FILE_MODE)
    try {
      this.#put(frame, size, 0)
    } catch (error) {
      closeSync(this.#writing)
      this.#writing = null
      rmSync(path, { force: true })
      throw error
    }
    this.#files.push({ path, first: seq, last: seq, bytes: size, kinds: Uint32Array.from(frame.kinds) })
    this.#bytes += size
  }

  /** All of it or nothing. */
  #put(frame: BatchFrame, size: number, at: number): void {
    const fd = this.#writing ?? -1
    const written = writevSync(fd, [recordHead(frame), frame.bytes])
    if (written === size) return
    ftruncateSync(fd, at)
    throw new Error(`the disk took ${written} of ${size} bytes`)
  }

  /** Null if nothing from `seq` on can be read from the file. */
  #readFrom(file: SpoolFile, seq: number): BatchFrame | null {
    if (this.#reading?.file !== file && !this.#load(file)) return null
    let found = this.#findInLoaded(seq)
    if (found === null && (this.#reading?.content.length ?? 0) < file.bytes && this.#load(file)) {
      found = this.#findInLoaded(seq)
    }
    return found
  }

  #findInLoaded(seq: number): BatchFrame | null {
    const reading = this.#reading
    if (reading === null) return null
    const found = findFrame(reading.content, seq >= reading.nextSeq ? reading.nextAt : 0, seq)
    if (found === null) return null
    reading.nextAt = found.next
    reading.nextSeq = found.frame.seq + 1
    return found.frame
  }

  #load(file: SpoolFile): boolean {
    try {
      const place = this.#reading?.file === file ? this.#reading : { nextAt: 0, nextSeq: file.first }
      this.#reading = { ...place, file, content: readFileSync(file.path) }
      return true
    } catch (error) {
      this.#options.log.error({ path: file.path, error: messageOf(error) }, 'the spool could not be read')
      return false
    }
  }

  #dropOldest(cause: string): void {
    const [oldest] = this.#files
    if (oldest === undefined) return
    const { first, last, kinds } = oldest
    if (first > this.sentUpTo) this.#drop({ first, last, kinds, cause })
    else this.#dropOneByOne(oldest, cause)
    this.#removeOldest()
  }

  #dropOneByOne(file: SpoolFile, cause: string): void {
    for (let frame = this.#readFrom(file, this.first); frame !== null; frame = this.#readFrom(file, frame.seq + 1)) {
      this.#drop({ first: frame.seq, last: frame.seq, kinds: frame.kinds, cause })
    }
  }

  /** Rows that follow each other become one, but for those that the engine may have taken. */
  #drop(row: DroppedBatches): void {
    const before = this.#dropped.at(-1)
    const joins = before !== undefined && before.first > this.sentUpTo && before.cause === row.cause
    if (!joins) {
      this.#dropped.push({ ...row, kinds: Uint32Array.from(row.kinds) })
      return
    }
    addKinds(before.kinds, row.kinds)
    this.#dropped[this.#dropped.length - 1] = { ...before, last: row.last }
  }

  #removeOldest(): void {
    const file = this.#files.shift()
    if (file === undefined) return
    if (this.#files.length === 0) this.close()
    if (this.#reading?.file === file) this.#reading = null
    this.#bytes -= file.bytes
    rmSync(file.path, { force: true })
  }
}

function findFrame(content: Buffer, from: number, seq: number): { frame: BatchFrame; next: number } | null {
  let at = from
  for (let record = readRecord(content, at); record.kind !== 'torn'; record = readRecord(content, at)) {
    if (record.kind === 'frame' && record.frame.seq >= seq) return { frame: record.frame, next: record.next }
    at = record.next
  }
  return null
}

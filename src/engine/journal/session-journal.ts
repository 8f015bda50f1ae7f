/**
 * The journal of one session, as it is written: records chained as they come, put out in blocks, vouched for by checkpoints. Guards that
 * every record is written once, that what could not be written is told in its place and counted, and that a failed write leaves nothing
 * half written behind. Not here: when what is put out (journal.ts), and the keys.
 */
import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsync,
  ftruncateSync,
  openSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { SluiceError } from '../../base/error.js'
import { makeFolders } from '../../base/make-folders.js'
import { Event, type IEvent, toBigInt } from '../../proto/codec.js'
import { encodeSigned, type SignedCheckpoint } from '../../proto/journal/checkpoint.js'
import {
  blockContent,
  chainOn,
  encodeBlock,
  encodeSegmentHead,
  frameRecord,
  HASH_BYTES,
  LINK_BYTES,
  recordsOf,
} from '../../proto/journal/journal-format.js'
import { SEGMENTS_MAX, SegmentReader, segmentName, segmentsOf } from '../../proto/journal/segment-files.js'
import { bodyHash } from '../../proto/journal/signed-text.js'
import {
  type LastCheckpoint,
  type Place,
  type Recovered,
  recover,
  startPlace,
  type TailBlock,
  withEvent,
} from './recover.js'

/** A new file is begun behind so many bytes. */
export const SEGMENT_BYTES = 8 * 1024 * 1024
/** A block is put out when it has so many. */
export const PENDING_BYTES_MAX = 256 * 1024
const FOLDER_MODE = 0o700
const FILE_MODE = 0o600
const synced = promisify(fsync)

export interface SessionJournalOptions {
  /** Made if missing. */
  readonly folder: string
  readonly sessionId: string
  readonly segmentBytes?: number
}

export class SessionJournal {
  readonly sessionId: string
  private readonly folder: string
  private readonly segmentBytes: number
  private fd: number | null = null
  private segment = 0
  /** Of the segment: whole blocks. */
  private bytes = 0
  /** With what is pending. */
  private place: Place
  private written: Place
  private pending: Buffer[] = []
  private pendingBytes = 0
  private last: LastCheckpoint | null
  private tail: readonly TailBlock[]
  /** What a crash left half written. */
  readonly cut: Recovered['cut']

  /** Goes on with what is there. Throws IO, or PROTOCOL for what can't be gone on with. */
  constructor({ folder, sessionId, segmentBytes = SEGMENT_BYTES }: SessionJournalOptions) {
    this.sessionId = sessionId
    this.folder = folder
    this.segmentBytes = segmentBytes
    makeFolders(folder, FOLDER_MODE)
    const found = recover(folder, sessionId)
    this.place = found?.place ?? startPlace(sessionId)
    this.written = this.place
    this.last = found?.checkpoint ?? null
    this.tail = found?.tail ?? []
    this.cut = found?.cut ?? null
    if (found === null) return
    if (found.cut !== null && !found.cut.isTorn) this.putAside(found.segment)
    if (found.bytes === 0) this.segment = found.segment - 1
    else this.open(found.segment, found.bytes)
    this.removeBehind(found.segment)
  }

  get at(): Place {
    return this.place
  }

  get checkpoint(): LastCheckpoint | null {
    return this.last
  }

  get isSealed(): boolean {
    return this.last?.isSeal ?? false
  }

  /** Records that are not put out yet. */
  get waiting(): bigint {
    return this.place.records - this.written.records
  }

  get isFull(): boolean {
    return this.pendingBytes >= PENDING_BYTES_MAX
  }

  /** @param content wire bytes of the event */
  append(type: number, content: Uint8Array, event: IEvent): void {
    const framed = frameRecord(type, content)
    const head = chainOn(this.place.head, framed)
    this.place = withEvent(this.place, event, { records: this.place.records + 1n, head })
    this.pending.push(framed.subarray(HASH_BYTES), head.subarray(0, LINK_BYTES))
    this.pendingBytes += framed.length - HASH_BYTES + LINK_BYTES
  }

  /** Throws what the disk said: then nothing of what waited is in the journal, and its place is the one before. */
  flush(): void {
    if (this.pending.length === 0) return
    const content = Buffer.concat(this.pending)
    const records = Number(this.waiting)
    this.pending = []
    this.pendingBytes = 0
    try {
      this.put(encodeBlock('records', content, records))
      this.written = this.place
    } catch (error) {
      this.place = this.written
      throw error
    }
  }

  /** What waits is not put out. */
  discard(): void {
    this.pending = []
    this.pendingBytes = 0
    this.place = this.written
  }

  /** A signature over what is written up to `place`. Throws as `flush` does. */
  vouch(signed: SignedCheckpoint, place: Place, isSeal: boolean): void {
    this.put(encodeBlock('checkpoint', encodeSigned(signed), 0))
    this.last = { number: (this.last?.number ?? 0) + 1, bodyHash: bodyHash(signed.body), place, isSeal }
    this.tail = this.tail.filter(({ after }) => after.records > place.records)
  }

  /** Takes back what the engine before us had written behind event `seq`. False: a checkpoint vouches for it. */
  cutBehind(seq: bigint): boolean {
    const { tail } = this
    if (this.pending.length > 0 || seq < (this.last?.place.lastSeq ?? 0n)) return false
    const block = tail.find(({ after }) => after.lastSeq > seq)
    if (block === undefined) return this.place.lastSeq <= seq
    const content = this.contentOf(block)
    this.open(block.segment, block.offset)
    this.removeBehind(block.segment)
    ftruncateSync(this.fileDescriptor, block.offset)
    this.place = block.before
    this.written = block.before
    this.tail = tail.slice(0, tail.indexOf(block))
    this.keep(content, block.before, seq)
    this.flush()
    return true
  }

  /** To the disk itself. */
  async sync(): Promise<void> {
    if (this.fd !== null) await synced(this.fd)
  }

  close(): void {
    if (this.fd !== null) closeSync(this.fd)
    this.fd = null
  }

  private get fileDescriptor(): number {
    if (this.fd === null) this.begin()
    if (this.fd === null) throw new SluiceError('INTERNAL', 'a journal has no file')
    return this.fd
  }

  /** Of a block that is cut, what stays. */
  private keep(content: Buffer, before: Place, seq: bigint): void {
    for (const record of recordsOf(content, before.head)) {
      const event = Event.decode(record.content)
      if (toBigInt(event.seq) > seq) return
      this.append(record.type, record.content, event)
    }
  }

  private contentOf({ segment, offset }: TailBlock): Buffer {
    const reader = new SegmentReader(this.folder, segment)
    try {
      for (const part of reader.parts('everything')) {
        if (part.kind === 'block' && part.offset === offset && part.stored !== null) {
          return blockContent(part.head, part.stored)
        }
      }
    } finally {
      reader.close()
    }
    throw new SluiceError('IO', `the block at ${offset} of ${segmentName(segment)} is gone`)
  }

  private put(block: Buffer): void {
    if (this.fd === null || this.bytes >= this.segmentBytes) this.begin()
    const fd = this.fileDescriptor
    try {
      writeAll(fd, block, this.bytes)
      this.bytes += block.length
    } catch (error) {
      this.undo(fd)
      throw error
    }
  }

  /** The next file. */
  private begin(): void {
    const { records, head } = this.written
    const segment = this.segment + 1
    if (segment > SEGMENTS_MAX) throw new SluiceError('LIMIT', `a journal has no more than ${SEGMENTS_MAX} files`)
    const bytes = encodeSegmentHead({ sessionId: this.sessionId, segment, records, head })
    const path = join(this.folder, segmentName(segment))
    const fd = openSync(path, WRITE | constants.O_CREAT | constants.O_TRUNC, FILE_MODE)
    try {
      writeAll(fd, bytes, 0)
    } catch (error) {
      closeSync(fd)
      rmSync(path, { force: true })
      throw error
    }
    const before = this.fd
    this.fd = fd
    this.segment = segment
    this.bytes = bytes.length
    // What is in it was written for good only now.
    if (before !== null) fsync(before, () => closeSync(before))
  }

  private open(segment: number, bytes: number): void {
    this.close()
    this.fd = openSync(join(this.folder, segmentName(segment)), WRITE, FILE_MODE)
    ftruncateSync(this.fd, bytes)
    this.segment = segment
    this.bytes = bytes
  }

  /** What no writer wrote may be what somebody did to it: that is for whoever looks into it. */
  private putAside(from: number): void {
    for (const segment of segmentsOf(this.folder)) {
      const path = join(this.folder, segmentName(segment))
      if (segment >= from && !existsSync(`${path}.cut`)) copyFileSync(path, `${path}.cut`, constants.COPYFILE_EXCL)
    }
  }

  private removeBehind(segment: number): void {
    for (const number of segmentsOf(this.folder)) {
      if (number > segment) rmSync(join(this.folder, segmentName(number)), { force: true })
    }
  }

  /** A reader finds whole blocks, whatever the disk took. */
  private undo(fd: number): void {
    try {
      ftruncateSync(fd, this.bytes)
    } catch {
      // The next block is written over it, from the same place on.
    }
  }
}

const WRITE = constants.O_RDWR | constants.O_NOFOLLOW

function writeAll(fd: number, bytes: Buffer, offset: number): void {
  let written = 0
  while (written < bytes.length) {
    const more = writeSync(fd, bytes, written, bytes.length - written, offset + written)
    if (more === 0) throw new SluiceError('IO', 'the disk took nothing')
    written += more
  }
}

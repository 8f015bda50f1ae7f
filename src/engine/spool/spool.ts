/**
 * The node's spool: every event for every sink, on disk before the sensor may forget it. Guards that it never holds up the pipeline, that a disk which
 * is full, damaged or gone costs events that are counted in their place and nothing else, that it goes on by itself when the disk does, and
 * that an engine which goes on where another died puts nothing in twice. Not here: the file, and the sinks.
 */
import { join } from 'node:path'
import { reasonOf } from '../../base/error.js'
import type { Log } from '../../base/log.js'
import { isDamage } from '../../base/sqlite-file.js'
import { type IEvent, RunResponse } from '../../proto/codec.js'
import { SPOOL_FILE } from '../../proto/spool/spool-form.js'
import { ChunkWriter } from './chunk-writer.js'
import { type SpoolBounds, SpoolFile } from './spool-file.js'
import { TakenBySinks } from './taken-by-sinks.js'
import { WaitingMark } from './waiting-mark.js'

const TICK_MS = 1_000
/** Between two attempts at a disk that took nothing. */
export const RETRY_MS = 1_000
/** Of events that a disk does not take. */
const WAITING_BYTES_MAX = 32 * 1024 * 1024
/** More is not gathered in memory where the disk takes it. */
const WRITE_BYTES = 512 * 1024
/** Of the engine before this one, whose last events may come again. */
const AGAIN_CHUNKS = 64
const AGAIN_MS = 60_000

export interface SpoolOptions extends SpoolBounds {
  readonly folder: string
  readonly log: Log
  readonly waitingBytesMax?: number
  nowMs?(): number
}

/** Since it was opened. */
export interface SpoolNumbers {
  /** Taken, whether they are on disk by now or not. */
  readonly events: number
  /** Of chunks that are kept. */
  readonly bytes: number
  /** That went for others, or for their age. */
  readonly shed: number
  /** That no disk took. */
  readonly missed: number
  /** How often a disk took nothing, or the file was gone. */
  readonly faults: number
}

export class Spool {
  private readonly options: SpoolOptions
  private readonly mark: WaitingMark
  private readonly path: string
  private readonly nowMs: () => number
  private readonly taken: TakenBySinks
  private readonly timer: NodeJS.Timeout
  private readonly waiting: ChunkWriter
  private file: SpoolFile | null
  private went: { id: string; next: number } | null = null
  /** Uids that the engine before this one had put in; null: they don't come again any more. */
  private again: Set<string> | null = null
  private againUntilMs = 0
  private retryMs = 0
  private fault: string | null = null
  private events = 0
  /** Of files that are gone. */
  private shedBefore = 0
  private faults = 0
  /** Events that no disk took. */
  lost = 0

  /** Throws IO where there can be none. */
  constructor(options: SpoolOptions) {
    this.options = options
    this.path = join(options.folder, SPOOL_FILE)
    this.nowMs = options.nowMs ?? (() => Date.now())
    this.taken = new TakenBySinks(options.folder)
    this.mark = new WaitingMark(options.folder)
    this.file = this.open()
    this.standInForLost(this.file)
    this.waiting = new ChunkWriter(this.file.next, this.nowMs)
    this.expectAgain()
    this.timer = setInterval(() => this.tick(), TICK_MS)
    this.timer.unref()
  }

  get bytesKept(): number {
    return this.file?.bytesKept ?? 0
  }

  get numbers(): SpoolNumbers {
    const { events, bytesKept: bytes, lost: missed, faults } = this
    return { events, bytes, shed: this.shedBefore + (this.file?.shed ?? 0), missed, faults }
  }

  /** Why nothing is written; null: it is. */
  get problem(): string | null {
    return this.fault
  }

  append(event: IEvent): void {
    if (this.again?.delete(event.uid ?? '') === true) return
    this.events++
    this.waiting.append(event)
    if (this.waiting.openEvents === 0 && this.waiting.bytes >= WRITE_BYTES) this.flush()
  }

  /** Events that could not be appended: their place is empty, so that sinks find out how many they are. */
  missed(count: number): void {
    this.waiting.skip(count)
    this.lost += count
  }

  /** What was appended survives us. Before the sensor may forget it. */
  flush(): void {
    if (this.waiting.isEmpty) return
    if (this.file === null && performance.now() < this.retryMs) {
      this.leaveOut()
      return
    }
    try {
      this.file ??= this.open()
      this.file.write(this.waiting.take())
      this.waiting.written()
      if (this.fault !== null) this.options.log.info({ path: this.path }, 'the spool is written again')
      this.fault = null
    } catch (error) {
      this.fail(error)
    }
  }

  passedOn(): { kept(): void } {
    this.flush()
    // The sensor forgets them.
    if (this.fault !== null && this.went !== null) this.mark.mark(this.went.id, this.waiting.next)
    return { kept() {} }
  }

  stop(): void {
    clearInterval(this.timer)
    this.flush()
    this.file?.close()
    this.file = null
    this.taken.close()
    this.mark.close()
  }

  private open(): SpoolFile {
    const { log } = this.options
    return new SpoolFile(this.path, this.options, {
      went: this.went,
      onAside: (reason) => log.error({ path: this.path, reason }, 'the spool was damaged: a new one is begun'),
    })
  }

  private fail(error: unknown): void {
    const cause = `the spool could not be written: ${reasonOf(error)}`
    if (this.fault === null)
      this.options.log.error({ path: this.path, error: reasonOf(error) }, 'the spool is not written')
    this.faults++
    this.fault = cause
    this.closeFile()
    // What is damaged is put aside at once.
    this.retryMs = isDamage(error) ? 0 : performance.now() + RETRY_MS
    this.leaveOut()
  }

  private closeFile(): void {
    if (this.file !== null) this.went = { id: this.file.id, next: this.waiting.unwritten }
    this.shedBefore += this.file?.shed ?? 0
    try {
      this.file?.close()
    } catch {
      // It is given up either way.
    }
    this.file = null
  }

  private leaveOut(): void {
    this.waiting.take()
    const bytesMax = this.options.waitingBytesMax ?? WAITING_BYTES_MAX
    this.lost += this.waiting.leaveOut(bytesMax, this.fault ?? 'the spool could not be written')
  }

  private tick(): void {
    if (this.again !== null && performance.now() > this.againUntilMs) this.again = null
    if (this.file !== null && !this.file.isThere) {
      this.options.log.error({ path: this.path }, 'the spool was removed: a new one is begun')
      this.faults++
      this.closeFile()
      this.renew()
    }
    this.flush()
    if (this.file === null) return
    try {
      this.file.trim(this.taken.upTo(this.file.id), this.nowMs())
    } catch (error) {
      this.fail(error)
    }
  }

  /** There again before anything is written: sinks find out how much is missing. */
  private renew(): void {
    try {
      this.file = this.open()
    } catch (error) {
      this.fail(error)
    }
  }

  /** What the engine before this one had in memory as it died is missing: its place is left empty, so that sinks are told. */
  private standInForLost(file: SpoolFile): void {
    const next = this.mark.before(file.id)
    if (next <= file.next) return
    this.lost += next - file.next
    this.went = { id: file.id, next }
    file.close()
    this.file = this.open()
  }

  private expectAgain(): void {
    const again = new Set<string>()
    for (const body of this.file?.newest(AGAIN_CHUNKS) ?? []) {
      for (const event of RunResponse.decode(body).events?.events ?? []) again.add(event.uid ?? '')
    }
    if (again.size === 0) return
    this.again = again
    this.againUntilMs = performance.now() + AGAIN_MS
  }
}

/**
 * The open file of `--record`: JSON Lines, whole lines only, complete on disk when `close` returns. Guards against a full disk (the run
 * goes on, the file keeps whole lines, the number of events that are missing is known) and notices when somebody else changed or
 * replaced the file meanwhile, by its size and its identity. The user the record is for can edit it; a journal it is not.
 */
import { close, fstat, fsync, ftruncate, lstatSync, read, write } from 'node:fs'
import { promisify } from 'node:util'
import { errnoCode, messageOf } from '../../base/error.js'
import { asInvoker, type Identity } from './as-invoker.js'

/** How much of the end is looked at first to find whole lines; and the most, far above the longest line. */
const TAIL_BYTES = 128 * 1024
const TAIL_BYTES_MAX = 16 * 1024 * 1024
const NEWLINE = 0x0a
const CHANGED = 'was changed or replaced by somebody else while the run wrote it'
/** What these mean for the file is mended by cutting it back. */
const FULL: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full (ENOSPC)',
  EDQUOT: 'the disk quota is used up (EDQUOT)',
}

const calls = {
  close: promisify(close),
  fstat: promisify(fstat),
  fsync: promisify(fsync),
  ftruncate: promisify(ftruncate),
  read: promisify(read),
  write: promisify(write),
}

export interface RecordFile {
  readonly path: string
  /** Writes `lines` whole lines and waits until the kernel has them; `bytes` is not kept. Never throws; how many are in the file. */
  write(bytes: Uint8Array, lines: number): Promise<number>
  /** Events that could not be written, and why; null while all is well. */
  failure(): RecordFailure | null
  /** Looks whether the file is still ours and as we wrote it; else there is a `failure`. Never throws. */
  check(): Promise<void>
  /** Tries one last line after a failure, when room may have been made. True if it is in the file. */
  writeLast(line: string): Promise<boolean>
  /**
   * Where the disk is full: cuts whole lines of at least `bytes` off the end and counts them as missing. The last line that is left,
   * '' for none; null if nothing could be cut.
   */
  cutBack(bytes: number): Promise<string | null>
  /** Checks and flushes to disk. Later calls do nothing. */
  close(): Promise<void>
}

export interface RecordFailure {
  /** One sentence. */
  readonly cause: string
  /** Null where nobody knows. */
  missing: number | null
}

export interface OpenedFile {
  readonly path: string
  readonly fd: number
  /** Who named it. */
  readonly invoker: Identity | null
}

/** Of a file that is empty and open for appending and reading. */
export function recordOn(file: OpenedFile): RecordFile {
  return new OpenRecord(file)
}

class OpenRecord implements RecordFile {
  private readonly file: OpenedFile
  private failed: RecordFailure | null = null
  private full = false
  /** Nothing more can be put behind what is there. */
  private stuck = false
  /** Bytes of whole lines, all of them ours. */
  private length = 0
  private closed = false

  constructor(file: OpenedFile) {
    this.file = file
  }

  get path(): string {
    return this.file.path
  }

  failure(): RecordFailure | null {
    return this.failed
  }

  async write(bytes: Uint8Array, lines: number): Promise<number> {
    if (lines === 0) return 0
    if (this.stuck || (this.failed !== null && this.failed.cause !== CHANGED)) {
      this.addMissing(lines)
      return 0
    }
    const before = this.length
    try {
      await this.hasSize(before)
      await this.append(bytes)
      return lines
    } catch (error) {
      const written = countLines(bytes.subarray(0, this.length - before))
      this.failed ??= { cause: describeWriteError(error), missing: lines - written }
      return written
    }
  }

  async check(): Promise<void> {
    try {
      const same = (await this.hasSize(this.length)) && (await isStillAt(this.file))
      if (!same) this.failed ??= { cause: CHANGED, missing: null }
    } catch (error) {
      this.failed ??= { cause: describeWriteError(error), missing: 0 }
    }
  }

  async writeLast(line: string): Promise<boolean> {
    if (this.stuck) return false
    try {
      await this.append(Buffer.from(`${line}\n`))
      return true
    } catch {
      return false
    }
  }

  async cutBack(bytes: number): Promise<string | null> {
    if (!this.full || this.stuck || this.length === 0) return null
    try {
      const cut = await findCut(this.file.fd, this.length, bytes)
      if (cut === null || !(await this.hasSize(this.length))) return null
      await calls.ftruncate(this.file.fd, cut.length)
      this.length = cut.length
      this.addMissing(cut.lines)
      return cut.last
    } catch {
      return null
    }
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    await this.check()
    try {
      await calls.fsync(this.file.fd)
    } catch (error) {
      this.failed ??= { cause: describeWriteError(error), missing: 0 }
    }
    await calls.close(this.file.fd)
  }

  /** Before every write, and at the end: what others wrote or cut shows in the size. */
  private async hasSize(expected: number): Promise<boolean> {
    if (this.failed?.cause === CHANGED) return false
    const same = (await calls.fstat(this.file.fd)).size === expected
    if (!same) this.failed ??= { cause: CHANGED, missing: null }
    return same
  }

  private async append(bytes: Uint8Array): Promise<void> {
    const { fd } = this.file
    let offset = 0
    try {
      while (offset < bytes.length) {
        offset += (await calls.write(fd, bytes, offset, bytes.length - offset, null)).bytesWritten
      }
      this.length += bytes.length
    } catch (error) {
      this.full = (errnoCode(error) ?? '') in FULL
      const whole = offset === 0 ? 0 : bytes.lastIndexOf(NEWLINE, offset - 1) + 1
      // Of what did get in, whole lines stay; behind what others wrote nothing can be cut.
      this.stuck = !(await this.hasSize(this.length + offset).catch(() => false))
      this.length += whole
      if (!this.stuck && offset > whole) await calls.ftruncate(fd, this.length).catch(() => {})
      throw error
    }
  }

  private addMissing(lines: number): void {
    if (this.failed !== null && this.failed.missing !== null) this.failed.missing += lines
  }
}

/** Whether the name still leads to the open file. Asked as the user who named it: root may not be let in there (NFS, FUSE). */
async function isStillAt({ path, fd, invoker }: OpenedFile): Promise<boolean> {
  const ours = await calls.fstat(fd)
  try {
    const there = asInvoker(invoker, () => lstatSync(path))
    return there.dev === ours.dev && there.ino === ours.ino
  } catch {
    return false
  }
}

/** Where whole lines of at least `bytes` end before `length`, how many those are, and the line before them. Null: not found. */
async function findCut(
  fd: number,
  length: number,
  bytes: number,
): Promise<{ length: number; lines: number; last: string } | null> {
  for (let window = bytes + TAIL_BYTES; window <= TAIL_BYTES_MAX; window *= 2) {
    const from = Math.max(0, length - window)
    const tail = Buffer.alloc(length - from)
    const { bytesRead } = await calls.read(fd, tail, 0, tail.length, from)
    if (bytesRead !== tail.length) return null
    const atMost = tail.length - bytes
    const end = atMost <= 0 ? -1 : tail.lastIndexOf(NEWLINE, atMost - 1)
    const begin = end <= 0 ? -1 : tail.lastIndexOf(NEWLINE, end - 1)
    if (from > 0 && begin === -1) continue
    return {
      length: from + end + 1,
      lines: countLines(tail.subarray(end + 1)),
      last: tail.subarray(begin + 1, Math.max(end, 0)).toString('utf8'),
    }
  }
  return null
}

function countLines(bytes: Uint8Array): number {
  let lines = 0
  for (const byte of bytes) if (byte === NEWLINE) lines += 1
  return lines
}

function describeWriteError(error: unknown): string {
  const code = errnoCode(error)
  return code === null ? messageOf(error) : (FULL[code] ?? `writing failed (${code})`)
}

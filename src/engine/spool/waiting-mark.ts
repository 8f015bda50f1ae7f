/**
 * Up to which position events were taken that no disk took yet: they are in memory alone, and an engine that is killed takes them along. A small file
 * that is there from the beginning and is only ever written over, which a full disk allows; so the next engine knows how many there were, and
 * leaves their place empty. Not here: the spool.
 */
import { closeSync, constants, fchmodSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const MARK_FILE = 'waiting'
const MODE = 0o600
const DIGITS = 16
const BYTES = 64

export class WaitingMark {
  private readonly path: string
  private fd: number | null = null
  private marked = ''

  constructor(folder: string) {
    this.path = join(folder, MARK_FILE)
  }

  /** What the engine before this one left of this spool; 1: nothing. */
  before(spoolId: string): number {
    return this.orNothing((fd) => {
      const bytes = Buffer.alloc(BYTES)
      readSync(fd, bytes, 0, BYTES, 0)
      const [id, next = ''] = bytes.toString('latin1').split('\n')
      return id === spoolId && /^\d+$/.test(next) ? Number(next) : 1
    }, 1)
  }

  /** Whatever is before this position is the spool's to answer for. */
  mark(spoolId: string, next: number): void {
    const text = `${spoolId}\n${String(next).padStart(DIGITS, '0')}\n`
    if (text === this.marked) return
    this.orNothing((fd) => {
      writeSync(fd, text.padEnd(BYTES), 0, 'latin1')
      this.marked = text
      return 0
    }, 0)
  }

  close(): void {
    if (this.fd !== null) closeSync(this.fd)
    this.fd = null
  }

  /** Without it the count of such events is not known, and nothing else is. */
  private orNothing(work: (fd: number) => number, nothing: number): number {
    try {
      this.fd ??= openMark(this.path)
      return work(this.fd)
    } catch {
      return nothing
    }
  }
}

function openMark(path: string): number {
  const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants
  const fd = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, MODE)
  try {
    const found = fstatSync(fd)
    if (!found.isFile() || found.nlink !== 1) throw new Error('it is no file of its own')
    fchmodSync(fd, MODE)
    // Its blocks are there before they are needed.
    if (found.size < BYTES) writeSync(fd, ' '.repeat(BYTES), 0, 'latin1')
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

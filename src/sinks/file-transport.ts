/**
 * Events into a file, one JSON object a line. Guards that a line is whole and on disk before it counts as delivered, that what a crash or a full disk
 * left of a line is taken away, and that a file which somebody else moved is begun anew. Not here: which events.
 */
import { type BigIntStats, constants, fchmodSync, renameSync, rmSync, statSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { FileSettings } from '../schema/sink-settings.js'
import type { Item, Outcome, Transport } from './transport.js'

const MODE = 0o600
const MIB = 1024 * 1024
const HOUR_MS = 3_600_000
const ROTATE = { mib: 256, hours: 24 * 7, keep: 8 }
const NEWLINE = 0x0a
const TAIL_BYTES = 64 * 1024

export class FileTransport implements Transport {
  private readonly path: string
  private readonly bytesMax: number
  private readonly ageMaxMs: number
  private readonly keep: number
  private handle: FileHandle | null = null
  private inode = 0n
  private size = 0
  private bornMs = 0

  constructor({ path, rotate }: FileSettings) {
    this.path = path
    this.bytesMax = (rotate?.mib ?? ROTATE.mib) * MIB
    this.ageMaxMs = (rotate?.hours ?? ROTATE.hours) * HOUR_MS
    this.keep = rotate?.keep ?? ROTATE.keep
  }

  async send(items: readonly Item[]): Promise<Outcome> {
    const bytes = Buffer.from(items.map(({ text }) => `${text}\n`).join(''))
    const handle = await this.opened(bytes.length)
    try {
      let at = 0
      while (at < bytes.length) at += (await handle.write(bytes, at)).bytesWritten
      await handle.datasync()
    } catch (error) {
      // Half of a line is worse than none; they come again.
      await handle.truncate(this.size).catch(() => {})
      await this.close()
      throw error
    }
    this.size += bytes.length
    return {}
  }

  async close(): Promise<void> {
    const { handle } = this
    this.handle = null
    await handle?.close()
  }

  private async opened(more: number): Promise<FileHandle> {
    if (this.handle !== null && this.found()?.ino !== this.inode) await this.close()
    const isDue = this.size > 0 && (this.size + more > this.bytesMax || Date.now() - this.bornMs > this.ageMaxMs)
    if (this.handle !== null && isDue) {
      await this.close()
      this.rotate()
    }
    return this.handle ?? (await this.open())
  }

  private async open(): Promise<FileHandle> {
    const { O_RDWR, O_CREAT, O_APPEND, O_NOFOLLOW, O_NONBLOCK } = constants
    const handle = await open(this.path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK, MODE)
    try {
      const found = await handle.stat({ bigint: true })
      if (!found.isFile()) throw new Error(`${this.path} is no file`)
      fchmodSync(handle.fd, MODE)
      this.inode = found.ino
      this.bornMs = Number(found.birthtimeMs)
      this.size = await wholeLines(handle, Number(found.size))
      this.handle = handle
      return handle
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  private found(): BigIntStats | undefined {
    return statSync(this.path, { bigint: true, throwIfNoEntry: false })
  }

  /** events.jsonl.1 is the newest of the old ones. */
  private rotate(): void {
    rmSync(`${this.path}.${this.keep}`, { force: true })
    for (let at = this.keep - 1; at >= 0; at--) {
      const from = at === 0 ? this.path : `${this.path}.${at}`
      if (statSync(from, { throwIfNoEntry: false }) !== undefined) renameSync(from, `${this.path}.${at + 1}`)
    }
  }
}

/** How long the file is without what is no whole line at its end, which is cut. */
async function wholeLines(handle: FileHandle, size: number): Promise<number> {
  let end = size
  while (end > 0) {
    const from = Math.max(0, end - TAIL_BYTES)
    const tail = Buffer.alloc(end - from)
    await handle.read(tail, 0, tail.length, from)
    const newline = tail.lastIndexOf(NEWLINE)
    if (newline !== -1) {
      end = from + newline + 1
      break
    }
    end = from
  }
  if (end < size) await handle.truncate(end)
  return end
}

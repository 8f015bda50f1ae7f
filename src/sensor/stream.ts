/**
 * The name and the numbering of this sensor's batches, kept beside the spool so that a restarted sensor goes on with both. Guards
 * that no number is ever given twice: numbers are set aside on disk before they are used, and a sensor that died leaves those it
 * did not use as a hole, which is told. A spool of another boot is not gone on with: its clock and its sandboxes are no more.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { makeFolders } from '../base/make-folders.js'

const FILE = 'stream.json'
/** Numbers set aside at once: a write each so many batches. */
const SET_ASIDE = 4_096

const streamFile = z.strictObject({
  stream: z.string().min(1).max(64),
  bootId: z.string(),
  bootToUnixNs: z.string().regex(/^\d{1,20}$/),
  /** No batch has a higher number. */
  setAside: z.int().min(0),
})

type StreamFile = z.infer<typeof streamFile>

export class Stream {
  readonly id: string
  /** As it was when the stream began: times and uids of its events never change. */
  readonly bootToUnixNs: bigint
  /** Numbers that the sensor before us may have used for batches that are not in the spool: first to last; null if it left none. */
  readonly unknown: { readonly first: number; readonly last: number } | null
  readonly #dir: string
  readonly #bootId: string
  #last: number
  #setAside: number

  constructor(dir: string, options: { bootId: string; bootToUnixNs: bigint; lastSpooled: number }) {
    const { bootId, bootToUnixNs, lastSpooled } = options
    const found = load(dir)
    const old = found?.bootId === bootId ? found : null
    this.#dir = dir
    this.#bootId = bootId
    this.id = old?.stream ?? randomUUID()
    this.bootToUnixNs = old === null ? bootToUnixNs : BigInt(old.bootToUnixNs)
    this.#setAside = Math.max(old?.setAside ?? 0, lastSpooled)
    this.#last = this.#setAside
    this.unknown = this.#setAside > lastSpooled ? { first: lastSpooled + 1, last: this.#setAside } : null
    this.#save()
  }

  next(): number {
    this.#last += 1
    if (this.#last > this.#setAside) {
      this.#setAside = this.#last + SET_ASIDE
      this.#save()
    }
    return this.#last
  }

  /** Every batch is acknowledged or in the spool: none of the numbers that were set aside is missing. */
  close(): void {
    this.#setAside = this.#last
    this.#save()
  }

  #save(): void {
    const content: StreamFile = {
      ...{ stream: this.id, bootId: this.#bootId },
      ...{ bootToUnixNs: String(this.bootToUnixNs), setAside: this.#setAside },
    }
    const path = join(this.#dir, FILE)
    try {
      writeFileSync(`${path}.new`, JSON.stringify(content), { mode: 0o600 })
      renameSync(`${path}.new`, path)
    } catch {
      // A disk that is full: then a restarted sensor finds no name, or an old one, and begins a new stream.
      rmSync(path, { force: true })
    }
  }
}

/** Empties the directory of what a sensor of another boot left there. True if there was anything. */
export function forgetOtherBoots(dir: string, bootId: string): boolean {
  const found = load(dir)
  if (found !== null && found.bootId === bootId) return false
  rmSync(dir, { recursive: true, force: true })
  makeFolders(dir, 0o700)
  return found !== null
}

function load(dir: string): StreamFile | null {
  try {
    return streamFile.parse(JSON.parse(readFileSync(join(dir, FILE), 'utf8')))
  } catch {
    return null
  }
}

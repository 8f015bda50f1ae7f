/**
 * Writes the node's index: an entry for every session that has a journal, one when that is sealed and one when it is removed. Guards that engines
 * which write at the same time make one chain, that an entry is on the disk before anything refers to it, and that nobody waits: what a disk
 * does not take is tried again, within bounds. Not here: what an entry is (proto/journal/node-index.ts).
 */
import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoCode, reasonOf, SluiceError } from '../../base/error.js'
import type { Log } from '../../base/log.js'
import type { IndexReference } from '../../proto/journal/checkpoint.js'
import {
  entryLine,
  entryName,
  entryNumber,
  type IndexEntry,
  type IndexedSeal,
  parseEntry,
  signEntry,
} from '../../proto/journal/node-index.js'
import { bodyHash } from '../../proto/journal/signed-text.js'
import type { JournalKey } from './journal-keys.js'

const FOLDER_MODE = 0o700
const FILE_MODE = 0o600
const RETRY_MS = 1_000
/** Two for each session that an engine may have open. */
const WAITING_MAX = 16_384
/** Of engines that write at the same time: each time one of them has written. */
const TRIES_MAX = 1_000
/** Of a file that is not whole yet. */
export const UNFINISHED = '.new'

export interface NodeIndexOptions {
  /** Made if missing. */
  readonly folder: string
  readonly key: JournalKey
  readonly log: Log
  nowUnixNs(): bigint
}

export type WantedEntry = Pick<IndexEntry, 'act' | 'sessionId' | 'seal'>

interface Waiting {
  readonly wanted: WantedEntry
  /** False: not at the first attempt. */
  attempted(isWritten: boolean): void
}

interface Last {
  readonly number: number
  readonly hash: string
}

export class NodeIndex {
  private readonly options: NodeIndexOptions
  private readonly waiting: Waiting[] = []
  /** Entry of each session that this engine writes; 0: not on disk yet. */
  private readonly own = new Map<string, number>()
  private last: Last | null = null
  private first = 1
  private writing: Promise<void> = Promise.resolve()
  private isWriting = false
  private retry: NodeJS.Timeout | null = null
  private complained = false

  constructor(options: NodeIndexOptions) {
    this.options = options
  }

  /** For a checkpoint of that session. Null: nothing is on disk yet. */
  reference(sessionId: string): IndexReference | null {
    return this.last === null ? null : { ...this.last, own: this.own.get(sessionId) ?? 0 }
  }

  /** It has records. Once for each session is enough; more are nothing. */
  begun(sessionId: string): void {
    if (this.own.has(sessionId)) return
    this.own.set(sessionId, 0)
    void this.put({ act: 'BEGUN', sessionId, seal: null })
  }

  sealed(sessionId: string, seal: IndexedSeal): void {
    this.own.delete(sessionId)
    void this.put({ act: 'SEALED', sessionId, seal })
  }

  /** Nothing of it is written here any more. */
  forget(sessionId: string): void {
    this.own.delete(sessionId)
  }

  /** Resolves when it is on disk, or was tried: false, then it is tried again later. */
  put(wanted: WantedEntry): Promise<boolean> {
    return new Promise((attempted) => {
      if (this.waiting.length >= WAITING_MAX) {
        this.complain('too many entries wait for the disk')
        attempted(false)
        return
      }
      this.waiting.push({ wanted, attempted })
      if (this.retry === null) this.write()
    })
  }

  /** Entries from here on must be there, from the next one that is written on. */
  get oldest(): number {
    return this.first
  }

  set oldest(number: number) {
    this.first = Math.max(this.first, number)
  }

  /** Of the last entry; 0: there is none. */
  get end(): number {
    return this.last?.number ?? 0
  }

  /** Resolves when nothing is written. */
  async settled(): Promise<void> {
    await this.writing
  }

  /** What waits is tried once more. */
  async stop(): Promise<void> {
    await this.writing
    this.clearRetry()
    if (this.waiting.length > 0) this.write()
    await this.writing
    this.clearRetry()
  }

  /** So that `end` is known. Rejects with what the disk says. */
  async load(): Promise<void> {
    if (this.last === null) await this.catchUp()
  }

  private clearRetry(): void {
    if (this.retry !== null) clearTimeout(this.retry)
    this.retry = null
  }

  private write(): void {
    if (this.isWriting) return
    this.isWriting = true
    this.writing = this.writeAll()
  }

  private async writeAll(): Promise<void> {
    for (let next = this.waiting[0]; next !== undefined; next = this.waiting[0]) {
      try {
        const number = await this.append(next.wanted)
        const { act, sessionId } = next.wanted
        if (act === 'BEGUN' && this.own.has(sessionId)) this.own.set(sessionId, number)
        this.waiting.shift()
        next.attempted(true)
        this.complained = false
      } catch (error) {
        for (const { attempted } of this.waiting) attempted(false)
        this.complain(reasonOf(error))
        this.retry = setTimeout(() => {
          this.retry = null
          this.write()
        }, RETRY_MS)
        this.retry.unref()
        break
      }
    }
    // At once: what is put from here on begins anew.
    this.isWriting = false
  }

  /** Behind whatever is the last one by now. */
  private async append(wanted: WantedEntry): Promise<number> {
    const { key, nowUnixNs } = this.options
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      // Another engine of this machine may write it, too.
      if (this.last === null || tries > 0) await this.catchUp()
      const { number, hash } = this.last ?? { number: 0, hash: '' }
      const entry = {
        ...{ ...wanted, number: number + 1, timeUnixNs: nowUnixNs() },
        ...{ first: this.first, previous: hash, keyId: key.keyId },
      }
      const signed = signEntry(entry, key.privateKey)
      if (!(await this.place(entry.number, entryLine(signed)))) continue
      this.last = { number: entry.number, hash: bodyHash(signed.body) }
      return entry.number
    }
    throw new SluiceError('IO', 'others write the index without end')
  }

  /** False: there is one of this number. Whole, and on the disk, before it has its name. */
  private async place(number: number, text: string): Promise<boolean> {
    const { folder } = this.options
    const own = join(folder, `.${randomUUID()}${UNFINISHED}`)
    try {
      const file = await open(own, 'wx', FILE_MODE)
      try {
        await file.writeFile(text)
        await file.sync()
      } finally {
        await file.close()
      }
      if (!(await isLinked(own, join(folder, entryName(number))))) return false
    } finally {
      await rm(own, { force: true })
    }
    const names = await open(folder, 'r')
    await names.sync().finally(() => names.close())
    return true
  }

  private async catchUp(): Promise<void> {
    const { folder } = this.options
    await mkdir(folder, { mode: FOLDER_MODE }).catch((error: unknown) => {
      if (errnoCode(error) !== 'EEXIST') throw error
    })
    const number = (await readdir(folder)).reduce((last, name) => Math.max(last, entryNumber(name) ?? 0), 0)
    if (number === 0) {
      this.last = null
      return
    }
    const text = await readFile(join(folder, entryName(number)), 'utf8')
    const found = parseEntry(text)
    this.first = Math.max(this.first, found?.entry.first ?? 1)
    // One that can't be read is gone on behind, too: it is for a verifier to say what is wrong.
    this.last = { number, hash: found?.hash ?? bodyHash(Buffer.from(text)) }
  }

  private complain(error: string): void {
    if (!this.complained)
      this.options.log.error({ error }, 'the index of the sessions is not written; it is tried again')
    this.complained = true
  }
}

/** False: there is one by that name. */
async function isLinked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (error) {
    if (errnoCode(error) === 'EEXIST') return false
    throw error
  }
}

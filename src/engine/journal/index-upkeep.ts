/**
 * Keeps the node's index as long as what it lists: sessions that it does not have yet are listed, entries that nothing needs any more go. Guards that the
 * entry of a session which is there, or is missing and should be there, is never among them. Not here: how an entry is written.
 */
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { entryName, entryNumber, type IndexedSeal, parseEntry } from '../../proto/journal/node-index.js'
import { type NodeIndex, UNFINISHED } from './node-index.js'

/** So many more than needed are left before any go. */
const TRIM_ENTRIES = 1_024
/** One of a session that stays this far behind the others is written again. */
const SPAN_ENTRIES = 16_384
const NS_PER_DAY = 24n * 60n * 60n * 1_000_000_000n

interface Newest {
  readonly number: number
  readonly seal: IndexedSeal | null
  readonly timeUnixNs: bigint
}

export interface IndexUpkeepOptions {
  readonly folder: string
  readonly index: NodeIndex
  /** A session that is missing is told of for so long. */
  readonly keepDays: number
  nowUnixNs(): bigint
  readonly trimEntries?: number
  readonly spanEntries?: number
}

export class IndexUpkeep {
  private readonly options: IndexUpkeepOptions
  /** Of sessions that were not removed: what the newest entry says. */
  private readonly newest = new Map<string, Newest>()
  private readTo = 0
  /** Files that were not whole when it was looked last. */
  private unfinished = new Set<string>()

  constructor(options: IndexUpkeepOptions) {
    this.options = options
  }

  /** Before its folder goes. A disk that is full has room only behind that: then it is written later. */
  async removed(sessionId: string): Promise<void> {
    await this.options.index.put({ act: 'REMOVED', sessionId, seal: null })
    this.newest.delete(sessionId)
  }

  /** @param isHere by id: all that have a folder */
  async look(isHere: ReadonlySet<string>): Promise<void> {
    const { index, spanEntries = SPAN_ENTRIES } = this.options
    await index.load()
    await this.read()
    for (const id of isHere) {
      const known = this.newest.get(id)
      if (known !== undefined && index.end - known.number < spanEntries) continue
      const seal = known?.seal ?? null
      await index.put({ act: seal === null ? 'BEGUN' : 'SEALED', sessionId: id, seal })
    }
    await this.read()
    await this.trim(isHere)
    await this.tidy()
  }

  private async read(): Promise<void> {
    const { folder } = this.options
    const numbers = (await readdir(folder))
      .flatMap((name) => entryNumber(name) ?? [])
      .filter((number) => number > this.readTo)
      .sort((a, b) => a - b)
    for (const number of numbers) {
      const found = parseEntry(await readFile(join(folder, entryName(number)), 'utf8').catch(() => ''))
      this.readTo = number
      if (found === null) continue
      const { act, sessionId, seal, timeUnixNs } = found.entry
      if (act === 'REMOVED') this.newest.delete(sessionId)
      else if (act !== 'TRIMMED') this.newest.set(sessionId, { number, seal, timeUnixNs })
    }
  }

  /** What is still not whole by the next time was an engine's that died. */
  private async tidy(): Promise<void> {
    const { folder } = this.options
    const names = (await readdir(folder)).filter((name) => name.endsWith(UNFINISHED))
    for (const name of names) if (this.unfinished.has(name)) await rm(join(folder, name), { force: true })
    this.unfinished = new Set(names)
  }

  private async trim(isHere: ReadonlySet<string>): Promise<void> {
    const { folder, index, keepDays, nowUnixNs, trimEntries = TRIM_ENTRIES } = this.options
    const tooOldNs = nowUnixNs() - BigInt(Math.ceil(keepDays)) * NS_PER_DAY
    let needed = index.end
    for (const [id, { number, timeUnixNs }] of this.newest) {
      if (isHere.has(id) || timeUnixNs >= tooOldNs) needed = Math.min(needed, number)
      else this.newest.delete(id)
    }
    if (needed - index.oldest < trimEntries) return
    const before = index.oldest
    index.oldest = needed
    if (!(await index.put({ act: 'TRIMMED', sessionId: '', seal: null }))) return
    for (let number = before; number < needed; number++) await rm(join(folder, entryName(number)), { force: true })
  }
}

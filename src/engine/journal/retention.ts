/**
 * Which sessions' journals are removed, and when. Guards that one which is written, or was until just now, is kept, and one that somebody
 * reviews; that the oldest go first; and that looking holds nobody up.
 */
import { lstat, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { reasonOf } from '../../base/error.js'
import type { Log } from '../../base/log.js'
import { REVIEW_FILE } from '../../proto/journal/journal-folder.js'
import { isSessionId } from '../../proto/journal/journal-format.js'
import { isUnderReview } from '../../proto/journal/review-log.js'
import type { IndexUpkeep } from './index-upkeep.js'

const LOOK_MS = 10 * 60 * 1_000
/** Another engine of this machine may write it: one of a run with parts of its own. */
const QUIET_MS = 60 * 60 * 1_000
const DAY_MS = 24 * 60 * 60 * 1_000

export interface RetentionOptions {
  readonly folder: string
  readonly keepDays: number
  readonly keepBytes: number
  readonly log: Log
  /** Where sessions are listed; null: nowhere. */
  readonly index?: IndexUpkeep | null
  isInUse(sessionId: string): boolean
  nowUnixMs?(): number
}

interface Kept {
  readonly id: string
  readonly bytes: number
  readonly lastUnixMs: number
  readonly isReviewed: boolean
}

export class Retention {
  private readonly options: RetentionOptions
  private timer: NodeJS.Timeout | null = null

  constructor(options: RetentionOptions) {
    this.options = options
  }

  start(): void {
    const look = () => void this.look().catch((error: unknown) => this.complain(error))
    this.timer = setInterval(look, LOOK_MS)
    this.timer.unref()
    look()
  }

  stop(): void {
    if (this.timer !== null) clearInterval(this.timer)
  }

  /** Ids of those that were removed. */
  async look(): Promise<string[]> {
    const { folder, keepDays, keepBytes, isInUse, log, index = null, nowUnixMs = Date.now } = this.options
    const all = await this.kept()
    const now = nowUnixMs()
    let bytes = all.reduce((sum, session) => sum + session.bytes, 0)
    const removed: string[] = []
    for (const { id, bytes: its, lastUnixMs, isReviewed } of all.sort((a, b) => a.lastUnixMs - b.lastUnixMs)) {
      const isOld = now - lastUnixMs > keepDays * DAY_MS
      if (isReviewed || isInUse(id) || now - lastUnixMs < QUIET_MS || (!isOld && bytes <= keepBytes)) continue
      await index?.removed(id)
      await rm(join(folder, id), { recursive: true, force: true })
      bytes -= its
      removed.push(id)
    }
    const gone = new Set(removed)
    await index?.look(new Set(all.flatMap(({ id }) => (gone.has(id) ? [] : [id]))))
    if (removed.length > 0) log.info({ sessions: removed.length }, 'old journals were removed')
    return removed
  }

  private async kept(): Promise<Kept[]> {
    const { folder } = this.options
    const found: Kept[] = []
    for (const id of (await readdir(folder)).filter(isSessionId)) {
      const files = await readdir(join(folder, id)).catch((): string[] => [])
      // To read it makes it no younger.
      const records = files.filter((name) => name !== REVIEW_FILE)
      const stats = await Promise.all(records.map((name) => lstat(join(folder, id, name)).catch(() => null)))
      const sizes = stats.flatMap((stat) => (stat === null ? [] : [stat]))
      found.push({
        id,
        bytes: sizes.reduce((sum, { size }) => sum + size, 0),
        lastUnixMs: Math.max(0, ...sizes.map(({ mtimeMs }) => mtimeMs)),
        isReviewed: files.includes(REVIEW_FILE) && isKept(join(folder, id)),
      })
    }
    return found
  }

  private complain(error: unknown): void {
    this.options.log.warn({ error: reasonOf(error) }, 'old journals could not be looked for')
  }
}

/** What can't be read is kept: somebody put it there. */
function isKept(folder: string): boolean {
  try {
    return isUnderReview(folder)
  } catch {
    return true
  }
}

/** The spool's folder, between root and the engine's user. Guards that an engine which can't have a spool works on without one and says so. */
import { messageOf } from '../../base/error.js'
import type { Log } from '../../base/log.js'
import { makeOwnFolder } from '../../base/own-folder.js'
import type { IEvent } from '../../proto/codec.js'
import { Spool, type SpoolNumbers } from './spool.js'

export interface SpoolSettings {
  readonly dir: string
  readonly bytesMax: number
  readonly ageMaxMs: number
}

export interface PreparedSpool {
  /** As the user that the engine is now. */
  open(): void
  append(event: IEvent): void
  passedOn(): { kept(): void }
  readonly numbers: SpoolNumbers
  /** Why nothing is written; null: it is. */
  readonly problem: string | null
  stop(): void
}

/** Until it is open: a sensor sends while we still start, and a disk may take nothing yet. */
const EARLY_MAX = 8_192
const RETRY_MS = 1_000

const NONE_YET: SpoolNumbers = { events: 0, bytes: 0, shed: 0, missed: 0, faults: 0 }

/** Where its folder can't be made there is none until the agent is started again. */
export function prepareSpool(settings: SpoolSettings, user: string | null, log: Log): PreparedSpool {
  const { dir } = settings
  try {
    makeOwnFolder(dir, user)
    return new LateSpool(settings, log)
  } catch (error) {
    log.error({ dir, error: messageOf(error) }, 'there is no spool: the sinks get nothing')
    return new NoSpool(`there is none until the agent is started again: ${messageOf(error)}`)
  }
}

/** Counts what it can't keep. */
class NoSpool implements PreparedSpool {
  readonly problem: string
  private missed = 0

  constructor(problem: string) {
    this.problem = problem
  }

  get numbers(): SpoolNumbers {
    return { ...NONE_YET, missed: this.missed, faults: 1 }
  }

  open(): void {}

  append(): void {
    this.missed++
  }

  passedOn(): { kept(): void } {
    return { kept() {} }
  }

  stop(): void {}
}

/** One that is opened when it can be. What there is no room for until then is counted, and a gap in its place. */
class LateSpool implements PreparedSpool {
  private readonly settings: SpoolSettings
  private readonly log: Log
  private spool: Spool | null = null
  private early: IEvent[] = []
  private missed = 0
  private notOpen: string | null = null
  private retry: NodeJS.Timeout | null = null

  constructor(settings: SpoolSettings, log: Log) {
    this.settings = settings
    this.log = log
  }

  open(): void {
    const { dir, bytesMax, ageMaxMs } = this.settings
    try {
      this.spool = new Spool({ folder: dir, bytesMax, ageMaxMs, log: this.log })
    } catch (error) {
      if (this.notOpen === null)
        this.log.error({ dir, error: messageOf(error) }, 'the spool can not be opened; it is tried again')
      this.notOpen = messageOf(error)
      this.retry = setTimeout(() => this.open(), RETRY_MS)
      this.retry.unref()
      return
    }
    if (this.notOpen !== null) this.log.info({ dir, missed: this.missed }, 'the spool is open')
    this.notOpen = null
    for (const event of this.early) this.spool.append(event)
    this.spool.missed(this.missed)
    this.spool.flush()
    this.early = []
    this.missed = 0
  }

  get numbers(): SpoolNumbers {
    return this.spool?.numbers ?? { ...NONE_YET, events: this.early.length, missed: this.missed }
  }

  get problem(): string | null {
    return this.spool === null ? this.notOpen : this.spool.problem
  }

  append(event: IEvent): void {
    if (this.spool !== null) this.spool.append(event)
    else if (this.early.length < EARLY_MAX) this.early.push(event)
    else this.missed++
  }

  passedOn(): { kept(): void } {
    return this.spool?.passedOn() ?? { kept() {} }
  }

  stop(): void {
    if (this.retry !== null) clearTimeout(this.retry)
    this.spool?.stop()
  }
}

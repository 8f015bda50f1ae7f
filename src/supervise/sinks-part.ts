/**
 * The agent's process that sends events away, kept running: only where there are sinks. Guards that whatever is wrong with a sink, the agent starts and
 * goes on without it: it is told and tried again; and that other settings take the place of these without anything that waits in the spool
 * getting lost. Not here: what a sink is.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { messageOf } from '../base/error.js'
import { programFile } from '../base/installation.js'
import type { Log, LogLevel } from '../base/log.js'
import { KeptRole } from './kept-role.js'
import { startRole } from './role.js'
import { READY_DEADLINE_MS } from './stack-parts.js'

const RETRY_MS = 5_000

export interface SpoolPlace {
  readonly dir: string
  readonly bytesMax: number
  readonly ageMaxMs: number
}

export interface SinksOptions {
  readonly spool: SpoolPlace
  /** By name, as the configuration has them. */
  readonly sinks: Readonly<Record<string, unknown>>
  /** Ours. */
  readonly version: string
  /** The configuration as it is now. Throws what is wrong with it. */
  reread(): Promise<Readonly<Record<string, unknown>>>
}

export interface SinksParts {
  readonly user: string | null
  readonly logLevel: LogLevel
  readonly log: Log
  /** There are sinks now, and there were none: from now on events have to be kept for them. */
  onFirst?(): void
}

export class SinksPart {
  readonly #options: SinksOptions
  readonly #log: Log
  readonly #role: { user: string | null; logLevel: LogLevel }
  readonly #onFirst: () => void
  #sinks: Readonly<Record<string, unknown>>
  #hadAny: boolean
  #kept: KeptRole | null = null
  #changing: Promise<void> = Promise.resolve()
  readonly #stopping = new AbortController()
  /** How often other settings were asked for. */
  #turns = 0
  /** Ends a wait for another attempt: what keeps these settings from starting may be what was put right. */
  #giveUp = new AbortController()

  constructor(options: SinksOptions, parts: SinksParts) {
    this.#options = options
    this.#sinks = options.sinks
    this.#log = parts.log
    this.#role = { user: parts.user, logLevel: parts.logLevel }
    this.#onFirst = () => parts.onFirst?.()
    this.#hadAny = this.#hasAny
  }

  get pid(): number | null {
    return this.#kept?.pid ?? null
  }

  /** Where events go for the sinks that there are, or were; null: there was none yet. */
  get spool(): SpoolPlace | null {
    return this.#hadAny ? this.#options.spool : null
  }

  start(): void {
    this.#changing = this.#begin(0)
  }

  /** By the configuration as it is now; one with mistakes changes nothing. */
  reload(): void {
    this.#turns++
    const turn = this.#turns
    this.#giveUp.abort()
    this.#changing = this.#changing.then(async () => {
      try {
        this.#sinks = await this.#options.reread()
      } catch (error) {
        this.#log.error({ error: messageOf(error) }, 'the sinks stay as they are: the configuration has a mistake')
        if (this.#kept === null) await this.#begin(turn)
        return
      }
      await this.#kept?.stop()
      this.#kept = null
      if (!this.#hadAny && this.#hasAny) {
        this.#hadAny = true
        this.#onFirst()
      }
      await this.#begin(turn)
      if (!this.#stopping.signal.aborted)
        this.#log.info({ sinks: Object.keys(this.#sinks) }, 'the sinks were read anew')
    })
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#giveUp.abort()
    await this.#changing
    await this.#kept?.stop()
  }

  get #hasAny(): boolean {
    return Object.keys(this.#sinks).length > 0
  }

  async #begin(turn: number): Promise<void> {
    if (this.#stopping.signal.aborted || !this.#hasAny) return
    this.#giveUp = new AbortController()
    const { signal } = this.#giveUp
    let told = ''
    while (!signal.aborted && turn === this.#turns) {
      try {
        this.#kept = this.#makeRole()
        await this.#kept.start()
        return
      } catch (error) {
        this.#kept = null
        if (signal.aborted) return
        const problem = messageOf(error)
        if (problem !== told)
          this.#log.error({ error: problem }, 'the sinks can not be started; what is for them is kept')
        told = problem
        await sleep(RETRY_MS, undefined, { signal }).catch(() => {})
      }
    }
  }

  #makeRole(): KeptRole {
    const { spool, version } = this.#options
    const config = { folder: spool.dir, ...this.#role, version, sinks: this.#sinks }
    const main = pathToFileURL(programFile('sinks/main'))
    return new KeptRole({
      name: 'sinks',
      log: this.#log,
      start: (signal) => startRole({ name: 'sinks', main, config, readyDeadlineMs: READY_DEADLINE_MS, signal }),
    })
  }
}

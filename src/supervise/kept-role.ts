/**
 * One role of an agent, kept running: started again when it dies, each time after a longer wait, up to a bound. Guards that a role that
 * dies at once can't take the machine's time, that every death is told, and that nothing is started once it is to stop. Not here: in which
 * order roles start.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../base/error.js'
import type { Log } from '../base/log.js'
import type { Role } from './role.js'

export const BACKOFF_MIN_MS = 200
export const BACKOFF_MAX_MS = 15_000
/** A role that lived for so long is well: its next death is the first again. */
export const WELL_AFTER_MS = 60_000

export interface KeptRoleOptions {
  readonly name: string
  readonly log: Log
  start(signal: AbortSignal): Promise<Role>
}

export class KeptRole {
  readonly #options: KeptRoleOptions
  readonly #stopping = new AbortController()
  #role: Role | null = null
  #keeping: Promise<void> = Promise.resolve()
  #startedAt = 0
  #deaths = 0

  constructor(options: KeptRoleOptions) {
    this.#options = options
  }

  get pid(): number | null {
    return this.#role?.pid ?? null
  }

  /** Lost while it does not run: what it is started with has to say the same. */
  tell(message: unknown): void {
    this.#role?.tell(message)
  }

  /** The first start: throws what keeps it from starting. From then on it is kept running. */
  async start(): Promise<void> {
    this.#began(await this.#options.start(this.#stopping.signal))
    this.#keeping = this.#keep()
  }

  /** As if it had died: started again, by what it is started with now. */
  renew(why: string): void {
    const { log, name } = this.#options
    log.info({ part: name, why }, `the ${name} is started anew`)
    this.#role?.kill()
  }

  /** Resolves when it is gone for good. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('the agent is stopping'))
    await this.#role?.stop()
    await this.#keeping
  }

  #began(role: Role): void {
    this.#role = role
    this.#startedAt = performance.now()
  }

  async #keep(): Promise<void> {
    const { log, name } = this.#options
    for (;;) {
      const exit = await this.#role?.exited
      this.#role = null
      if (this.#stopping.signal.aborted) return
      if (performance.now() - this.#startedAt >= WELL_AFTER_MS) this.#deaths = 0
      const waitMs = exit?.expected === true ? 0 : backoffMs(this.#deaths++)
      log.error({ part: name, why: exit?.detail ?? '', waitMs }, `the ${name} ended; it is started again`)
      if (!(await this.#startAgain(waitMs))) return
      log.info({ part: name, started: this.pid }, `the ${name} runs again`)
    }
  }

  /** Tries until it runs; false if it is to stop. */
  async #startAgain(firstWaitMs: number): Promise<boolean> {
    const { log, name, start } = this.#options
    const { signal } = this.#stopping
    for (let waitMs = firstWaitMs; ; waitMs = backoffMs(this.#deaths++)) {
      await sleep(waitMs, undefined, { signal }).catch(() => {})
      if (signal.aborted) return false
      try {
        this.#began(await start(signal))
        return true
      } catch (error) {
        if (signal.aborted) return false
        log.error({ part: name, why: messageOf(error) }, `the ${name} does not start; it is tried again`)
      }
    }
  }
}

/** After so many deaths in a row before this one. */
export function backoffMs(deaths: number): number {
  return Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(deaths, 16))
}

/**
 * Starts an engine in the place of one that died, at the same sockets and with the same state. Guards that one which keeps dying is
 * given up, and that none is started for a sensor that is gone too. Not here: how the others find the new one.
 */
import { rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Role, startRole } from './role.js'
import { READY_DEADLINE_MS } from './stack-parts.js'

/** One that keeps dying has a reason. */
const ENGINE_RESTARTS_MAX = 3
/** From a broken connection to the end of the process it went to. */
const NOTICE_MS = 1_000
const NOTICE_POLL_MS = 5

export interface RevivableConfig {
  readonly uplinkSocket: string
  readonly controlSocket: string
  readonly gateway?: { readonly socket: string; readonly gid: number | null }
  readonly [other: string]: unknown
}

export interface RevivalOptions {
  /** `engine` is replaced by the one that was started. */
  readonly roles: { readonly sensor: Role; engine: Role }
  readonly main: URL
  readonly config: RevivableConfig
}

export class EngineRevival {
  readonly #options: RevivalOptions
  #left = ENGINE_RESTARTS_MAX
  #starting: Promise<boolean> | null = null
  #stopping = false

  constructor(options: RevivalOptions) {
    this.#options = options
    this.#watch(options.roles.engine)
  }

  /** Whoever asks has lost its connection: the engine's end may not have been noticed here yet. */
  async back(): Promise<boolean> {
    const end = performance.now() + NOTICE_MS
    while (this.#starting === null && !this.#stopping && performance.now() < end) await sleep(NOTICE_POLL_MS)
    return (await this.#starting) ?? false
  }

  /** No more engines are started; the one that is starting is waited for. */
  async stop(): Promise<void> {
    this.#stopping = true
    await this.#starting
  }

  #watch(engine: Role): void {
    void engine.exited.then(({ expected }) => {
      if (!expected && !this.#stopping) this.#starting = this.#start()
    })
  }

  async #start(): Promise<boolean> {
    const { roles, main, config } = this.#options
    while (this.#left > 0 && !this.#stopping && roles.sensor.alive()) {
      this.#left -= 1
      // One that was killed left them behind.
      const { uplinkSocket, controlSocket, gateway } = config
      for (const socket of [uplinkSocket, controlSocket, gateway?.socket]) {
        if (socket !== undefined) rmSync(socket, { force: true })
      }
      // Something runs in the sandbox by now that could pass for a sensor.
      const told = { ...config, sensorPid: roles.sensor.pid }
      const engine = await startRole({ name: 'engine', main, config: told, readyDeadlineMs: READY_DEADLINE_MS }).catch(
        () => null,
      )
      if (engine === null) continue
      roles.engine = engine
      this.#watch(engine)
      return true
    }
    return false
  }
}

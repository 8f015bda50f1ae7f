/**
 * The child side of a role: one process that takes its config over IPC, says when it is ready, and goes when it is told to or when
 * its supervisor dies. It guards that no role outlives its supervisor and that stopping is bounded. Restarting a role, and killing
 * one that hangs, is the supervisor's.
 */
import { SluiceError } from './error.js'
import { createLog, type Log, type LogLevel } from './log.js'
import { errorToMessage, type RoleMessage } from './role-message.js'

/** From the first reason to stop until the process is gone, whatever `stop` does. */
export const STOP_DEADLINE_MS = 5_000
/** A supervisor sends the config at once; one that doesn't is broken. */
export const CONFIG_DEADLINE_MS = 10_000

export interface RoleHost {
  log: Log
  /** The role can't go on: it is stopped, and its supervisor told why. Safe to call more than once and before `start` resolves. */
  fail(error: unknown): void
}

/** `told`: by the supervisor, in order. `orphaned`: the supervisor is gone. `failed`: by the role itself. */
export type StopReason = 'told' | 'orphaned' | 'failed'

export interface RunningRole {
  /** What the supervisor says to a role that is ready; a role without it is told nothing but its config. */
  told?(message: unknown): void
  stop(why: StopReason): Promise<void>
}

export interface RoleDefinition<C extends { logLevel: LogLevel }> {
  name: string
  /** Throws for a config that is not whole. */
  parse(raw: unknown): C
  /** Resolves when the role does its work. A throw is passed on to the supervisor with its code and hint. */
  start(config: C, host: RoleHost): Promise<RunningRole>
}

/** Takes over the process: exit code 0 after an ordered stop, 1 for anything else. */
export function runRole<C extends { logLevel: LogLevel }>(role: RoleDefinition<C>): void {
  if (process.send === undefined) {
    process.stderr.write(`${role.name}: this is a part of sluice and is started by it; run \`sluice run\`\n`)
    process.exitCode = 1
    return
  }
  new RoleProcess(role).listen()
}

/** Throws USAGE, one line, for a config that is not whole: what a person wrote can be behind it. */
function parsed<C extends { logLevel: LogLevel }>(role: RoleDefinition<C>, raw: unknown): C {
  try {
    return role.parse(raw)
  } catch (error) {
    const issues: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'issues') : null
    if (!Array.isArray(issues)) throw error
    const lines = issues.map(({ path, message }) => `${[path].flat().join('.')}: ${String(message)}`)
    throw new SluiceError('USAGE', `the ${role.name} can't do with ${lines.join('; ')}`, { cause: error })
  }
}

class RoleProcess<C extends { logLevel: LogLevel }> {
  readonly #role: RoleDefinition<C>
  #log: Log | null = null
  #starting: Promise<RunningRole> | null = null
  #told: Promise<void> = Promise.resolve()
  #answered = false
  #exitCode = 0
  #stopping = false

  constructor(role: RoleDefinition<C>) {
    this.#role = role
  }

  listen(): void {
    const noConfig = setTimeout(() => {
      this.#fail(new SluiceError('PROTOCOL', `${this.#role.name}: no config within ${CONFIG_DEADLINE_MS} ms`))
    }, CONFIG_DEADLINE_MS)
    process.once('message', (raw) => {
      clearTimeout(noConfig)
      void this.#begin(raw)
      process.on('message', (further) => void this.#hear(further))
    })
    process.on('disconnect', () => this.#stop('orphaned'))
    // It can have died while our modules were loading, before anybody listened.
    if (!process.connected) this.#stop('orphaned')
    process.on('SIGTERM', () => this.#stop('told'))
    // Ctrl-C and a closed terminal are for the sandboxed command; the supervisor says when a role goes.
    process.on('SIGINT', () => {})
    process.on('SIGHUP', () => {})
    // Without a handler Node opens its debugger: code in this role for whoever may signal it.
    process.on('SIGUSR1', () => {})
    process.on('uncaughtException', (error) => this.#fail(error))
  }

  async #begin(raw: unknown): Promise<void> {
    if (this.#stopping) return
    try {
      const config = parsed(this.#role, raw)
      const log = createLog({ role: this.#role.name, level: config.logLevel })
      this.#log = log
      this.#starting = this.#role.start(config, { log, fail: (error) => this.#fail(error) })
      await this.#starting
    } catch (error) {
      this.#fail(error)
      return
    }
    if (this.#stopping) return
    this.#answered = true
    this.#tell({ ready: true })
  }

  /** Not before it is ready; what came meanwhile is said then, in order. */
  async #hear(message: unknown): Promise<void> {
    const running = await this.#starting?.catch(() => null)
    if (!this.#stopping) running?.told?.(message)
  }

  #fail(error: unknown): void {
    // The supervisor is told, and tells; the stack is for whoever asks for it.
    this.#log?.debug({ err: error }, `${this.#role.name} can't go on`)
    if (this.#stopping) return
    this.#exitCode = 1
    const message = errorToMessage(error)
    this.#tell(this.#answered ? { failed: message } : { error: message })
    this.#answered = true
    this.#stop('failed')
  }

  #stop(why: StopReason): void {
    if (this.#stopping) return
    this.#stopping = true
    this.#log?.debug({ why }, 'stopping')
    setTimeout(() => {
      this.#log?.error({ deadlineMs: STOP_DEADLINE_MS }, 'stopping took too long; leaving at once')
      process.exit(1)
    }, STOP_DEADLINE_MS)
    void this.#finish(why)
  }

  async #finish(why: StopReason): Promise<void> {
    try {
      // A start that failed has been reported and has nothing to stop.
      const running = await this.#starting?.catch(() => null)
      await running?.stop(why)
    } catch (error) {
      this.#log?.error({ err: error }, 'stopping failed')
      this.#exitCode = 1
    }
    await this.#told
    process.exit(this.#exitCode)
  }

  /** The supervisor may be gone already; then nobody is left to tell. */
  #tell(message: RoleMessage): void {
    if (!process.connected) return
    this.#told = new Promise((resolve) => process.send?.(message, undefined, undefined, () => resolve()))
  }
}

/**
 * The parent side of a role: starts its main as a process of its own, hands it the config, and says when it is ready or gone.
 *
 * It guards that a role gets nothing from us but its config (no environment, no directory, no terminal signals), that every wait ends,
 * and that a role that doesn't stop is killed. It does not start a role again.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { SluiceError } from '../base/error.js'
import { messageToError, parseRoleMessage, type RoleMessage } from '../base/role-message.js'
import { STOP_DEADLINE_MS } from '../base/role-process.js'
import { writeStderr } from '../base/stderr.js'

/** A role bounds its own stopping; what goes beyond that is killed. */
const KILL_AFTER_MS = STOP_DEADLINE_MS + 1_000
/** A role gets no more of our environment: it may hold secrets, or options for Node that would change what runs as root. */
export const ROLE_ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' }

/**
 * SIGUSR1 makes Node open a debugger that runs any code in the process, for whoever may send us signals: a command that runs as root
 * may. Until our own handler is there (base/role-process.ts) the debugger is pointed at an address that can't be bound (RFC 5737).
 * The grammar of bash is optimised a hundred times later than V8 would: its lexer is one function that takes 0.6 s of CPU, in every short run.
 */
export const ROLE_NODE_OPTIONS = ['--inspect-port=192.0.2.1:1025', '--wasm-tiering-budget=200000000']

export interface Role {
  readonly name: string
  readonly pid: number
  /** False once the end of the process has been noticed. */
  alive(): boolean
  /** What its RunningRole hears; lost with a process that is gone. */
  tell(message: unknown): void
  /** Resolves when the process is gone. */
  stop(): Promise<void>
  /** With SIGKILL. */
  kill(): void
  /**
   * `expected`: it went because `stop` was called. `detail`: what it said or how it ended, one line. `exitCode`: null after a signal;
   * 0 only if it put everything in order. Never rejects.
   */
  readonly exited: Promise<{ expected: boolean; detail: string; exitCode: number | null }>
}

export interface RoleOptions {
  name: 'sensor' | 'engine' | 'gateway' | 'sinks'
  /** A JavaScript file that calls `runRole`. */
  main: URL
  config: unknown
  readyDeadlineMs: number
  /** Gives up waiting: the process is killed and the signal's reason thrown. Without effect once the role is ready. */
  signal?: AbortSignal
}

type RoleExit = Awaited<Role['exited']>

/** Resolves when the role is ready. Rejects with the role's own SluiceError, or with ours; then no process is left. */
export async function startRole(options: RoleOptions): Promise<Role> {
  const { name, main, config, readyDeadlineMs, signal } = options
  const subprocess = spawnRole(main)
  subprocess.stderr.on('data', (chunk: Buffer) => writeStderr(chunk))
  let stopping = false
  let last: RoleMessage | null = null
  const answered = new Promise<RoleMessage>((resolve) => {
    subprocess.on('message', (raw: unknown) => {
      last = parseRoleMessage(raw) ?? last
      if (last !== null) resolve(last)
    })
  })
  const exited = subprocess.then((result): RoleExit => {
    const how = howItEnded(result)
    const detail = last !== null && 'failed' in last ? `${last.failed.message} (${how})` : how
    return { expected: stopping, detail, exitCode: result.exitCode ?? null }
  })
  try {
    await sendConfig(subprocess, config)
    const answer = await Promise.race([answered, exited, deadline(readyDeadlineMs, signal)])
    checkAnswer(name, answer, readyDeadlineMs)
  } catch (error) {
    end(subprocess, 'SIGKILL')
    await exited
    throw error
  }
  let alive = true
  void exited.then(() => {
    alive = false
  })
  return {
    name,
    pid: subprocess.pid ?? 0,
    alive: () => alive,
    exited,
    tell(message) {
      if (subprocess.connected) subprocess.send(Object(message), () => {})
    },
    async stop() {
      stopping = true
      end(subprocess, 'SIGTERM')
      await exited
    },
    kill: () => end(subprocess, 'SIGKILL'),
  }
}

/** Without CAP_KILL a role that is another user by now can't be signalled; it stops by itself when its lifeline goes. */
function end(subprocess: ReturnType<typeof spawnRole>, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (!subprocess.kill(signal) && subprocess.connected) subprocess.disconnect()
}

function spawnRole(main: URL) {
  return execa(process.execPath, [...ROLE_NODE_OPTIONS, fileURLToPath(main)], {
    cwd: '/',
    env: ROLE_ENVIRONMENT,
    extendEnv: false,
    // Not ours: Node would make the role's copy of it non-blocking, and with it that of everybody who shares it.
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    ipc: true,
    buffer: false,
    // A session of its own: what is typed at our terminal does not reach it.
    detached: true,
    reject: false,
    forceKillAfterDelay: KILL_AFTER_MS,
  })
}

/** A role that died before it took its config has more to say by its exit. */
async function sendConfig(subprocess: ReturnType<typeof spawnRole>, config: unknown): Promise<void> {
  if (subprocess.connected) await new Promise<void>((resolve) => subprocess.send(Object(config), () => resolve()))
}

/** Resolves with null; rejects with the signal's reason. */
async function deadline(ms: number, signal: AbortSignal | undefined): Promise<null> {
  try {
    return await sleep(ms, null, { ref: false, ...(signal === undefined ? {} : { signal }) })
  } catch {
    throw signal?.reason
  }
}

function checkAnswer(name: string, answer: RoleMessage | RoleExit | null, deadlineMs: number): void {
  if (answer === null) {
    throw new SluiceError('LIMIT', `the ${name} was not ready within ${deadlineMs} ms`, {
      hint: 'run again with --log-level debug to see where it waits',
    })
  }
  if ('error' in answer) throw messageToError(answer.error)
  if ('failed' in answer) throw messageToError(answer.failed)
  if ('ready' in answer) return
  throw new SluiceError('INTERNAL', `the ${name} ended before it was ready: ${answer.detail}`, {
    hint: 'its last words are on stderr; is the build whole? `npm run build`',
  })
}

function howItEnded(result: {
  exitCode?: number | undefined
  signal?: string | undefined
  message?: string | undefined
}): string {
  if (result.signal !== undefined) return `killed by ${result.signal}`
  if (result.exitCode !== undefined) return `exit code ${result.exitCode}`
  return result.message ?? 'it could not be started'
}

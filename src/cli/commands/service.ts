/**
 * What the commands that stay have in common: they keep something running until they are told to stop, log JSON lines to stderr, and tell
 * the service manager. Guards that a stop in the middle of a start waits for it, and that what a stop could not do is an error.
 */
import { setInterval } from 'node:timers'
import { messageOf, SluiceError } from '../../base/error.js'
import { createLog, type Log, type LogLevel } from '../../base/log.js'
import { type AgentHost, agentHost } from '../../supervise/agent-host.js'

const STAYS_ALIVE_MS = 2 ** 30

export interface Service {
  readonly name: string
  readonly logLevel: LogLevel
  /** $NOTIFY_SOCKET, null where there is none. */
  readonly notifySocket: string | null
  /** Resolves when it does its work. */
  start(host: AgentHost, log: Log): Promise<{ reload?(): void; stop(): Promise<void> }>
}

/** Resolves with 0 after an ordered stop. Throws what keeps it from starting. */
export async function serve({ name, logLevel, notifySocket, start }: Service): Promise<number> {
  const log = createLog({ role: name, level: logLevel })
  const stop = stopSignal()
  const host = agentHost(notifySocket, (problem) => log.warn({ problem }, 'the service manager was not told'))
  const starting = start(host, log)
  starting.catch(() => {})
  // A stop that comes early waits for the start: half a start is more to clean up than a whole one.
  const running = await starting
  host.notify('READY=1')
  process.on('SIGHUP', () => running.reload?.())
  // Handlers of signals do not keep a process alive.
  const alive = setInterval(() => {}, STAYS_ALIVE_MS)
  const signal = await stop
  clearInterval(alive)
  log.info({ signal }, 'stopping')
  host.notify('STOPPING=1')
  try {
    await running.stop()
  } catch (error) {
    throw error instanceof SluiceError ? error : new SluiceError('INTERNAL', messageOf(error))
  }
  log.info('stopped')
  return 0
}

/** The first of them; further ones change nothing. */
function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve(signal))
    process.on('SIGHUP', () => {})
    // Without a handler Node opens its debugger.
    process.on('SIGUSR1', () => {})
  })
}

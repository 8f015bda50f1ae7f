/**
 * The one importer of pino: JSON lines on stderr, written before the call returns, so that the last words of a dying role are not
 * lost. A log that can't be written (closed pipe, full disk) is given up; it never takes the role down with it.
 */
import { pino } from 'pino'

export const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug'] as const

export type LogLevel = (typeof LOG_LEVELS)[number]

export type Log = Pick<pino.Logger, 'error' | 'warn' | 'info' | 'debug'>

const STDERR_FD = 2

/** `role` names the process in every line: sensor, engine, cli. */
export function createLog(options: { role: string; level: LogLevel }): Log {
  const destination = pino.destination({ fd: STDERR_FD, sync: true })
  destination.on('error', () => {})
  return pino(
    {
      level: options.level,
      base: { role: options.role, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  )
}

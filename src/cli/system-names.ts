/**
 * Names of errno values and signals on this platform, and the exit code that stands for a signal. Guards nothing.
 */
import { constants } from 'node:os'

/** Where two names share one number, the one people know. */
const PREFERRED_ERRNO: readonly string[] = ['EAGAIN', 'EOPNOTSUPP', 'EDEADLK']

const errnoNames = namesByNumber(constants.errno, PREFERRED_ERRNO)
const signalNames = namesByNumber(constants.signals, ['SIGABRT', 'SIGIO', 'SIGCHLD'])

function namesByNumber(
  table: Readonly<Record<string, number>>,
  preferred: readonly string[],
): ReadonlyMap<number, string> {
  const names = new Map<number, string>()
  for (const [name, number] of Object.entries(table)) {
    if (!names.has(number) || preferred.includes(name)) names.set(number, name)
  }
  return names
}

/** `ENOENT` for 2; `errno 9999` for what has no name here. */
export function errnoName(errno: number): string {
  return errnoNames.get(errno) ?? `errno ${errno}`
}

/** `SIGKILL` for 9; `signal 40` for a real-time one. */
export function signalName(signal: number): string {
  return signalNames.get(signal) ?? `signal ${signal}`
}

/** 0 for a name this platform does not have. */
export function signalNumber(name: string): number {
  return (constants.signals as Readonly<Record<string, number>>)[name] ?? 0
}

/**
 * The exit codes of `sluice run` (docs: own failures are 125, never the command's). Pure; the process's exit code is set in main.ts.
 */
import { signalName, signalNumber } from './system-names.js'

/** Ours: wrong usage of `run`, no privilege, a part that does not start. */
export const EXIT_OWN_FAILURE = 125
export const EXIT_NOT_EXECUTABLE = 126
export const EXIT_NOT_FOUND = 127
/** `--fail-on` matched and the command itself succeeded. */
export const EXIT_FAIL_ON = 3
/** Wrong usage of any other command. */
export const EXIT_USAGE = 2
const EXIT_SIGNAL_BASE = 128

/** How a command ended: it exited with `code`, or `signal` (its number, else 0) ended it. */
export interface ChildStatus {
  readonly code: number
  readonly signal: number
}

/** From what Node says of a child process: a code, or the name of a signal. */
export function childStatus(code: number | null, signal: string | null): ChildStatus {
  return signal === null ? { code: code ?? EXIT_OWN_FAILURE, signal: 0 } : { code: 0, signal: signalNumber(signal) }
}

/** What `run` exits with. The command's own failure is never replaced. */
export function exitCodeOf(status: ChildStatus, failOnMatched: boolean): number {
  if (status.signal !== 0) return EXIT_SIGNAL_BASE + status.signal
  return status.code === 0 && failOnMatched ? EXIT_FAIL_ON : status.code
}

export function describeStatus(status: ChildStatus): string {
  return status.signal !== 0 ? `killed by ${signalName(status.signal)}` : `exit ${status.code}`
}

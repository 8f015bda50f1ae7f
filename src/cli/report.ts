/**
 * What the command line says to people about its own failures: one line, what and where, then what to do. Guards the terminal: text
 * from outside is neutralised.
 */
import { SluiceError } from '../base/error.js'
import { neutralise } from './display-text.js'
import { EXIT_OWN_FAILURE } from './exit-code.js'

/** `sluice: what; hint`, without a line end. */
export function errorLine(error: unknown): string {
  if (error instanceof SluiceError) {
    return neutralise(`sluice: ${error.message}${error.hint === null ? '' : `; ${error.hint}`}`)
  }
  return neutralise(`sluice: internal error: ${error instanceof Error ? error.message : String(error)}`)
}

/** Exit code of a command other than `run` that threw. */
export function exitCodeOfError(error: unknown, usageCode: number): number {
  if (!(error instanceof SluiceError)) return EXIT_OWN_FAILURE
  return error.code === 'USAGE' ? usageCode : error.code === 'UNSUPPORTED' ? usageCode : 1
}

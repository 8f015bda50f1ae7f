/** The process of a recorded event, as it must be for detection: who made the recording up or changed it is told which field is wrong. */
import { SluiceError } from '../../base/error.js'

const TEXTS = ['execId', 'parentExecId', 'exe', 'cwd'] as const
const HINT = 'every process of a recording has it: record the session anew, or take the line out'

/** Throws PROTOCOL with the field that is missing or of another type. */
export function checkProcess(process: Readonly<Record<string, unknown>>): void {
  const problem = problemOf(process)
  if (problem !== null) throw new SluiceError('PROTOCOL', `not an event: process.${problem}`, { hint: HINT })
}

/** Null: it is as it must be. */
export function problemOf(process: Readonly<Record<string, unknown>>): string | null {
  for (const field of TEXTS) {
    if (typeof process[field] !== 'string') return wrong(field, process[field], 'a string')
  }
  const { pid, args, spawnerExecId } = process
  if (!['number', 'undefined'].includes(typeof pid)) return wrong('pid', pid, 'a number')
  // Recordings of before have none.
  if (!['string', 'undefined'].includes(typeof spawnerExecId)) return wrong('spawnerExecId', spawnerExecId, 'a string')
  const isList = Array.isArray(args) && args.every((argument) => typeof argument === 'string')
  return isList ? null : wrong('args', args, 'a list of strings')
}

function wrong(field: string, value: unknown, wanted: string): string {
  return value === undefined ? `${field} is missing` : `${field} is not ${wanted}`
}

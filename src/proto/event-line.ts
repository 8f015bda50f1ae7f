/**
 * Lines of a recording read back. It guards the fields that every event has and that there is exactly one kind; a field it does not
 * know is kept, so that a line can be passed on as it was. It does not check every field of the kind.
 */
import { messageOf, SluiceError } from '../base/error.js'
import { EVENT_KINDS, type EventJson } from './event-json.js'
import { textToUnixNs } from './time-text.js'

/** What a common field must be; `u64` is a string of digits, `time` RFC 3339 with nine digits. */
const COMMON_FIELDS = {
  schema: 'number',
  source: 'string',
  node: 'object',
  uid: 'string',
  time: 'time',
  seq: 'u64',
  sandbox: 'object',
  sessionId: 'string',
  toolCallId: 'string',
} as const

const U64 = /^\d{1,20}$/

/** Throws PROTOCOL with the field that is wrong. The caller adds the number of the line. */
export function parseEventLine(line: string): EventJson {
  const event = parseObject(line)
  for (const [field, type] of Object.entries(COMMON_FIELDS)) {
    const problem = problemOf(event[field], type)
    if (problem !== null) throw new SluiceError('PROTOCOL', `not an event: ${field} ${problem}`)
  }
  if (event.process !== undefined && !isObject(event.process)) {
    throw new SluiceError('PROTOCOL', 'not an event: process is not an object')
  }
  const kinds = EVENT_KINDS.filter((kind) => kind in event)
  const [kind] = kinds
  if (kind === undefined) throw new SluiceError('PROTOCOL', 'an event of no kind that this version knows')
  if (kinds.length > 1) throw new SluiceError('PROTOCOL', `not an event: it is of two kinds, ${kinds.join(' and ')}`)
  if (!isObject(event[kind])) throw new SluiceError('PROTOCOL', `not an event: ${kind} is not an object`)
  return event as unknown as EventJson
}

function parseObject(line: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (error) {
    throw new SluiceError('PROTOCOL', `not JSON: ${messageOf(error)}`, { cause: error })
  }
  if (!isObject(value)) throw new SluiceError('PROTOCOL', 'not an event: the line is not a JSON object')
  return value
}

function problemOf(value: unknown, type: (typeof COMMON_FIELDS)[keyof typeof COMMON_FIELDS]): string | null {
  if (value === undefined) return 'is missing'
  switch (type) {
    case 'object':
      return isObject(value) ? null : 'is not an object'
    case 'u64':
      return typeof value === 'string' && U64.test(value) ? null : 'is not a string of digits'
    case 'time':
      return typeof value === 'string' && isTime(value)
        ? null
        : 'is not a time of the form 2006-01-02T15:04:05.000000000Z'
    default:
      return typeof value === type ? null : `is not a ${type}`
  }
}

function isTime(value: string): boolean {
  try {
    textToUnixNs(value)
    return true
  } catch {
    return false
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

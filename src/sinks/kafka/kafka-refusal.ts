/**
 * What a broker's refusal means. Guards that only what is wrong with an event itself counts against it: whatever somebody can put right is waited for, and whoever has to
 * reads what. The codes are of https://kafka.apache.org/protocol#protocol_error_codes, and so is whether one passes by itself (`retriable`).
 */
import { messageOf } from '../../base/error.js'

/** Of events, which will be refused again: 10, 18, 32, 87. */
const OF_EVENTS = ['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE', 'INVALID_TIMESTAMP', 'INVALID_RECORD']
const CAUSES_MAX = 8

interface Refusal {
  readonly type: string
  readonly isRetriable: boolean
  readonly text: string
}

/** The broker has read the events, and does not take one of them. */
export function isOfEvents(error: unknown): boolean {
  return OF_EVENTS.includes(refusalOf(error)?.type ?? '')
}

export function reasonOfKafka(error: unknown, topic: string): string {
  const refusal = refusalOf(error)
  if (refusal === null) return messageOf(rootOf(error))
  const { type, text, isRetriable } = refusal
  if (type === 'UNKNOWN_TOPIC_OR_PARTITION')
    return `there is no topic ${topic}: make it, or give this user the right to describe it`
  if (type.includes('AUTHORIZATION'))
    return `this user may not write to the topic ${topic} (${type}): it needs WRITE and DESCRIBE`
  if (/SASL/.test(type)) return `the broker does not let us in (${type}): are user, password and mechanism right?`
  return isRetriable ? `${text} (${type})` : `${text} (${type}); somebody has to put that right`
}

/** Null: no broker said it. The library puts one error in another. */
function refusalOf(error: unknown): Refusal | null {
  for (const each of causes(error)) {
    const type: unknown = Reflect.get(each, 'type')
    if (typeof type === 'string')
      return { type, isRetriable: Reflect.get(each, 'retriable') === true, text: each.message }
  }
  return null
}

function rootOf(error: unknown): unknown {
  return causes(error).at(-1) ?? error
}

function causes(error: unknown): Error[] {
  const found: Error[] = []
  for (let each = error; each instanceof Error && found.length < CAUSES_MAX; each = each.cause) found.push(each)
  return found
}

/** The fact that a query leaves: what was asked, what was answered and why. Bounded, whatever the answer has. */

import { rcodeName, TYPE, typeName } from '../base/dns-codes.js'
import type { DnsQuestion, DnsRecord } from '../base/dns-message.js'
import { mappedAddress } from '../base/special-addresses.js'
import type { DnsAnswer, DnsFact } from './dns-fact.js'
import type { Outcome } from './outcome.js'

/** In one event. */
const ANSWERS_MAX = 32

export function factOf(sandboxId: string, { name, type }: DnsQuestion, outcome: Outcome): DnsFact {
  const { rcode, records = [], decision, rule = '', policy = '', reason = '', resolver = '' } = outcome
  return {
    ...{ sandboxId, name: name.text, type: typeName(type), rcode: rcodeName(rcode), resolver },
    ...{ decision, rule, policy, reason, timeMs: Date.now() },
    answers: records.slice(0, ANSWERS_MAX).map(answerOf),
  }
}

function answerOf({ type, data, target }: DnsRecord): DnsAnswer {
  const isAddress = type === TYPE.A || type === TYPE.AAAA
  const text = target === undefined ? typeName(type) : `${typeName(type)} ${target.text}`
  return isAddress ? { address: mappedAddress(data), text: '' } : { address: null, text }
}

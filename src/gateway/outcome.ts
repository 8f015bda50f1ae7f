/** What becomes of a query, and the two ways in which it gets no answer: policy's, and anybody else's. */

import { EXTENDED, RCODE } from '../base/dns-codes.js'
import type { DnsRecord } from '../base/dns-message.js'
import { Decision } from '../proto/codec.js'
import type { ExtendedError } from './dns-writer.js'

export interface Outcome {
  readonly rcode: number
  readonly records?: readonly DnsRecord[]
  readonly authorities?: readonly DnsRecord[]
  readonly error?: ExtendedError
  /** The policy's. */
  readonly decision: Decision
  readonly rule?: string
  readonly policy?: string
  readonly reason?: string
  readonly resolver?: string
}

export function refusal(reason: string, rule: string): Outcome {
  const error = { code: EXTENDED.BLOCKED, text: `sluice: denied by ${rule}: ${reason}` }
  return { rcode: RCODE.REFUSED, error, decision: Decision.DECISION_DENY, rule, reason }
}

export function failure(why: string, code: ExtendedError['code']): Outcome {
  const error = { code, text: `sluice: ${why}` }
  return { rcode: RCODE.SERVFAIL, error, decision: Decision.DECISION_ALLOW, reason: why }
}

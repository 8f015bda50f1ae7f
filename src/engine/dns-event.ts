/**
 * The event of a name that was asked for: from what the gateway tells, or from a resolver's answer as it came by. Bounded: the gateway has its
 * own limits, and we don't rely on them; a resolver has none.
 */
import { CLASS_IN, rcodeName, TYPE, typeName } from '../base/dns-codes.js'
import { type DnsMessage, type DnsRecord, readMessage } from '../base/dns-message.js'
import { mappedAddress } from '../base/special-addresses.js'
import { addressToText } from '../proto/address.js'
import {
  Decision,
  fromBigInt,
  type IDns,
  type IDnsFact,
  type IDnsPacketFacts,
  type ILimitFact,
  toBigInt,
} from '../proto/codec.js'
import { IPPROTO_TCP } from './kernel-facts.js'
import type { Session } from './session.js'

const NAME_CHARS_MAX = 1_100
const TEXT_CHARS_MAX = 512
const ANSWERS_MAX = 32
const ENFORCED_BY = 'gateway'
const LIMIT_RULE = 'limits.dns'
const NS_PER_MS = 1_000_000n
const ALIASES_MAX = 16
/** Of one answer. */
const ADDRESSES_MAX = 64

/** `instance` and the fact's number name it, so that the same fact is the same event. */
export function tellDns(session: Session, fact: IDnsFact, instance: string): void {
  session.told(
    { dns: dnsOf(fact) },
    { source: 'gateway', unixNs: toBigInt(fact.timeUnixNs), parts: ['dns', instance, String(toBigInt(fact.number))] },
  )
}

/** As `tellDns`. */
export function tellLimit(session: Session, fact: ILimitFact, instance: string): void {
  const toUnixNs = toBigInt(fact.toUnixNs)
  const windowNs = toUnixNs - toBigInt(fact.fromUnixNs)
  const verdict = {
    decision: Decision.DECISION_DENY,
    ...{ rule: LIMIT_RULE, policy: short(fact.policy), reason: 'more names were looked up than its limit allows' },
    enforcedBy: ENFORCED_BY,
  }
  const windowMs = fromBigInt(windowNs > 0n ? windowNs / NS_PER_MS : 0n)
  session.told(
    { limitHit: { what: 'dns', refused: fact.refused ?? null, windowMs, verdict } },
    { source: 'gateway', unixNs: toUnixNs, parts: ['limit', instance, String(toBigInt(fact.number))] },
  )
}

function dnsOf(fact: IDnsFact): IDns {
  return {
    name: (fact.name ?? '').slice(0, NAME_CHARS_MAX),
    type: short(fact.type),
    rcode: short(fact.rcode),
    answers: (fact.answers ?? [])
      .slice(0, ANSWERS_MAX)
      .map(({ address, text }) =>
        address?.length === 16 ? addressToText(address) : (text ?? '').slice(0, NAME_CHARS_MAX),
      ),
    resolver: short(fact.resolver),
    verdict: {
      decision: fact.decision ?? 0,
      ...{ rule: short(fact.rule), policy: short(fact.policy), reason: short(fact.reason) },
      enforcedBy: fact.rule ? ENFORCED_BY : '',
    },
  }
}

function short(text: string | null | undefined): string {
  return (text ?? '').slice(0, TEXT_CHARS_MAX)
}

/** Not the DNS, or not as it is written down. */
const UNREADABLE = 'UNREADABLE'
const NO_NAME = { name: '', addresses: [], ttl: 0 }

export interface ReadAnswer {
  readonly dns: IDns
  /** What the name that was asked for leads to. */
  readonly learnt: { readonly name: string; readonly addresses: readonly Uint8Array[]; readonly ttl: number }
}

/** Of a whole message that came from a resolver. Never throws. */
export function readAnswer(bytes: Buffer, { resolver, protocol }: IDnsPacketFacts): ReadAnswer {
  const from = resolver?.length === 16 ? addressToText(resolver) : ''
  const by = { resolver: from.includes(':') ? `[${from}]:53` : `${from}:53` }
  try {
    const message = readMessage(bytes)
    const { question, answers } = message
    const name = question.name.text
    const dns = {
      ...{ ...by, name, type: typeName(question.type), rcode: rcodeName(message.rcode) },
      answers: answers.slice(0, ANSWERS_MAX).map(answerText),
    }
    return { dns, learnt: { name, ...addressesOf(message) } }
  } catch {
    const type = `${bytes.length} bytes over ${protocol === IPPROTO_TCP ? 'TCP' : 'UDP'}`
    return { dns: { ...by, name: '', type, rcode: UNREADABLE, answers: [] }, learnt: NO_NAME }
  }
}

function answerText({ type, data, target }: DnsRecord): string {
  if (type === TYPE.A || type === TYPE.AAAA) return addressToText(mappedAddress(data))
  return (target === undefined ? typeName(type) : `${typeName(type)} ${target.text}`).slice(0, NAME_CHARS_MAX)
}

/** At the end of its aliases, wherever in the answer they are. */
function addressesOf({ question, answers }: DnsMessage): { addresses: Uint8Array[]; ttl: number } {
  let end = question.name.text
  const own = answers.filter((record) => record.class === CLASS_IN)
  for (let count = 0; count < ALIASES_MAX; count++) {
    const alias = own.find(({ name, type, target }) => type === TYPE.CNAME && target !== undefined && name.text === end)
    if (alias?.target === undefined) break
    end = alias.target.text
  }
  const found = own.filter(({ name, type }) => name.text === end && (type === TYPE.A || type === TYPE.AAAA))
  const ttl = found.reduce((least, record) => Math.min(least, record.ttl), Number.MAX_SAFE_INTEGER)
  return { addresses: found.slice(0, ADDRESSES_MAX).map(({ data }) => mappedAddress(data)), ttl }
}

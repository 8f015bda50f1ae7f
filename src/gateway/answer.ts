/**
 * What of a resolver's reply a sandbox is given: the chain of aliases from the name that was asked, the records at its end, and nothing
 * beside it. It guards that addresses of the inside are left out unless a rule takes them, that service bindings lead no client past
 * us, and that each address that is given is one that a lease was asked for. Not here: asking (resolver.ts), leases (sandbox-dns.ts).
 */

import { CLASS_IN, RCODE, TYPE } from '../base/dns-codes.js'
import type { DnsMessage, DnsQuestion, DnsRecord } from '../base/dns-message.js'
import type { DnsName } from '../base/dns-name.js'
import { mappedAddress, type SpecialKind, specialKindOf, takesPrivate } from '../base/special-addresses.js'
import type { IHostRule } from '../proto/codec.js'
import { strippedBinding } from './svcb.js'

/** Of names that lead on to another one. */
export const ALIASES_MAX = 16
/** Of one answer: more than a client tries. */
export const ADDRESSES_MAX = 64
/** Of records in one answer. */
const ANSWER_RECORDS_MAX = 256

export interface Chain {
  readonly aliases: readonly DnsRecord[]
  /** Where it ends, or where the reply says no more. */
  readonly end: DnsName
  readonly records: readonly DnsRecord[]
}

/** Follows the reply from `start`. Null: it goes in a circle or is too long. */
export function chainOf(message: DnsMessage, { name: start, type }: DnsQuestion): Chain | null {
  const aliases: DnsRecord[] = []
  let end = start
  for (;;) {
    const own = message.answers.filter(({ name, class: klass }) => klass === CLASS_IN && name.text === end.text)
    const records = own.filter((record) => record.type === type)
    const alias = own.find((record) => record.type === TYPE.CNAME)
    if (records.length > 0 || alias?.target === undefined) return { aliases, end, records }
    aliases.push(alias)
    if (aliases.length > ALIASES_MAX) return null
    end = alias.target
  }
}

/** Whether the reply ends with an alias of which it does not say what it stands for. */
export function isUnfinished(message: DnsMessage, { aliases, records }: Chain): boolean {
  const { rcode, authorities } = message
  if (rcode !== RCODE.NOERROR || aliases.length === 0 || records.length > 0) return false
  return !authorities.some(({ type }) => type === TYPE.SOA)
}

export interface Judged {
  readonly records: readonly DnsRecord[]
  /** By rule: what may be leased for it, 16 bytes each. */
  readonly leases: readonly { readonly rule: IHostRule; readonly addresses: readonly Uint8Array[] }[]
  /** Left out, and why. */
  readonly leftOut: readonly { readonly address: Uint8Array; readonly kind: SpecialKind }[]
}

/** `rules`: those that name the host. `refuses` false: nothing is left out. `isAllowed`: whether a service binding may lead there. */
export function judgeRecords(
  records: readonly DnsRecord[],
  { rules, refuses, isAllowed }: { rules: readonly IHostRule[]; refuses: boolean; isAllowed(name: string): boolean },
): Judged {
  const kept: DnsRecord[] = []
  const leftOut: { address: Uint8Array; kind: SpecialKind }[] = []
  const leases = rules.map((rule) => ({ rule, addresses: [] as Uint8Array[] }))
  let addresses = 0
  for (const record of records.slice(0, ANSWER_RECORDS_MAX)) {
    if (record.type === TYPE.A || record.type === TYPE.AAAA) {
      if (++addresses > ADDRESSES_MAX) continue
      const address = mappedAddress(record.data)
      const kind = specialKindOf(address)
      const takers = leases.filter(({ rule }) => kind === null || takesPrivate(rule, address))
      for (const taker of takers) taker.addresses.push(address)
      if (takers.length > 0 || !refuses) kept.push(record)
      else leftOut.push({ address, kind: kind ?? 'reserved' })
    } else if (refuses && (record.type === TYPE.SVCB || record.type === TYPE.HTTPS)) {
      const bound = ownBinding(record, isAllowed)
      if (bound !== null) kept.push(bound)
    } else kept.push(record)
  }
  return { records: kept, leases: leases.filter((lease) => lease.addresses.length > 0), leftOut }
}

/** Null: it leads to a name that is not allowed; without it a client takes the name's own addresses. */
function ownBinding(record: DnsRecord, isAllowed: (name: string) => boolean): DnsRecord | null {
  const { target, data } = strippedBinding(record.data)
  const isOwn = target.text === '' || target.text === record.name.text
  return isOwn || isAllowed(target.text) ? { ...record, data } : null
}

const SOA_MINIMUM_BYTES = 4

/** How long a "there is none" holds (RFC 2308, 5), in seconds; 0 where nobody says. */
export function negativeTtl(authorities: readonly DnsRecord[]): number {
  const soa = authorities.find(({ type }) => type === TYPE.SOA)
  return soa === undefined ? 0 : Math.min(soa.ttl, soa.data.readUInt32BE(soa.data.length - SOA_MINIMUM_BYTES))
}

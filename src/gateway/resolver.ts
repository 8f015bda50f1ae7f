/**
 * From a question to what a sandbox may be told: asks the resolvers, follows aliases that they leave open, and judges what comes. It guards
 * that a name that policy denies is not reached by way of another one. Not here: whether the name itself may be asked for, and leases.
 */

import { RCODE, TYPE } from '../base/dns-codes.js'
import type { DnsQuestion, DnsRecord } from '../base/dns-message.js'
import { SluiceError } from '../base/error.js'
import type { IHostRule } from '../proto/codec.js'
import { type Chain, chainOf, isUnfinished, type Judged, judgeRecords, negativeTtl } from './answer.js'
import type { HostTable } from './host-table.js'
import type { Upstream, UpstreamReply } from './upstream.js'

/** An answer to a client is good for so long, whatever the resolver says. */
export const TTL_MIN_S = 30
/** A lease may have an hour, and has to outlast the answer. */
export const LEASE_GRACE_S = 30
export const TTL_MAX_S = 3_600 - LEASE_GRACE_S
/** Of an answer that there is nothing. */
const NEGATIVE_TTL_MAX_S = 300
/** Of one question of a client. */
const ASKS_MAX = 5

export interface Resolved extends Judged {
  readonly rcode: number
  /** Before `records`. */
  readonly aliases: readonly DnsRecord[]
  readonly authorities: readonly DnsRecord[]
  /** Seconds; 0: not to be kept. */
  readonly ttl: number
  readonly resolver: string
  /** An alias led to a name that policy denies, by this rule; null: none did. */
  readonly denied: { readonly name: string; readonly rule: string; readonly reason: string } | null
}

export interface Scope {
  readonly hosts: HostTable
  /** That name the host. */
  readonly rules: readonly IHostRule[]
  /** False: everything is answered, and what the rules allow is leased. */
  readonly refuses: boolean
}

/** Throws what `Upstream.ask` throws, and PROTOCOL for an answer that makes no sense. */
export async function resolve(upstream: Upstream, question: DnsQuestion, scope: Scope): Promise<Resolved> {
  const { reply, aliases, last } = await follow(upstream, question)
  const { message, resolver } = reply
  const isAllowed = (name: string) => scope.hosts.lookUp(name).kind === 'allow'
  const judged = judgeRecords(last.records, { ...scope, isAllowed })
  const denied = scope.refuses ? deniedAlias(scope.hosts, aliases) : null
  const found = [...aliases, ...judged.records]
  const soa = message.authorities.filter(({ type }) => type === TYPE.SOA).slice(0, 1)
  const ttl = last.records.length > 0 ? clampedTtl(found) : Math.min(negativeTtl(soa), NEGATIVE_TTL_MAX_S)
  return {
    ...judged,
    rcode: message.rcode,
    aliases,
    authorities: last.records.length > 0 ? [] : soa,
    ttl: isSound(message.rcode) ? ttl : 0,
    resolver,
    denied,
  }
}

interface Followed {
  readonly reply: UpstreamReply
  readonly aliases: readonly DnsRecord[]
  readonly last: Chain
}

async function follow(upstream: Upstream, question: DnsQuestion): Promise<Followed> {
  const aliases: DnsRecord[] = []
  const seen = new Set<string>()
  let next = question
  for (let asks = 0; asks < ASKS_MAX; asks++) {
    const reply = await upstream.ask(next)
    const last = chainOf(reply.message, next)
    if (last === null) break
    aliases.push(...last.aliases)
    if (!isUnfinished(reply.message, last)) return { reply, aliases, last }
    if (seen.has(last.end.text)) break
    seen.add(last.end.text)
    next = { ...question, name: last.end }
  }
  throw new SluiceError('PROTOCOL', 'its aliases come to no end')
}

/** A rule has to say so: a name that no rule names may stand behind one that is allowed. */
function deniedAlias(hosts: HostTable, aliases: readonly DnsRecord[]): Resolved['denied'] {
  for (const { target } of aliases) {
    if (target === undefined) continue
    const verdict = hosts.lookUp(target.text)
    if (verdict.kind === 'deny' && verdict.rule !== 'default') return { name: target.text, ...verdict }
  }
  return null
}

function isSound(rcode: number): boolean {
  return rcode === RCODE.NOERROR || rcode === RCODE.NXDOMAIN
}

function clampedTtl(records: readonly DnsRecord[]): number {
  const least = records.reduce((ttl, record) => Math.min(ttl, record.ttl), TTL_MAX_S)
  return Math.max(TTL_MIN_S, least)
}

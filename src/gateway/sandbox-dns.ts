/**
 * The resolver of one sandbox: each query judged by the sandbox's policy, answered from what it was told before or by the machine's
 * resolvers, and told as a fact. It guards the order: a name that policy does not allow is never asked for, and the kernel has the lease
 * before the answer goes out. Anything that goes wrong on the way is an answer without addresses. Not here: sockets (dns-server.ts).
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { CLASS_IN, EXTENDED, FLAG, RCODE, TYPE } from '../base/dns-codes.js'
import { type DnsMessage, type DnsQuestion, type DnsRecord, queryHeader, readMessage } from '../base/dns-message.js'
import { isPlain } from '../base/dns-name.js'
import { messageOf } from '../base/error.js'
import { Decision, DnsMode, type ICompiledPolicy, type ILease, Mode } from '../proto/codec.js'
import { type CacheBudget, DnsCache } from './dns-cache.js'
import type { DnsFact, LimitFact } from './dns-fact.js'
import type { DnsWriter, WrittenMessage } from './dns-writer.js'
import { factOf } from './fact-of.js'
import type { AllowedHost, DeniedHost, HostTable } from './host-table.js'
import { LimitWindow } from './limit-window.js'
import { failure, type Outcome, refusal } from './outcome.js'
import { QueryBudget, type QueryRate } from './query-budget.js'
import { LEASE_GRACE_S, type Resolved, resolve } from './resolver.js'
import { failureOf, type Upstream } from './upstream.js'

/** Different questions of one sandbox that wait for a resolver. */
const WAITING_MAX = 128
/** Turns of the loop without a message: each looks at every socket. */
const QUIET_TURNS = 2
const QUIET_TURNS_MAX = 256
const UDP_BYTES_MIN = 512
/** It never leaves this machine. */
const UDP_BYTES_MAX = 4_096
const OWN_EDNS_BYTES = 4_096

/** What a client may ask for: the rest leads nowhere that a lease could follow, or is for servers (RFC 8482, 5936). */
const TYPES_ANSWERED: ReadonlySet<number> = new Set([
  ...[TYPE.A, TYPE.AAAA, TYPE.CNAME, TYPE.NS, TYPE.SOA, TYPE.MX, TYPE.TXT, TYPE.SRV, TYPE.PTR],
  ...[TYPE.SVCB, TYPE.HTTPS, TYPE.CAA, TYPE.TLSA, TYPE.DS, TYPE.DNSKEY],
])

export interface SandboxDnsParts {
  readonly sandboxId: string
  readonly writer: DnsWriter
  readonly upstream: Upstream
  readonly cacheBudget: CacheBudget
  readonly rate: QueryRate
  /** Resolves when the kernel has it. */
  lease(sandboxId: string, lease: ILease): Promise<void>
  /** A query is here: it is told, limited or lost, once. */
  took(sandboxId: string): void
  tell(fact: DnsFact): void
  tellLimit(fact: LimitFact): void
  lose(sandboxId: string, count: number, cause: string): void
  nowMs(): number
}

/** What is judged by: the same for all sandboxes with the same policy. */
export interface JudgedBy {
  readonly policy: ICompiledPolicy
  readonly hosts: HostTable
}

interface Kept {
  readonly resolved: Resolved
}

interface InForce extends JudgedBy {
  /** False: what policy does not allow is told, and answered. */
  readonly refuses: boolean
}

export class SandboxDns {
  readonly #parts: SandboxDnsParts
  readonly #cache: DnsCache<Kept>
  #budget: QueryBudget
  readonly #refusals: LimitWindow
  readonly #waiting = new Map<string, Promise<Outcome>>()
  #inForce: InForce | null = null
  /** Queries that wait for their answer. */
  #underWay = 0
  #isClosed = false
  /** Messages that came, whatever they were. */
  #seen = 0

  constructor(parts: SandboxDnsParts) {
    this.#parts = parts
    this.#cache = new DnsCache({ budget: parts.cacheBudget, nowMs: parts.nowMs })
    this.#budget = new QueryBudget(parts.rate, parts.nowMs)
    this.#refusals = new LimitWindow((window) =>
      parts.tellLimit({ sandboxId: parts.sandboxId, policy: this.#inForce?.policy.name ?? '', ...window }),
    )
  }

  /** From here on this policy holds: what was answered under another one is asked anew, as its leases are void. */
  setPolicy({ policy, hosts }: JudgedBy): void {
    const refuses = policy.mode === Mode.MODE_ENFORCE && policy.dns === DnsMode.DNS_MODE_RESTRICT
    const { perSecond, burst } = policy.dnsLimit ?? {}
    const rate = perSecond && burst ? { perSecond, burst } : this.#parts.rate
    // One that is the same is not whole again because of it.
    if (rate.perSecond !== this.#budget.rate.perSecond || rate.burst !== this.#budget.rate.burst) {
      this.#budget = new QueryBudget(rate, this.#parts.nowMs)
    }
    this.#inForce = { policy, hosts, refuses }
    this.forget()
  }

  /** Resolves when what waits at its sockets was read, or keeps coming. */
  async quiet(): Promise<void> {
    for (let turns = 0, still = 0; turns < QUIET_TURNS_MAX && still < QUIET_TURNS; turns++) {
      const seen = this.#seen
      await nextTurn()
      still = this.#seen === seen ? still + 1 : 0
    }
  }

  /** Nothing is asked any more: what was refused is told, what was under way is lost. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.forget()
    this.#refusals.close()
    if (this.#underWay > 0) this.#parts.lose(this.#parts.sandboxId, this.#underWay, ENDED)
  }

  /** A query that came while so many are under way that nobody answers it. */
  turnAway(): void {
    this.#seen++
    if (this.#isClosed) return
    this.#parts.took(this.#parts.sandboxId)
    this.#parts.lose(this.#parts.sandboxId, 1, TOO_MANY)
  }

  /** What was answered is asked anew: nobody knows what became of its leases. */
  forget(): void {
    this.#cache.clear()
    this.#waiting.clear()
  }

  /** Null: no answer. Never rejects. */
  async answer(bytes: Buffer, via: 'udp' | 'tcp'): Promise<Buffer | null> {
    this.#seen++
    const header = queryHeader(bytes)
    if (header === null || this.#isClosed) return null
    const { id } = header
    const flags = FLAG.RESPONSE | FLAG.RECURSION_AVAILABLE | (header.flags & FLAG.RECURSION_DESIRED)
    if (header.opcode !== 0) return this.#write({ id, flags, rcode: RCODE.NOTIMP, question: null, edns: null })
    const query = readQuery(bytes)
    if (query === null) return this.#write({ id, flags, rcode: RCODE.FORMERR, question: null, edns: null })
    this.#parts.took(this.#parts.sandboxId)
    this.#underWay++
    const outcome = await this.#outcome(query)
    this.#underWay--
    if (this.#isClosed) return null
    if (outcome === OVER_LIMIT) this.#refusals.add()
    else this.#parts.tell(factOf(this.#parts.sandboxId, query.question, outcome))
    const { rcode, records = [], authorities = [], error } = outcome
    const ownEdns = { udpBytes: OWN_EDNS_BYTES, dnssecOk: false, ...(error === undefined ? {} : { error }) }
    const edns = query.edns === null ? null : ownEdns
    const message = { id, flags, rcode, question: query.question, answers: records, authorities, edns }
    return this.#write(message, via === 'tcp' ? undefined : udpBytesOf(query))
  }

  #write(message: WrittenMessage, bytesMax?: number): Buffer {
    return this.#parts.writer.write(message, bytesMax)
  }

  async #outcome({ question, edns }: DnsMessage): Promise<Outcome> {
    const inForce = this.#inForce
    if (inForce?.refuses !== false && !this.#budget.spend()) return OVER_LIMIT
    if (inForce === null) return failure('the policy of this sandbox is not here yet', EXTENDED.NOT_READY)
    if (edns !== null && edns.version !== 0) return { rcode: RCODE.BADVERS, decision: Decision.DECISION_ALLOW }
    if (question.class !== CLASS_IN || !TYPES_ANSWERED.has(question.type)) {
      return refusal('records of this type are not passed on', 'default')
    }
    const verdict = isPlain(question.name) ? inForce.hosts.lookUp(question.name.text) : NOT_A_HOST
    if (verdict.kind === 'deny' && inForce.refuses) return denial(inForce, question, verdict)
    return this.#shared(inForce, question, verdict)
  }

  /** The same question is asked once, however many wait for it. */
  async #shared(inForce: InForce, question: DnsQuestion, verdict: AllowedHost | DeniedHost): Promise<Outcome> {
    const key = `${question.type} ${question.name.text}`
    const cached = this.#cache.get(key)
    if (cached !== null) return toldOutcome(cached.value.resolved, { verdict, ttl: cached.ttl })
    const waiting = this.#waiting.get(key)
    if (waiting !== undefined) return waiting
    if (this.#waiting.size >= WAITING_MAX) return failure(`${WAITING_MAX} queries are waiting`, EXTENDED.OTHER)
    const asked = this.#ask(inForce, question, { key, verdict }).catch((error: unknown) =>
      failure(messageOf(error), EXTENDED.NETWORK_ERROR),
    )
    this.#waiting.set(key, asked)
    const outcome = await asked
    if (this.#waiting.get(key) === asked) this.#waiting.delete(key)
    return outcome
  }

  async #ask(
    inForce: InForce,
    question: DnsQuestion,
    { key, verdict }: { key: string; verdict: AllowedHost | DeniedHost },
  ): Promise<Outcome> {
    const { hosts, policy, refuses } = inForce
    const rules = verdict.kind === 'allow' ? verdict.rules : []
    const resolved = await resolve(this.#parts.upstream, question, { hosts, rules, refuses })
    if (resolved.denied !== null) {
      const { name, rule, reason } = resolved.denied
      return {
        ...refusal(`it leads to ${name}: ${reason}`, rule),
        policy: policy.name ?? '',
        resolver: resolved.resolver,
      }
    }
    const leased = this.#lease(policy, question, resolved)
    // Where nothing is refused nothing hangs on it.
    await (policy.mode === Mode.MODE_MONITOR ? leased.catch(() => {}) : leased)
    // Its leases are void, and the new policy may deny the name.
    if (this.#inForce !== inForce) return failure('the policy changed meanwhile', EXTENDED.NOT_READY)
    const { ttl } = resolved
    if (ttl > 0) this.#cache.set(key, { value: { resolved }, ttl, bytes: bytesOf(key, resolved) })
    return toldOutcome(resolved, { verdict, ttl })
  }

  async #lease(policy: ICompiledPolicy, { name }: DnsQuestion, { leases, ttl }: Resolved): Promise<void> {
    const put = leases.map(({ rule, addresses }) =>
      this.#parts.lease(this.#parts.sandboxId, {
        rule: rule.rule ?? 0,
        name: name.text,
        addresses: [...addresses],
        ttlSeconds: ttl + LEASE_GRACE_S,
        policyDigest: policy.digest ?? '',
      }),
    )
    await Promise.all(put)
  }
}

const ENDED = 'the sandbox ended, or the gateway did, before what it had asked was answered'
const TOO_MANY = 'names were asked for while too many others were, and not answered'

/** Told by the window, not one by one. */
const OVER_LIMIT: Outcome = refusal('more names were looked up than its limit allows', 'limits.dns')
const NOT_A_HOST: DeniedHost = { kind: 'deny', rule: 'default', policy: '', reason: 'it is not the name of a host' }

/** Null: it is not one well-formed question. */
function readQuery(bytes: Buffer): DnsMessage | null {
  try {
    const query = readMessage(bytes)
    const records = query.answers.length + query.authorities.length + query.additionals.length
    return records === 0 ? query : null
  } catch {
    return null
  }
}

function udpBytesOf({ edns }: DnsMessage): number {
  return Math.min(UDP_BYTES_MAX, Math.max(UDP_BYTES_MIN, edns?.udpBytes ?? UDP_BYTES_MIN))
}

/** A name from a search list does not exist: after a refusal the C library would not try the name itself. */
function denial({ hosts }: InForce, question: DnsQuestion, { rule, policy, reason }: DeniedHost): Outcome {
  const refused = { ...refusal(reason, rule), policy }
  return hosts.isSearchedFor(question.name.text) ? { ...refused, rcode: RCODE.NXDOMAIN } : refused
}

function toldOutcome(resolved: Resolved, told: { verdict: AllowedHost | DeniedHost; ttl: number }): Outcome {
  const { verdict, ttl } = told
  const { resolver, rcode, leftOut, aliases, records } = resolved
  const by = { rule: verdict.rule, policy: verdict.policy, resolver }
  if (leftOut.length > 0 && records.length === 0) {
    const kinds = [...new Set(leftOut.map(({ kind }) => kind))].join(', ')
    return { ...refusal(`its addresses are ${kinds}: a rule must say allow_private`, verdict.rule), ...by }
  }
  const decision = verdict.kind === 'allow' ? Decision.DECISION_ALLOW : Decision.DECISION_WOULD_DENY
  const reason = verdict.kind === 'deny' ? verdict.reason : ''
  const answer = { ...by, decision, reason, rcode }
  if (rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN) {
    return { ...answer, rcode: RCODE.SERVFAIL, error: { code: EXTENDED.OTHER, text: failureOf(resolver, rcode) } }
  }
  const withTtl = (record: DnsRecord) => ({ ...record, ttl })
  const authorities = resolved.authorities.map(withTtl)
  return { ...answer, records: [...aliases, ...records].map(withTtl), authorities }
}

/** About: what an entry takes up in memory. */
function bytesOf(key: string, { aliases, records, authorities }: Resolved): number {
  const all = [...aliases, ...records, ...authorities]
  return all.reduce((sum, { name, data }) => sum + 400 + 2 * name.wire.length + data.length, 300 + 2 * key.length)
}

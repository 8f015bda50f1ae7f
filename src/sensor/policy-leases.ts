/**
 * Leases: what a name was answered with, opened to one sandbox for a while. Guards what the gateway is not trusted with: a lease is for a
 * host rule of the policy that the sandbox has now, its ports are the rule's, and no name opens a private address unless the rule says so.
 * Which names may be asked is the gateway's; a denied address stays denied in the kernel, lease or not.
 */
import { SluiceError } from '../base/error.js'
import { ADDRESS_BYTES, specialKindOf, takesPrivate } from '../base/special-addresses.js'
import type { Addon, BpfObject } from '../native/addon.js'
import { ABI } from '../native/generated/abi.js'
import type { ICompiledPolicy, IHostRule, ILease } from '../proto/codec.js'
import { matchesHost } from '../proto/host-pattern.js'
import { DeniedNames, isPattern } from './denied-names.js'
import { LeaseNames } from './lease-names.js'
import { rangeValue } from './policy-table.js'
import { decodeLeaseKey, decodeLeases, encodeLeases, type LeaseValue, leaseKey } from './policy-values.js'
import { ProgramSets } from './program-sets.js'

/** Addresses leased to one sandbox: an eighth of what there is room for. */
const ADDRESSES_MAX = ABI.limits.SL_LEASES_MAX / 8
const TTL_MAX_SECONDS = 3_600
const NS_PER_SECOND = 1_000_000_000n

/** What a lease is measured by. */
type LeasedPolicy = Pick<ICompiledPolicy, 'digest' | 'hosts'>

interface Held {
  readonly policy: LeasedPolicy
  /** Number of the set of programs that a host of the policy is for. */
  readonly setOf: (host: IHostRule) => number
  readonly denied: DeniedNames
  readonly generation: number
  /** In hex, with when the last lease of it ends. */
  readonly addresses: Map<string, bigint>
  readonly names: LeaseNames
}

/** What a lease may become under the policy that comes. */
type Next = Pick<Held, 'setOf' | 'denied' | 'generation' | 'names'> & { readonly policy: ICompiledPolicy }

export class PolicyLeases {
  readonly #addon: Addon
  readonly #object: BpfObject
  readonly #held = new Map<bigint, Held>()

  constructor(addon: Addon, object: BpfObject) {
    this.#addon = addon
    this.#object = object
  }

  /**
   * The sandbox is about to get `policy`. Leases of rules that it still has, with the same ports, go on, for the names that it does not deny:
   * until the swap by the earlier generation, from then on by this one.
   */
  prepare(sandbox: bigint, policy: ICompiledPolicy, generation: number): void {
    const before = this.#held.get(sandbox)
    const names = new LeaseNames()
    const next = { policy, setOf: setsOf(policy), denied: new DeniedNames(policy), generation, names }
    const addresses = new Map<string, bigint>()
    for (const address of before?.addresses.keys() ?? []) {
      const kept = this.#read(sandbox, address)
      const carried = kept.flatMap((lease) => carriedOver({ address, lease }, before, next))
      if (carried.length === 0) continue
      const both = [...carried, ...kept].slice(0, ABI.limits.SL_LEASE_PORTS_MAX)
      this.#write(sandbox, address, both)
      addresses.set(address, latest(carried))
    }
    this.#held.set(sandbox, { ...next, policy: leasedPart(policy), addresses })
    for (const address of before?.addresses.keys() ?? []) if (!addresses.has(address)) this.#delete(sandbox, address)
  }

  /** @throws SluiceError USAGE for a lease that must not be, LIMIT where there is no room: nothing of it holds then. */
  put(sandbox: bigint, { rule, name, addresses, ttlSeconds, policyDigest }: ILease): void {
    const held = this.#held.get(sandbox)
    if (held === undefined) throw new SluiceError('USAGE', 'lease: the sandbox has no policy that this sensor knows')
    if ((policyDigest ?? '') !== (held.policy.digest ?? '')) {
      throw new SluiceError('USAGE', 'lease: it is of another policy than the sandbox has now')
    }
    const { hosts, texts } = checked(held.policy, { rule: rule ?? 0, name: name ?? '', addresses: addresses ?? [] })
    if (held.denied.has(name ?? '')) throw new SluiceError('USAGE', `lease: ${JSON.stringify(name)} is denied`)
    const ttl = BigInt(Math.min(Math.max(ttlSeconds ?? 0, 1), TTL_MAX_SECONDS))
    const now = this.#addon.bootTimeNs()
    const expiresNs = now + ttl * NS_PER_SECOND
    const ports = hosts.flatMap((host) => (host.ports ?? []).map((range) => ({ range, set: held.setOf(host) })))
    const fresh = ports.map(({ range, set }) => ({
      ...rangeValue(range, { rule: rule ?? 0, at: 'lease', deny: false }),
      ...{ generation: held.generation, expiresNs, programs: set },
    }))
    const merged = texts.map((text) => ({
      text,
      leases: merge(this.#read(sandbox, text), fresh, held.generation, now),
    }))
    this.#makeRoom(sandbox, held, texts, now)
    for (const { text, leases } of merged) {
      this.#write(sandbox, text, leases)
      held.addresses.set(text, latest(leases))
      held.names.add({ address: text, rule: rule ?? 0 }, name ?? '', expiresNs)
    }
  }

  /**
   * Goes on with what an earlier sensor left, for the policies that the kernel holds these sandboxes to. A lease of any other generation
   * goes: one that was made ready for a policy which then did not come would hold for whatever gets its number.
   */
  resume(sandboxes: ReadonlyMap<bigint, { policy: ICompiledPolicy; generation: number }>): void {
    for (const [sandbox, { policy, generation }] of sandboxes) {
      const part = { policy: leasedPart(policy), setOf: setsOf(policy), denied: new DeniedNames(policy) }
      this.#held.set(sandbox, { ...part, generation, addresses: new Map(), names: new LeaseNames() })
    }
    const now = this.#addon.bootTimeNs()
    for (const key of this.#object.keys('sl_leases')) {
      const { sandbox, address } = decodeLeaseKey(key)
      const text = address.toString('hex')
      const held = this.#held.get(sandbox)
      const all = this.#read(sandbox, text)
      const live = all.filter((lease) => lease.generation === held?.generation && lease.expiresNs > now)
      if (live.length === 0) this.#delete(sandbox, text)
      else if (live.length < all.length) this.#write(sandbox, text, live)
      if (live.length > 0) held?.addresses.set(text, latest(live))
    }
  }

  /** Digest of the policy that its leases are measured by; null: none can be given to it. */
  digestOf(sandbox: bigint): string | null {
    return this.#held.get(sandbox)?.policy.digest ?? null
  }

  forget(sandbox: bigint): void {
    this.#held.delete(sandbox)
    for (const key of this.#object.keys('sl_leases')) {
      if (decodeLeaseKey(key).sandbox === sandbox) this.#object.delete('sl_leases', key)
    }
  }

  /** Those of an earlier sensor too. */
  forgetAllBut(sandboxes: ReadonlySet<bigint>): void {
    for (const key of this.#object.keys('sl_leases')) {
      if (!sandboxes.has(decodeLeaseKey(key).sandbox)) this.#object.delete('sl_leases', key)
    }
  }

  #makeRoom(sandbox: bigint, held: Held, texts: readonly string[], now: bigint): void {
    const more = texts.filter((text) => !held.addresses.has(text)).length
    if (held.addresses.size + more <= ADDRESSES_MAX) return
    for (const [address, expiresNs] of held.addresses) {
      if (expiresNs > now) continue
      this.#delete(sandbox, address)
      held.addresses.delete(address)
      held.names.forget(address)
    }
    if (held.addresses.size + more <= ADDRESSES_MAX) return
    throw new SluiceError('LIMIT', `lease: the sandbox has ${held.addresses.size} leased addresses already`)
  }

  #read(sandbox: bigint, address: string): LeaseValue[] {
    const value = this.#object.lookup('sl_leases', leaseKey(sandbox, Buffer.from(address, 'hex')))
    return value === null ? [] : decodeLeases(value)
  }

  #write(sandbox: bigint, address: string, leases: readonly LeaseValue[]): void {
    this.#object.update('sl_leases', leaseKey(sandbox, Buffer.from(address, 'hex')), encodeLeases(leases))
  }

  #delete(sandbox: bigint, address: string): void {
    this.#object.delete('sl_leases', leaseKey(sandbox, Buffer.from(address, 'hex')))
  }
}

/** Counted out when first asked for. */
function setsOf(policy: ICompiledPolicy): Held['setOf'] {
  let sets: ProgramSets | null = null
  return ({ binaries }) => {
    sets ??= ProgramSets.of(policy)
    return sets.numberOf(binaries)
  }
}

function leasedPart({ digest, hosts }: ICompiledPolicy): LeasedPolicy {
  return { digest: digest ?? '', hosts: hosts ?? [] }
}

/**
 * The hosts of the rule that the lease opens, and its addresses in hex. A rule below another one can have become several hosts, each with the
 * ports that both name: those of the name count.
 */
function checked(
  { hosts: all }: LeasedPolicy,
  { rule, name, addresses }: { rule: number; name: string; addresses: readonly Uint8Array[] },
): { hosts: readonly IHostRule[]; texts: readonly string[] } {
  const ruled = (all ?? []).filter((each) => (each.rule ?? 0) === rule)
  if (ruled.length === 0) throw new SluiceError('USAGE', `lease: rule ${rule} is none for names`)
  const named = ruled.filter(({ host }) => isPattern(host) && matchesHost(host, name))
  if (named.length === 0) throw new SluiceError('USAGE', `lease: rule ${rule} is not for ${JSON.stringify(name)}`)
  const texts = new Set(addresses.map((address) => Buffer.from(address).toString('hex')))
  const problems = named.map((host) => problemOf(addresses, host, name))
  const [problem] = problems
  const hosts = named.filter((_, index) => problems[index] === null)
  if (hosts.length === 0 && problem) throw problem
  return { hosts, texts: [...texts] }
}

function problemOf(addresses: readonly Uint8Array[], host: IHostRule, name: string): SluiceError | null {
  for (const address of addresses) {
    const problem = addressProblem(address, host, name)
    if (problem !== null) return problem
  }
  return null
}

function addressProblem(address: Uint8Array, host: IHostRule, name: string): SluiceError | null {
  if (address.length !== ADDRESS_BYTES) return new SluiceError('USAGE', `lease: an address has ${ADDRESS_BYTES} bytes`)
  const special = specialKindOf(address)
  if (special === null || takesPrivate(host, address)) return null
  return new SluiceError('USAGE', `lease: ${JSON.stringify(name)} leads to an address that is ${special}`, {
    hint: 'a rule can say allow_private',
  })
}

/** Those of this generation that still hold, the fresh ones in place of their like. */
function merge(
  kept: readonly LeaseValue[],
  fresh: readonly LeaseValue[],
  generation: number,
  now: bigint,
): LeaseValue[] {
  const others = kept.filter(
    (lease) => lease.generation === generation && lease.expiresNs > now && !fresh.some((other) => isLike(lease, other)),
  )
  const longer = fresh.map((lease) => {
    const before = kept.find((other) => other.generation === generation && isLike(lease, other))
    return before !== undefined && before.expiresNs > lease.expiresNs ? before : lease
  })
  const all = [...longer, ...others]
  if (all.length <= ABI.limits.SL_LEASE_PORTS_MAX) return all
  throw new SluiceError('LIMIT', `lease: more than ${ABI.limits.SL_LEASE_PORTS_MAX} port ranges at one address`)
}

function isLike(a: LeaseValue, b: LeaseValue): boolean {
  const isSame = a.rule === b.rule && a.programs === b.programs
  return isSame && a.protocol === b.protocol && a.first === b.first && a.last === b.last
}

function latest(leases: readonly LeaseValue[]): bigint {
  return leases.reduce((end, { expiresNs }) => (expiresNs > end ? expiresNs : end), 0n)
}

/** The lease under the new policy: of the rule for the same names, where that has the same ports. */
function carriedOver(
  { address, lease }: { readonly address: string; readonly lease: LeaseValue },
  before: Held | undefined,
  next: Next,
): LeaseValue[] {
  if (before === undefined || lease.generation !== before.generation) return []
  const [from, ...others] = (before.policy.hosts ?? []).filter((host) => (host.rule ?? 0) === lease.rule)
  // Of which of several it is nobody knows any more: it is asked for anew.
  if (others.length > 0) return []
  const to = next.policy.hosts?.find((host) => from !== undefined && meansTheSame(host, from))
  if (to === undefined) return []
  const rule = to.rule ?? 0
  const names = before.names.at({ address, rule: lease.rule })
  const expiresNs =
    names === null ? untilAskedAnew(lease, to, { before, next }) : untilOf(names, { address, rule }, next)
  if (expiresNs === 0n) return []
  const ends = expiresNs < lease.expiresNs ? expiresNs : lease.expiresNs
  return [{ ...lease, rule, generation: next.generation, programs: next.setOf(to), expiresNs: ends }]
}

/** Until when the names that are not denied are leased, which are kept; 0: all are. */
function untilOf(
  names: ReadonlyMap<string, bigint>,
  place: { readonly address: string; readonly rule: number },
  next: Next,
): bigint {
  let until = 0n
  for (const [name, expiresNs] of names) {
    if (next.denied.has(name)) continue
    next.names.add(place, name, expiresNs)
    if (expiresNs > until) until = expiresNs
  }
  return until
}

/** The same where nobody knows for which names it is: it may be for one that is denied now. */
function untilAskedAnew(lease: LeaseValue, to: IHostRule, { before, next }: { before: Held; next: Next }): bigint {
  return isPattern(to.host) && next.denied.deniesMoreOf(to.host, before.denied) ? 0n : lease.expiresNs
}

/** Names, ports and private addresses alike. */
function meansTheSame(a: IHostRule, b: IHostRule): boolean {
  const text = ({ host, ports, binaries, allowPrivate }: IHostRule) =>
    JSON.stringify([host?.form, host?.base, ports ?? [], binaries ?? [], allowPrivate ?? []])
  return text(a) === text(b)
}

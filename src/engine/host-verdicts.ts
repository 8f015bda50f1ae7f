/**
 * What a policy's rules for hosts say where nothing is redirected: of a name that was answered on the wire, and of a connect to an address
 * that such an answer gave. It is the gateway's judgement, made afterwards for the record; nothing is refused by it.
 */
import { specialKindOf, takesPrivate } from '../base/special-addresses.js'
import {
  Decision,
  DnsMode,
  type ICompiledPolicy,
  type IHostDeny,
  type IHostRule,
  type IPortRange,
  type IVerdict,
  Mode,
} from '../proto/codec.js'
import { HostIndex } from '../proto/host-index.js'
import type { HostPattern } from '../proto/host-pattern.js'
import { isForProgram } from './rule-programs.js'

const DNS_PORT = 53

/** Where something went, as the kernel saw it. */
export interface Destination {
  /** 16 bytes. */
  readonly address: Uint8Array
  readonly port: number
  /** Of policy.proto. */
  readonly protocol: number
}

interface Indexed {
  readonly allows: HostIndex<{ host: HostPattern; rule: IHostRule }>
  readonly denies: HostIndex<{ host: HostPattern; rule: IHostDeny }>
}

export class HostVerdicts {
  readonly #indexes = new WeakMap<ICompiledPolicy, Indexed>()

  /** Of a name that was answered by whoever was asked. */
  ofName(policy: ICompiledPolicy, name: string): IVerdict {
    const isJudged = policy.mode === Mode.MODE_MONITOR && policy.dns !== DnsMode.DNS_MODE_OFF
    if (!isJudged)
      return verdictOf(policy, { decision: Decision.DECISION_ALLOW, rule: null, reason: 'names are not judged' })
    const { allows, denies } = this.#indexOf(policy)
    const denied = denies.matching(name).find(({ rule }) => (rule.ports ?? []).length === 0)
    if (denied !== undefined) return wouldDeny(policy, denied.rule.rule ?? 0)
    const [allowed] = allows.matching(name)
    return allowed === undefined ? wouldDeny(policy, 0) : allow(policy, allowed.rule.rule ?? 0)
  }

  /** Of a connect that no rule for addresses allows. Null: no rule for hosts does, either. */
  ofConnect(
    policy: ICompiledPolicy,
    to: Destination,
    { names, exe }: { names: readonly string[]; exe: string },
  ): IVerdict | null {
    if (policy.mode !== Mode.MODE_MONITOR || policy.dns === DnsMode.DNS_MODE_OFF) return null
    if ((policy.hosts ?? []).length === 0) return null
    if (to.port === DNS_PORT) {
      return verdictOf(policy, {
        decision: Decision.DECISION_ALLOW,
        rule: 'dns',
        reason: 'the gateway would answer it',
      })
    }
    const { allows, denies } = this.#indexOf(policy)
    for (const name of names) {
      if (denies.matching(name).some(({ rule }) => isNone(rule.ports) || fits(rule.ports, to))) continue
      const rule = allows
        .matching(name)
        .find((each) => fits(each.rule.ports, to) && isForProgram(each.rule.binaries, exe))?.rule
      if (rule === undefined) continue
      const kind = specialKindOf(to.address)
      if (kind === null || takesPrivate(rule, to.address)) return allow(policy, rule.rule ?? 0)
      const decision = Decision.DECISION_WOULD_DENY
      const reason = `${name} led to an address that is ${kind}: a rule must say allow_private`
      return verdictOf(policy, { decision, rule: ruleOf(policy, rule.rule ?? 0).path, reason })
    }
    return null
  }

  #indexOf(policy: ICompiledPolicy): Indexed {
    const known = this.#indexes.get(policy)
    if (known !== undefined) return known
    const index = {
      allows: new HostIndex(patterned(policy.hosts ?? [])),
      denies: new HostIndex(patterned(policy.denyHosts ?? [])),
    }
    this.#indexes.set(policy, index)
    return index
  }
}

function patterned<T extends IHostRule | IHostDeny>(rules: readonly T[]): { host: HostPattern; rule: T }[] {
  return rules.map((rule) => ({ host: { form: rule.host?.form ?? 0, base: rule.host?.base ?? '' }, rule }))
}

function isNone(ports: readonly IPortRange[] | null | undefined): boolean {
  return (ports ?? []).length === 0
}

function fits(ports: readonly IPortRange[] | null | undefined, { port, protocol }: Destination): boolean {
  return (ports ?? []).some(
    (range) => (range.protocol ?? 0) === protocol && (range.first ?? 0) <= port && port <= (range.last ?? 0),
  )
}

function ruleOf({ rules, name }: ICompiledPolicy, number: number) {
  const rule = rules?.[number]
  return { path: rule?.path || 'default', policy: rule?.policy || (name ?? ''), reason: rule?.reason ?? '' }
}

function allow(policy: ICompiledPolicy, number: number): IVerdict {
  const { path, reason } = ruleOf(policy, number)
  return verdictOf(policy, { decision: Decision.DECISION_ALLOW, rule: path, reason: reason || 'a rule allows it' })
}

function wouldDeny(policy: ICompiledPolicy, number: number): IVerdict {
  const { path, reason } = ruleOf(policy, number)
  const why = reason || 'no rule of the policy names this host'
  return verdictOf(policy, { decision: Decision.DECISION_WOULD_DENY, rule: path, reason: why })
}

function verdictOf(
  policy: ICompiledPolicy,
  { decision, rule, reason }: { decision: Decision; rule: string | null; reason: string },
): IVerdict {
  const found = (policy.rules ?? []).find(({ path }) => path === rule)
  return { decision, rule: rule ?? 'none', policy: found?.policy || (policy.name ?? ''), reason, enforcedBy: 'none' }
}

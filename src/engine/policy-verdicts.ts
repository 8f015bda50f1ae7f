/**
 * What the kernel's verdicts mean: it says the number of a rule and of the policy's generation, events say the rule's path, the policy and
 * a sentence. Guards that a verdict is never explained by another policy than it was made by. It judges nothing.
 */
import {
  Decision,
  type ICompiledPolicy,
  type IConnectFacts,
  type IJudgedFacts,
  type ILimitFacts,
  type IVerdict,
  Protocol,
} from '../proto/codec.js'
import { HostNames } from './host-names.js'
import { HostVerdicts } from './host-verdicts.js'
import {
  AF_UNIX,
  GENERATION_HELD,
  IPPROTO_MPTCP,
  IPPROTO_TCP,
  IPPROTO_UDP,
  VERDICT_ALLOW,
  VERDICT_DENY,
  VERDICT_REDIRECT,
  VERDICT_WOULD_DENY,
  VIA_CONNECT,
  VIA_PACKET,
  VIA_SENDMSG,
  VIA_SOCKET,
  VIA_URING,
  WHY_BYTES,
  WHY_CONNECTIONS,
  WHY_CONNECTS,
  WHY_DEFAULT,
  WHY_GATEWAY,
  WHY_HELD,
  WHY_LISTENER,
  WHY_MADE,
  WHY_PROGRAM,
  WHY_PROTOCOL,
  WHY_QUARANTINE,
  WHY_STATE,
  WHY_THROTTLE,
  WHY_UNIX,
} from './kernel-facts.js'
import { RulePrograms } from './rule-programs.js'
import { SANDBOXES_MAX } from './sandbox-book.js'
import { SharedPolicies } from './shared-policies.js'

const PROGRAMS_SHOWN = 4
/** Of one sandbox: verdicts of earlier ones may still be under way. */
const GENERATIONS_MAX = 8

/** Nobody has a policy there, or none judges it. */
export const UNJUDGED: IVerdict = Object.freeze({
  decision: Decision.DECISION_ALLOW,
  rule: 'none',
  policy: '',
  reason: 'no policy: this run is only watched',
  enforcedBy: 'none',
})

const DECISIONS: ReadonlyMap<number, Decision> = new Map([
  [VERDICT_ALLOW, Decision.DECISION_ALLOW],
  [VERDICT_DENY, Decision.DECISION_DENY],
  [VERDICT_WOULD_DENY, Decision.DECISION_WOULD_DENY],
  [VERDICT_REDIRECT, Decision.DECISION_REDIRECT],
])

const HOOKS: ReadonlyMap<number, string> = new Map([
  [VIA_CONNECT, 'cgroup/connect'],
  [VIA_SENDMSG, 'cgroup/sendmsg'],
  [VIA_URING, 'cgroup/connect'],
  [VIA_PACKET, 'cgroup_skb/egress'],
])

/** As rules for hosts name them. */
const RULED: ReadonlyMap<number, Protocol> = new Map([
  [IPPROTO_TCP, Protocol.PROTOCOL_TCP],
  [IPPROTO_MPTCP, Protocol.PROTOCOL_TCP],
  [IPPROTO_UDP, Protocol.PROTOCOL_UDP],
])

/** That are more than words. */
const ENFORCED: readonly Decision[] = [Decision.DECISION_DENY, Decision.DECISION_REDIRECT]

/** What no rule for addresses allows, rules for hosts may. */
const BY_NAMES: readonly number[] = [WHY_DEFAULT, WHY_PROGRAM]

/** What is no rule of the file. */
const WHYS: ReadonlyMap<number, { rule: string; reason: string }> = new Map([
  [WHY_LISTENER, { rule: 'local.listeners', reason: '' }],
  [WHY_PROTOCOL, { rule: 'default', reason: 'no rule can allow this protocol' }],
  [WHY_STATE, { rule: 'default', reason: 'what is needed to judge it is missing, so it is denied' }],
  [WHY_GATEWAY, { rule: 'dns', reason: 'names are answered by the gateway, which nothing else leads to' }],
  [WHY_UNIX, { rule: 'local.unix', reason: 'no rule allows the socket, and it is not one of the sandbox’s own' }],
  [WHY_MADE, { rule: 'none', reason: 'a socket that was only made: where it leads to is judged when it is used' }],
  [
    WHY_HELD,
    { rule: 'default', reason: 'the sandbox has just been found, and its policy is not there yet: try again' },
  ],
  [WHY_CONNECTS, { rule: 'limits.connects', reason: 'more connects than its limit allows: wait, then try again' }],
  [
    WHY_CONNECTIONS,
    { rule: 'limits.connections', reason: 'as many connections as its limit allows are open: close one' },
  ],
  [WHY_BYTES, { rule: 'limits.egress_bytes', reason: 'all that its limit lets it send is sent' }],
  [WHY_THROTTLE, { rule: 'throttle', reason: 'the sandbox is throttled for what it did before: wait, then try again' }],
  [WHY_QUARANTINE, { rule: 'none', reason: 'the sandbox is in quarantine' }],
])

const LIMIT_REASONS: ReadonlyMap<string, string> = new Map([
  ['connects', 'more connects than its limit allows'],
  ['connections', 'more connections open at once than its limit allows'],
  ['execs', 'more programs started than its limit allows'],
  ['egress_bytes', 'more bytes sent than its limit allows'],
  ['processes', 'more processes and threads than its limit allows'],
  ['memory', 'more memory than its limit allows'],
  ['cpu', 'more CPU time than its limit allows'],
  ['wall_clock', 'it ran for longer than its limit allows'],
])
const LIMIT_HOLDERS: ReadonlyMap<string, string> = new Map([
  ['connects', 'cgroup/connect'],
  ['connections', 'cgroup/connect'],
  ['execs', 'tp_btf/sched_process_exec'],
  ['egress_bytes', 'cgroup_skb/egress'],
  ['processes', 'cgroup pids'],
  ['memory', 'cgroup memory'],
  ['cpu', 'cgroup cpu'],
  ['wall_clock', 'sensor'],
])

interface Known {
  readonly generations: Map<number, ICompiledPolicy>
  /** Sent to the sensor, and not answered yet. */
  expected: ICompiledPolicy | null
}

export class PolicyVerdicts {
  /** Of addresses, which rules for hosts go by. */
  readonly names = new HostNames()
  private readonly hosts = new HostVerdicts()
  private readonly rulePrograms = new RulePrograms()
  private readonly bySandbox = new Map<string, Known>()
  private readonly policies = new SharedPolicies()

  /** This policy, or an equal one that is here already. */
  shared(policy: ICompiledPolicy): ICompiledPolicy {
    return this.policies.one(policy)
  }

  /** The sensor is about to be told; what it says from here on may be of this policy. False if there is no room. */
  expect(cgroupId: bigint, policy: ICompiledPolicy): boolean {
    const known = this.bySandbox.get(String(cgroupId))
    if (known !== undefined) known.expected = policy
    else if (this.bySandbox.size >= SANDBOXES_MAX) return false
    else this.bySandbox.set(String(cgroupId), { generations: new Map(), expected: policy })
    return true
  }

  applied(cgroupId: bigint, generation: number): void {
    const known = this.bySandbox.get(String(cgroupId))
    if (known?.expected == null) return
    const policy = known.expected
    known.expected = null
    this.know(cgroupId, generation, policy)
  }

  /** An earlier engine gave it to the sandbox. */
  know(cgroupId: bigint, generation: number, policy: ICompiledPolicy): void {
    const known = this.bySandbox.get(String(cgroupId)) ?? { generations: new Map(), expected: null }
    if (!this.bySandbox.has(String(cgroupId)) && this.bySandbox.size >= SANDBOXES_MAX) return
    this.bySandbox.set(String(cgroupId), known)
    known.generations.set(generation, policy)
    for (const oldest of known.generations.keys()) {
      if (known.generations.size <= GENERATIONS_MAX) break
      known.generations.delete(oldest)
    }
  }

  forget(cgroupId: bigint): void {
    this.bySandbox.delete(String(cgroupId))
    this.names.forget(cgroupId)
  }

  /** Of a name that a resolver answered, which was not the gateway. */
  ofName(sandbox: bigint, name: string): IVerdict {
    const known = this.bySandbox.get(String(sandbox))
    const policy = known?.expected ?? [...(known?.generations.values() ?? [])].at(-1)
    return policy === undefined ? UNJUDGED : this.hosts.ofName(policy, name)
  }

  /**
   * Of a connect or a send.
   * @param sandbox cgroup id of its root
   * @param options.names of the address
   * @param options.exe path of the program that asks
   */
  of(
    sandbox: bigint,
    facts: IConnectFacts,
    { names, exe }: { names: readonly string[]; exe: string } = { names: [], exe: '' },
  ): IVerdict {
    const verdict = this.kernels(sandbox, facts)
    const { judged, addr, port, protocol } = facts
    if (verdict.decision !== Decision.DECISION_WOULD_DENY || !BY_NAMES.includes(judged?.why ?? 0) || !addr)
      return verdict
    const policy = this.policyOf(sandbox, judged?.generation ?? 0)
    const to = { address: addr, port: port ?? 0, protocol: RULED.get(protocol ?? 0) ?? Protocol.PROTOCOL_UNSPECIFIED }
    return (policy && this.hosts.ofConnect(policy, to, { names, exe })) ?? verdict
  }

  /** That a limit was reached. */
  ofLimit(sandbox: bigint, { what, enforced, throttled, generation, outcome }: ILimitFacts): IVerdict {
    const reason = LIMIT_REASONS.get(what ?? '') ?? 'more than its limit allows'
    const policy = generation ? this.policyOf(sandbox, generation) : null
    return {
      decision: enforced ? Decision.DECISION_DENY : Decision.DECISION_WOULD_DENY,
      rule: throttled ? 'throttle' : `limits.${what ?? ''}`,
      policy: throttled ? '' : (policy?.name ?? ''),
      reason: outcome ? `${reason}: ${outcome}` : reason,
      enforcedBy: enforced ? (LIMIT_HOLDERS.get(what ?? '') ?? 'none') : 'none',
    }
  }

  private kernels(sandbox: bigint, facts: IConnectFacts): IVerdict {
    const { judged } = facts
    const decision = DECISIONS.get(judged?.verdict ?? 0)
    if (!judged || decision === undefined) return UNJUDGED
    const policy = this.policyOf(sandbox, judged.generation ?? 0)
    const rule = policy?.rules?.[judged.rule ?? 0]
    const why = WHYS.get(judged.why ?? 0)
    const isAllowed = decision === Decision.DECISION_ALLOW
    return {
      decision,
      // A policy that an earlier engine applied is known by number only.
      rule: why?.rule ?? rule?.path ?? (judged.rule === 0 ? 'default' : `#${judged.rule}`),
      policy: rule?.policy || (policy?.name ?? ''),
      reason:
        why?.reason ||
        this.programReason(policy, judged) ||
        rule?.reason ||
        (isAllowed ? 'a rule allows it' : 'no rule allows it'),
      enforcedBy: ENFORCED.includes(decision) ? enforcedBy(facts) : 'none',
    }
  }

  /** Null: it was not for the program. */
  private programReason(policy: ICompiledPolicy | null, { why, rule }: IJudgedFacts): string | null {
    if (why !== WHY_PROGRAM || policy === null) return null
    const programs = this.rulePrograms.of(policy, rule ?? 0)
    const shown = programs.slice(0, PROGRAMS_SHOWN).join(', ')
    const more = programs.length > PROGRAMS_SHOWN ? ` and ${programs.length - PROGRAMS_SHOWN} more` : ''
    return `the rule is for ${shown}${more} only, and this is another program or one that is not known`
  }

  private policyOf(sandbox: bigint, generation: number): ICompiledPolicy | null {
    if (generation === GENERATION_HELD) return null
    const known = this.bySandbox.get(String(sandbox))
    return known?.generations.get(generation) ?? known?.expected ?? null
  }
}

/** A socket that was made, or connected, all the same is one that its process was killed for. */
function enforcedBy({ via, error, family }: IConnectFacts): string {
  if (via === VIA_SOCKET) return error ? 'cgroup/sock_create' : 'killed'
  if (family !== AF_UNIX) return HOOKS.get(via ?? 0) ?? 'none'
  if (!error) return 'killed'
  return via === VIA_SENDMSG ? 'cgroup/sendmsg_unix' : 'cgroup/connect_unix'
}

/**
 * Which policy each sandbox is to have: what the node's files say for it, above what came with it. Guards that a change of the files reaches every
 * running sandbox, that what can't be applied leaves the last good policy where it is and is told, that each change is an event, and that a
 * policy whose making this engine does not know is left alone. Not here: how a policy gets to the kernel (policy-desk.ts).
 */
import { messageOf, SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import {
  encodeBuffer,
  type ICompiledPolicy,
  type IPolicyRef,
  type IPolicySources,
  type IShutFor,
  Mode,
  PolicySources,
} from '../proto/codec.js'
import { compileLayers } from './policy/layered.js'
import type { NodePolicies } from './policy/node-policies.js'
import { ownLayers, requireBounded } from './policy/own-sources.js'
import type { Rules } from './policy/rules.js'
import type { SelectTarget } from './policy/select.js'
import { shutPolicy } from './policy/shut-policy.js'
import type { PolicyDesk } from './policy-desk.js'
import type { BookedSandbox, SandboxBook } from './sandbox-book.js'

export interface PolicyKeeperOptions {
  readonly node: NodePolicies
  readonly desk: PolicyDesk
  readonly book: SandboxBook
  readonly log: Log
  /** Says which cgroups of others are not to send anything before they have their policies. */
  holdFound(selected: NodePolicies['enforcedOnFound']): void
  nowUnixNs(): bigint
  /** Nothing gets out of this sandbox, since whenever. */
  foundShut?(sandboxId: string, shut: IShutFor): void
}

/** Of a run that is to start. */
export interface WantedPolicy {
  readonly labels: Readonly<Record<string, string>>
  readonly policy: ICompiledPolicy | null
  readonly sources: IPolicySources | null
  /** Digest of what the launcher's layers are for. */
  readonly planned: string
}

export type RunPolicy =
  | { readonly ok: true; readonly policy: ICompiledPolicy | null; readonly origin: Uint8Array }
  | { readonly ok: false; readonly problem: string }

const UNKNOWN = new Uint8Array(0)
const CHANGED_MEANWHILE = 'policy: the node’s policies changed while the run was prepared; start it again'

export class PolicyKeeper {
  private readonly options: PolicyKeeperOptions
  /** Why a sandbox is not held to what it should be. */
  private readonly problems = new Map<string, string>()
  /** By sandbox: changes go one after the other. */
  private readonly underway = new Map<string, Promise<void>>()
  /** Sandboxes from which nothing is to get out for now, or not any more. Of others what the sensor keeps with their policy says it. */
  private readonly shutById = new Map<string, IShutFor | null>()
  /** Sandboxes from which nothing gets out until it is said what they are held to. */
  private readonly held = new Set<string>()
  /** What the node's files alone come to, by the policies that are in it. */
  private compiled = new Map<string, ICompiledPolicy | null>()

  constructor(options: PolicyKeeperOptions) {
    this.options = options
  }

  /** What a run would be held to if it started now; null: no policy of the node is for it. Throws USAGE, LIMIT. */
  planned({ labels, sources }: Pick<WantedPolicy, 'labels' | 'sources'>, cgroupPath: string): ICompiledPolicy | null {
    const target = { labels, cgroupPath, isRun: true }
    requireBounded(sources ?? {})
    return this.options.node.for(target).length === 0 ? null : this.compileFor(target, sources ?? {})
  }

  /** A run's, before its command starts. */
  forRun({ labels, policy, sources, planned }: WantedPolicy, cgroupPath: string): RunPolicy {
    const target = { labels, cgroupPath, isRun: true }
    try {
      requireBounded(sources ?? {})
      const isAlone = this.options.node.for(target).length === 0
      if (policy !== null && sources === null) {
        if (!isAlone)
          throw new SluiceError('USAGE', 'policy: it came without its sources, and this node has policies of its own')
        return { ok: true, policy, origin: UNKNOWN }
      }
      const origin = this.originOf(target, sources ?? {})
      if (isAlone) return { ok: true, policy, origin }
      const held = this.compileFor(target, sources ?? {})
      // What the launcher has put around the command is for another one, or it has put nothing.
      if (held?.mode === Mode.MODE_ENFORCE && held.digest !== planned) throw new SluiceError('USAGE', CHANGED_MEANWHILE)
      return { ok: true, policy: held, origin }
    } catch (error) {
      return { ok: false, problem: messageOf(error) }
    }
  }

  /** The node's files say something else, or what sandboxes are held to is known only now. */
  changed(by: string): void {
    this.compiled = new Map()
    this.options.holdFound(this.options.node.enforcedOnFound)
    for (const booked of this.options.book.all()) this.settle(booked, by)
  }

  /** A sandbox is in the book. @param state.isHeld it waits for what is said of it */
  settle(booked: BookedSandbox, by: string, { isHeld }: { isHeld: boolean } = { isHeld: false }): void {
    if (isHeld) this.held.add(booked.id)
    const shut = this.shutOf(booked.id)
    if (shut !== null) this.options.foundShut?.(booked.id, shut)
    void this.inTurn(booked, () => this.bring(booked, this.ownOf(booked), by)).catch(() => {})
  }

  /** Rejects with why it is not held to them; then what was before holds. */
  hold(booked: BookedSandbox, own: IPolicySources, by: string): Promise<void> {
    if (!this.options.desk.isComplete)
      return Promise.reject(new SluiceError('IO', 'the sensor has not said yet what sandboxes are held to'))
    return this.inTurn(booked, () => this.bring(booked, own, by))
  }

  /** For now nothing gets out, or what its policy allows again. Rejects with why it is not so; then what was before holds. */
  async shut(booked: BookedSandbox, shut: IShutFor | null, by: string): Promise<void> {
    const { id } = booked
    if (this.ownOf(booked) === null || !this.options.desk.isComplete)
      throw new SluiceError('KERNEL', 'this engine does not know what the policy of the sandbox was made from')
    const before = this.shutOf(id)
    this.shutById.set(id, shut)
    try {
      await this.inTurn(booked, () => this.bring(booked, this.ownOf(booked), by))
    } catch (error) {
      this.shutById.set(id, before)
      throw error
    }
  }

  /** Why nothing gets out of it for now; null: what its policy allows does. */
  private shutOf(sandboxId: string): IShutFor | null {
    const known = this.shutById.get(sandboxId)
    if (known !== undefined) return known
    const held = this.options.desk.of(sandboxId)
    return held === null ? null : (PolicySources.decode(held.origin).shut ?? null)
  }

  /** Its policy, as it is held to it; null: none. */
  refOf(sandboxId: string): IPolicyRef | null {
    const held = this.options.desk.of(sandboxId)
    return held === null ? null : refOf(held.policy)
  }

  problemOf(sandboxId: string): string | null {
    return this.problems.get(sandboxId) ?? null
  }

  /** It was let go on purpose: nothing is refused to it any more. */
  lifted({ id, session }: BookedSandbox, by: string): void {
    const from = this.refOf(id)
    if (from !== null) session.policyChanged({ from, by }, this.options.nowUnixNs())
  }

  /** It is over, or let go. Resolves when all is told of it that others saw; null: it is. */
  forget(sandboxId: string, cgroupId: bigint): Promise<void> | null {
    this.problems.delete(sandboxId)
    this.shutById.delete(sandboxId)
    this.held.delete(sandboxId)
    return this.options.desk.forget(sandboxId, cgroupId)
  }

  private inTurn(booked: BookedSandbox, act: () => Promise<void>): Promise<void> {
    const { log } = this.options
    const before = this.underway.get(booked.id) ?? Promise.resolve()
    const turn = before.catch(() => {}).then(act)
    this.underway.set(booked.id, turn)
    return turn
      .then(
        () => void this.problems.delete(booked.id),
        (error: unknown) => {
          this.problems.set(booked.id, messageOf(error))
          log.error({ sandbox: booked.id, why: messageOf(error) }, 'a policy was not applied: the one before holds')
          throw error
        },
      )
      .finally(() => {
        if (this.underway.get(booked.id) === turn) this.underway.delete(booked.id)
      })
  }

  /** Null: this engine does not know what went into its policy. */
  private ownOf({ id }: BookedSandbox): IPolicySources | null {
    const held = this.options.desk.of(id)
    if (held === null) return {}
    const sources = PolicySources.decode(held.origin)
    return sources.isAll ? sources : null
  }

  private async bring(booked: BookedSandbox, own: IPolicySources | null, by: string): Promise<void> {
    const { desk, book, nowUnixNs, log } = this.options
    const { id: sandboxId, cgroupId, session } = booked
    if (own === null || !desk.isComplete || book.byIdOf(sandboxId) !== booked) return
    const from = desk.of(sandboxId)
    const target = targetOf(booked)
    const shut = this.shutOf(sandboxId)
    const origin = this.originOf(target, { ...own, shut })
    // The same texts: there is nothing to compile.
    if (from !== null && Buffer.compare(from.origin, origin) === 0) return
    const real = this.compileFor(target, own)
    const policy = shut === null ? real : shutPolicy(real)
    const isHeld = this.held.delete(sandboxId)
    if (from === null && policy === null && !isHeld) return
    const problem = await new Promise<string | null>((resolve) =>
      desk.apply({ sandboxId, cgroupId, policy, origin }, resolve),
    )
    const to = desk.of(sandboxId)
    if ((to?.policy.digest ?? null) !== (from?.policy.digest ?? null)) {
      const refs = {
        ...(from === null ? {} : { from: refOf(from.policy) }),
        ...(to === null ? {} : { to: refOf(to.policy) }),
      }
      session.policyChanged({ ...refs, by }, nowUnixNs())
      log.info(
        { sandbox: sandboxId, from: from?.policy.name, to: to?.policy.name, by },
        'the policy of a sandbox changed',
      )
    }
    if (problem !== null) throw new SluiceError('KERNEL', problem)
  }

  private originOf(target: SelectTarget, sources: IPolicySources): Buffer {
    return encodeBuffer(PolicySources, { ...sources, isAll: true, node: this.options.node.digestFor(target) })
  }

  private compileFor(target: SelectTarget, sources: IPolicySources): ICompiledPolicy | null {
    const node = this.options.node.for(target)
    const hasOwn = (sources.policies?.length ?? 0) > 0 || Boolean(sources.workdir)
    if (hasOwn) return compileLayers({ node, ...ownLayers(sources) })?.policy ?? null
    const key = this.options.node.digestFor(target)
    const before = this.compiled.get(key)
    if (before !== undefined) return before
    const known = (rules: Rules) => this.options.node.compiledOf(rules)
    const policy = compileLayers({ node, own: [], workdir: null, ownMode: null }, known)?.policy ?? null
    this.compiled.set(key, policy)
    return policy
  }
}

function targetOf({ sandbox, adopted }: BookedSandbox): SelectTarget {
  return { labels: sandbox.labels ?? {}, cgroupPath: sandbox.cgroupPath ?? '', isRun: !adopted }
}

/** As others are told of it. */
export function refOf({ name, digest, mode }: ICompiledPolicy): IPolicyRef {
  return { name: name ?? '', hash: digest ?? '', mode: mode === Mode.MODE_ENFORCE ? 'enforce' : 'monitor' }
}

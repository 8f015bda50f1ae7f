/**
 * Policies by sandbox: what the engine orders, carried out in the kernel's maps. Guards the order: a policy is on disk before the kernel has
 * it, leases go over with the policy that they are for, and sockets that a sandbox had before its first policy are judged from then on
 * too. It decides nothing.
 */
import { messageOf } from '../base/error.js'
import type { Log } from '../base/log.js'
import type { Addon, BpfObject } from '../native/addon.js'
import type { ICompiledPolicy, ILease, ILimits } from '../proto/codec.js'
import { KnownPolicies } from '../proto/known-policies.js'
import { PolicyParts } from '../proto/policy-parts.js'
import type { ConnectionResets } from './connection-resets.js'
import { encodeHeldPolicies, type PolicyHolder } from './held-policies.js'
import { type GatewayMailbox, NamespaceDoors } from './namespace-doors.js'
import { PolicyLeases } from './policy-leases.js'
import { PolicyMaps } from './policy-maps.js'
import { PolicyPrograms } from './policy-programs.js'
import { PolicyStore } from './policy-store.js'
import { type RedirectRule, Redirects } from './redirects.js'
import type { SandboxLimits } from './sandbox-limits.js'
import type { TaskWalk } from './task-walk.js'

export interface PolicyRequest {
  /** Its cgroup. Throws for one that is not there. */
  sandbox(): bigint
  /** Null, and no name: no policy, generation 0. */
  readonly policy: ICompiledPolicy | null
  /** Under which other sandboxes can have it too: without a policy, the one that another has under it. Empty: under none. */
  readonly name: string
  /** What the engine made it from, for another engine. */
  readonly origin: Uint8Array
  /** Throws where it can't be enforced for this sandbox. */
  check(policy: ICompiledPolicy): void
}

export type PolicyApplied =
  | { readonly ok: true; readonly generation: number }
  | { readonly ok: false; readonly unknownName: boolean; readonly error: unknown }

const NS_PER_MS = 1_000_000n
const UNKNOWN = { ok: false, unknownName: true } as const

export interface SandboxPoliciesOptions {
  addon: Addon
  /** The core object, loaded. */
  object: BpfObject
  walk: TaskWalk
  resets: Pick<ConnectionResets, 'soon'>
  limits: SandboxLimits
  /** What its limits refused to a sandbox is to be told before it is forgotten. */
  limitsOver(sandbox: bigint): void
  /** Null: no gateway takes sockets of other network namespaces. */
  mailbox: GatewayMailbox | null
  /** Where policies are kept. */
  folder: string
  log: Log
}

export class SandboxPolicies {
  readonly parts = new PolicyParts()
  readonly #walk: TaskWalk
  readonly #resets: Pick<ConnectionResets, 'soon'>
  readonly #limits: SandboxLimits
  readonly #limitsOver: (sandbox: bigint) => void
  readonly #maps: PolicyMaps
  readonly #programs: PolicyPrograms
  readonly #leases: PolicyLeases
  readonly #redirects: Redirects
  readonly #doors: NamespaceDoors
  readonly #store: PolicyStore
  readonly #known = new KnownPolicies<bigint, ICompiledPolicy>()
  readonly #log: Log
  /** The kernel has hooks for Unix sockets: a policy keeps brokers away. */
  readonly judgesUnix: boolean

  constructor(options: SandboxPoliciesOptions) {
    const { addon, object, walk, resets, mailbox, folder, log } = options
    this.#walk = walk
    this.#limits = options.limits
    this.#limitsOver = (sandbox) => options.limitsOver(sandbox)
    this.#resets = resets
    this.judgesUnix = object.missing().length === 0
    this.#programs = new PolicyPrograms({ object, walk, log })
    this.#maps = new PolicyMaps(addon, object, this.#programs)
    this.#leases = new PolicyLeases(addon, object)
    const redirects = new Redirects({ object, bootTimeNs: () => addon.bootTimeNs(), netns: addon.netnsCookie() })
    this.#redirects = redirects
    const tasks = (sandbox: bigint) => walk.list(sandbox)
    this.#doors = new NamespaceDoors({ addon, object, redirects, tasks, mailbox, log })
    this.#store = new PolicyStore(folder, log)
    this.#log = log
  }

  /**
   * When this returns each policy decides for everything that its sandbox sends. For many at once the kernel has to wait once, and is looked
   * through for sockets once. What fails leaves its sandbox as it was.
   */
  applyAll(requests: readonly PolicyRequest[]): PolicyApplied[] {
    const named = this.#named(requests)
    this.#maps.prepare([...new Set(requests.flatMap(({ policy, name }) => named.get(name) ?? policy ?? []))])
    const firsts: { index: number; sandbox: bigint }[] = []
    const applied = requests.map((request, index): PolicyApplied => {
      const { name, origin } = request
      try {
        const policy = named.get(name) ?? request.policy
        if (policy === null && name !== '')
          return { ...UNKNOWN, error: new Error('no sandbox has a policy of that name') }
        const sandbox = request.sandbox()
        if (policy !== null) request.check(policy)
        if (policy !== null && this.#maps.generationOf(sandbox) === 0) firsts.push({ index, sandbox })
        return { ok: true, generation: this.#apply(sandbox, policy, { name, origin }) }
      } catch (error) {
        this.#liftHeld(request)
        return { ok: false, unknownName: false, error }
      }
    })
    const isJudged = ({ index }: { index: number }) => applied[index]?.ok === true
    this.#ownSockets(firsts.filter(isJudged), applied)
    this.#resets.soon()
    return applied
  }

  /** What can't be held to its policy is not held to none for good: it is watched, as any other that has no policy. */
  #liftHeld(request: PolicyRequest): void {
    try {
      const sandbox = request.sandbox()
      if (this.#maps.isHeld(sandbox)) this.#maps.forget(sandbox)
    } catch (error) {
      this.#log.error({ error: messageOf(error) }, 'a sandbox without a policy may be held still')
    }
  }

  /** Those that sandboxes have before it, and those that come with it. */
  #named(requests: readonly PolicyRequest[]): Map<string, ICompiledPolicy> {
    const named = new Map<string, ICompiledPolicy>()
    for (const { name, policy } of requests) {
      const known = name === '' ? null : (named.get(name) ?? this.#known.find(name) ?? policy ?? this.#fromParts(name))
      if (known !== null) named.set(name, known)
    }
    return named
  }

  #fromParts(name: string): ICompiledPolicy | null {
    try {
      return this.parts.take(name)
    } catch (error) {
      this.#log.error({ error: messageOf(error) }, 'a policy that came in parts can not be read')
      return null
    }
  }

  #apply(sandbox: bigint, policy: ICompiledPolicy | null, { name, origin }: Pick<PolicyRequest, 'name' | 'origin'>) {
    if (policy === null) {
      this.#forgetPolicy(sandbox)
      this.#limits.apply(sandbox, null, 0)
      return 0
    }
    const generation = this.#swap(sandbox, policy, origin)
    this.#known.set(sandbox, name, policy)
    return generation
  }

  /** Those that had no policy may have sockets that are nobody's yet. */
  #ownSockets(firsts: readonly { index: number; sandbox: bigint }[], applied: PolicyApplied[]): void {
    if (firsts.length === 0) return
    try {
      this.#walk.ownSockets()
    } catch (error) {
      for (const { index, sandbox } of firsts) {
        this.forget(sandbox)
        applied[index] = { ok: false, unknownName: false, error }
      }
    }
  }

  #swap(sandbox: bigint, policy: ICompiledPolicy, origin: Uint8Array): number {
    let undoLimits = () => {}
    try {
      const applied = this.#maps.apply(sandbox, policy, (generation) => {
        this.#store.keep(sandbox, { policy, generation, origin })
        this.#leases.prepare(sandbox, policy, generation)
        if (policy.limits) undoLimits = this.#limits.apply(sandbox, policy, generation)
      })
      // What is limited no more stays so until nobody asks for it.
      if (!policy.limits) this.#limits.apply(sandbox, policy, applied)
      return applied
    } catch (error) {
      undoLimits()
      this.#store.keepUpTo(sandbox, this.#maps.generationOf(sandbox))
      throw error
    }
  }

  /** Of the policy that the kernel holds it to, and its digest if leases for it can be measured. */
  stateOf(sandbox: bigint): { generation: number; policyDigest: string } {
    return { generation: this.#maps.generationOf(sandbox), policyDigest: this.#leases.digestOf(sandbox) ?? '' }
  }

  /** Whether the kernel side holds it, as it has no policy yet. */
  isHeld(sandbox: bigint): boolean {
    return this.#maps.isHeld(sandbox)
  }

  /** Sandboxes may be held by the kernel side from now on. */
  holdFound(): void {
    this.#maps.holdFound()
  }

  /** Whether something is refused to it. */
  isEnforced(sandbox: bigint): boolean {
    return this.#maps.isEnforced(sandbox)
  }

  /** Whole ConnectRequests, for an engine that did not give these policies. */
  held(sandboxes: readonly PolicyHolder[]): Buffer[] {
    return encodeHeldPolicies({
      sandboxes,
      stored: (sandbox) => this.#store.of(sandbox),
      generationOf: (sandbox) => this.#maps.generationOf(sandbox),
      bytes: (policy) => this.#store.bytes(policy),
      onLeftOut: (policies) => this.#log.error({ policies }, 'too many policies to tell the engine of'),
    })
  }

  /** @throws SluiceError USAGE or LIMIT: then nothing of it holds. */
  lease(sandbox: bigint, lease: ILease): void {
    this.#leases.put(sandbox, lease)
  }

  /** Where the sandbox's queries for names go. @throws SluiceError USAGE */
  redirect(sandbox: bigint, { rule, id, gateway }: { rule: RedirectRule; id: string; gateway: string }): void {
    this.#redirects.set(sandbox, rule)
    if (this.#redirects.isRedirected(sandbox)) this.#doors.serve(sandbox, { id, gateway })
    else this.#doors.forget(sandbox)
  }

  /** The rings told of something: a sandbox may be in a network namespace where nobody answers names yet. */
  readonly lookForDoors = (): void => {
    this.#doors.look()
  }

  gatewayAlive(): void {
    this.#redirects.alive()
    this.#doors.look()
  }

  /** Holds it to less than its policy does; null: no more. What holds then, as read back. @throws SluiceError as for a policy */
  throttle(sandbox: bigint, limits: ILimits | null, throttledFor: string): ILimits | null {
    return this.#limits.throttle(sandbox, limits, throttledFor)
  }

  /** For so long nobody in it is stopped for being over a limit. 0: as the policy has it. */
  unstop(sandbox: bigint, ms: bigint): void {
    if (ms > 0n) this.#limits.unstop(sandbox, process.hrtime.bigint() + ms * NS_PER_MS)
  }

  /** The sandbox is no more, or is let go. */
  forget(sandbox: bigint): void {
    this.#limitsOver(sandbox)
    this.#forgetPolicy(sandbox)
    this.#limits.forget(sandbox)
  }

  #forgetPolicy(sandbox: bigint): void {
    this.#doors.forget(sandbox)
    this.#redirects.remove(sandbox)
    this.#known.forget(sandbox)
    this.#maps.forget(sandbox)
    this.#leases.forget(sandbox)
    this.#store.forget(sandbox)
  }

  /** Goes on with what an earlier sensor did for these; what it did for others goes, as nobody will ask about them again. */
  resume(sandboxes: ReadonlySet<bigint>): void {
    this.#redirects.forgetAllBut(sandboxes)
    this.#maps.forgetAllBut(sandboxes)
    this.#store.forgetAllBut(sandboxes)
    const known = new Map<bigint, { policy: ICompiledPolicy; generation: number }>()
    for (const sandbox of sandboxes) {
      const generation = this.#maps.generationOf(sandbox)
      const stored = this.#store.of(sandbox).find((one) => one.generation === generation)
      const policy = stored === undefined ? null : this.#store.policy(stored)
      if (policy !== null) {
        known.set(sandbox, { policy, generation })
        this.#knowPrograms(generation, sandbox, policy)
      } else if (generation !== 0)
        this.#log.warn(
          { cgroupId: String(sandbox) },
          'the policy of a sandbox is not known here: it holds, but no name is opened',
        )
    }
    this.#leases.resume(known)
    this.#limits.resume(sandboxes, (sandbox) => known.get(sandbox) ?? null)
    for (const sandbox of sandboxes) if (this.#maps.generationOf(sandbox) === 0) this.#restore(sandbox)
  }

  /** What was known goes on; what is new at their paths is looked for again. */
  #knowPrograms(generation: number, sandbox: bigint, policy: ICompiledPolicy): void {
    try {
      this.#programs.write(generation, sandbox, policy)
    } catch (error) {
      this.#log.error({ error: messageOf(error) }, 'programs that a policy names are not looked for any more')
    }
  }

  /** The kernel side has begun anew, as where pins were removed: a sandbox that had a policy is held to it again. */
  #restore(sandbox: bigint): void {
    const stored = this.#store.of(sandbox).at(-1)
    const policy = stored === undefined ? null : this.#store.policy(stored)
    if (stored === undefined || policy === null) return
    const [applied] = this.applyAll([{ sandbox: () => sandbox, policy, name: '', origin: stored.origin, check() {} }])
    if (applied?.ok === false) throw applied.error
    this.#log.warn({ cgroupId: String(sandbox) }, 'a sandbox whose policy the kernel had forgotten is held to it again')
  }

  stop(): void {
    this.#programs.stop()
    this.#doors.stop()
  }
}

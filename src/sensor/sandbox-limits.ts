/**
 * How much each sandbox may do: its policy's limits, and what it is throttled to, in the kernel's maps (limit-maps.ts) and its controllers
 * (controllers.ts). Guards that all of a policy's limits hold before it does, that a policy which can't have them changes nothing, and that a
 * throttle outlives this process as long as the sandbox does. Not here: that a limit was reached (limit-watch.ts).
 */
import { messageOf } from '../base/error.js'
import type { Log } from '../base/log.js'
import type { BpfObject } from '../native/addon.js'
import { fromBigInt, type ICompiledPolicy, type ILimits, Limits, Mode, toBigInt } from '../proto/codec.js'
import type { Controlled, ControllerGroup, ControllerLimits, Controllers } from './controllers.js'
import { LimitMaps } from './limit-maps.js'
import type { SandboxRecord } from './run-state.js'

/** A sandbox as its limits need it. */
export interface LimitedSandbox extends Controlled {
  /** CLOCK_BOOTTIME when it began. */
  readonly sinceNs: bigint
  readonly frozen: boolean
  /** An encoded Limits; empty: it is not throttled. */
  readonly throttle: Uint8Array
}

/** What is kept on disk with a sandbox. */
export interface KeptLimits {
  readonly groups?: readonly ControllerGroup[]
  readonly throttle?: Uint8Array
  readonly throttledFor?: string
}

/** As its record has it. */
export function limitedBy(record: SandboxRecord, processes: () => readonly number[]): LimitedSandbox {
  const { id, path, adopted, groups, sinceNs, frozen, throttle } = record
  const began = { sinceNs: BigInt(sinceNs), throttle: Buffer.from(throttle, 'base64') }
  return { id, path, adopted, groups, frozen, processes, ...began }
}

export function keptRecord({ groups, throttle, throttledFor }: KeptLimits): Partial<SandboxRecord> {
  return {
    ...(groups === undefined ? {} : { groups: [...groups] }),
    ...(throttle === undefined ? {} : { throttle: Buffer.from(throttle).toString('base64') }),
    ...(throttledFor === undefined ? {} : { throttledFor }),
  }
}

export interface SandboxLimitsOptions {
  /** The core object, loaded. */
  readonly object: BpfObject
  readonly controllers: Controllers
  /** Null for one that is not there. */
  sandbox(cgroupId: bigint): LimitedSandbox | null
  /** Keeps it on disk with the sandbox. */
  keep(cgroupId: bigint, change: KeptLimits): void
  readonly log: Log
}

export interface HeldLimits {
  readonly policy: { readonly limits: ILimits; readonly enforced: boolean; readonly generation: number } | null
  readonly throttle: ILimits | null
}

const NOTHING: HeldLimits = { policy: null, throttle: null }
const NO_BYTES = new Uint8Array(0)

export class SandboxLimits {
  readonly maps: LimitMaps
  readonly #options: SandboxLimitsOptions
  readonly #held = new Map<bigint, HeldLimits>()
  readonly #throttled = new Set<bigint>()
  /** Until when nobody in them is stopped for being over a limit, CLOCK_MONOTONIC: an operator had them go on. */
  readonly #unstopped = new Map<bigint, bigint>()

  constructor(options: SandboxLimitsOptions) {
    this.#options = options
    this.maps = new LimitMaps(options.object)
  }

  /** Those with limits of any kind. */
  get sandboxes(): ReadonlyMap<bigint, HeldLimits> {
    return this.#held
  }

  /** What waits for its turn there is told by no event. */
  get isAnyThrottled(): boolean {
    return this.#throttled.size > 0
  }

  get controllers(): Controllers {
    return this.#options.controllers
  }

  of(sandbox: bigint): { held: HeldLimits; place: LimitedSandbox } | null {
    const place = this.#options.sandbox(sandbox)
    const held = this.#held.get(sandbox)
    return place === null || held === undefined ? null : { held, place }
  }

  /**
   * From here on they hold, and the policy may say so. Returns what undoes it, where the policy does not get there after all.
   * @throws SluiceError UNSUPPORTED, KERNEL or LIMIT: then all is as it was.
   */
  apply(sandbox: bigint, policy: ICompiledPolicy | null, generation: number): () => void {
    const before = this.#held.get(sandbox) ?? NOTHING
    this.#change(sandbox, before, { policy: policyLimits(policy, generation), throttle: before.throttle })
    return () => this.#change(sandbox, NOTHING, before)
  }

  /** Null: no more. `throttledFor` is kept with it. Returns what holds now, read back from the kernel. @throws SluiceError as `apply`. */
  throttle(sandbox: bigint, limits: ILimits | null, throttledFor: string): ILimits | null {
    const before = this.#held.get(sandbox) ?? NOTHING
    this.#change(sandbox, before, { policy: before.policy, throttle: limits })
    const throttle = limits === null ? NO_BYTES : Limits.encode(limits).finish()
    this.#options.keep(sandbox, { throttle, throttledFor: limits === null ? '' : throttledFor })
    return this.readBack(sandbox)
  }

  /** From here on, and until then, nobody in it is stopped for being over a limit; what is over it is refused as before. */
  unstop(sandbox: bigint, untilNs: bigint): void {
    this.#unstopped.set(sandbox, untilNs)
    this.#again(sandbox)
  }

  /** Where that time is over. */
  stopAgain(nowNs: bigint): void {
    for (const [sandbox, untilNs] of this.#unstopped) {
      if (nowNs < untilNs) continue
      this.#unstopped.delete(sandbox)
      this.#again(sandbox)
    }
  }

  #again(sandbox: bigint): void {
    const held = this.#held.get(sandbox)
    if (held !== undefined) this.#write(sandbox, held)
  }

  isFrozen(sandbox: bigint): boolean {
    return this.#options.sandbox(sandbox)?.frozen ?? false
  }

  /** As the kernel has them. */
  readBack(sandbox: bigint): ILimits | null {
    const place = this.#options.sandbox(sandbox)
    const inMaps = this.maps.of(sandbox)?.limits ?? {}
    const { processes, memory, cpus } = place === null ? NO_LIMITS : this.controllers.limitsOf(place)
    const limits: ILimits = {
      ...inMaps,
      ...(processes === null ? {} : { processes }),
      ...(memory === null ? {} : { memory: fromBigInt(memory) }),
      ...(cpus === null ? {} : { cpus }),
    }
    return Object.keys(limits).length === 0 ? null : limits
  }

  /** The sandbox is over, or let go. */
  forget(sandbox: bigint): void {
    this.#held.delete(sandbox)
    this.#throttled.delete(sandbox)
    this.#unstopped.delete(sandbox)
    this.maps.forget(sandbox)
    const place = this.#options.sandbox(sandbox)
    if (place !== null) void this.#release(place)
  }

  /** Goes on with what an earlier sensor held these to. @param policyOf what is known of the policy that the kernel has */
  resume(
    sandboxes: ReadonlySet<bigint>,
    policyOf: (sandbox: bigint) => { policy: ICompiledPolicy; generation: number } | null,
  ): void {
    this.maps.forgetAllBut(sandboxes)
    for (const sandbox of sandboxes) {
      const place = this.#options.sandbox(sandbox)
      const known = policyOf(sandbox)
      if (place === null) continue
      const throttle = place.throttle.length === 0 ? null : Limits.decode(place.throttle)
      const held = { policy: known === null ? null : policyLimits(known.policy, known.generation), throttle }
      // Of a policy that is not known here the kernel goes on with what it has.
      if (held.policy === null && throttle === null) continue
      try {
        this.#change(sandbox, NOTHING, held)
      } catch (error) {
        this.#options.log.error(
          { sandbox: place.id, error: messageOf(error) },
          'limits of a sandbox could not be set again',
        )
      }
    }
  }

  /** Whatever came in from elsewhere since. */
  gather(sandbox: bigint): void {
    const place = this.#options.sandbox(sandbox)
    if (place !== null && place.groups.length > 0) this.controllers.gather(place)
  }

  #change(sandbox: bigint, before: HeldLimits, after: HeldLimits): void {
    try {
      this.#write(sandbox, after)
    } catch (error) {
      this.#write(sandbox, before)
      throw error
    }
    if (after.policy === null && after.throttle === null) this.#held.delete(sandbox)
    else this.#held.set(sandbox, after)
    if (after.throttle === null) this.#throttled.delete(sandbox)
    else this.#throttled.add(sandbox)
  }

  #write(sandbox: bigint, held: HeldLimits): void {
    const { keep } = this.#options
    const place = this.#options.sandbox(sandbox)
    const { limits, watched } = controllerLimits(held)
    if (place !== null) {
      const groups = this.controllers.groupsFor(place, watched)
      if (groups.length > place.groups.length) keep(sandbox, { groups })
      const controlled = { ...place, groups }
      this.controllers.apply(controlled, { limits, watched })
      this.controllers.gather(controlled)
    }
    this.maps.set(sandbox, { ...held, unstopped: this.#unstopped.has(sandbox) })
  }

  async #release(place: LimitedSandbox): Promise<void> {
    const { log } = this.#options
    const released = await this.controllers.release(place).catch((error: unknown) => {
      log.warn({ error: messageOf(error) }, 'the controllers of a sandbox could not be given back')
      return true
    })
    if (!released) log.warn({ sandbox: place.id }, 'groups of a sandbox that is over are still in use')
  }
}

const NO_LIMITS: ControllerLimits = { processes: null, memory: null, cpus: null }

function policyLimits(policy: ICompiledPolicy | null, generation: number): HeldLimits['policy'] {
  if (!policy?.limits) return null
  return { limits: policy.limits, enforced: policy.mode === Mode.MODE_ENFORCE, generation }
}

/** `limits` are to hold; what is `watched` is counted besides, as a policy that only looks on wants it. */
function controllerLimits({ policy, throttle }: HeldLimits): { limits: ControllerLimits; watched: ControllerLimits } {
  const own = policy === null ? NO_LIMITS : ofController(policy.limits)
  const lower = throttle === null ? NO_LIMITS : ofController(throttle)
  const enforced = policy?.enforced === true ? own : NO_LIMITS
  return { limits: lowest(enforced, lower), watched: lowest(own, lower) }
}

function ofController({ processes, memory, cpus }: ILimits): ControllerLimits {
  const bytes = toBigInt(memory)
  return { processes: processes || null, memory: bytes === 0n ? null : bytes, cpus: cpus || null }
}

function lowest(one: ControllerLimits, other: ControllerLimits): ControllerLimits {
  return {
    processes: least(one.processes, other.processes),
    memory: least(one.memory, other.memory),
    cpus: least(one.cpus, other.cpus),
  }
}

function least<T extends number | bigint>(one: T | null, other: T | null): T | null {
  if (one === null || other === null) return one ?? other
  return one < other ? one : other
}

/**
 * The limits of sandboxes that the kernel side counts itself (bpf/limit_abi.h): the policy's, and below them what a sandbox is throttled to.
 * Guards the order: what counts is there before what limits, and what limits before a policy says that there is such; and that a throttle holds
 * whatever the policy's mode. What was used is read here, and told elsewhere (limit-watch.ts).
 */
import { SluiceError } from '../base/error.js'
import type { BpfObject, NativeError } from '../native/addon.js'
import { ABI } from '../native/generated/abi.js'
import { type ILimits, type IRateLimit, toBigInt } from '../proto/codec.js'
import {
  bytesRule,
  countedRule,
  decodeHeld,
  decodeLimits,
  decodeUsage,
  encodeLimits,
  type Held,
  LIMIT_STATE_KEY,
  type LimitRule,
  limitsOf,
  NO_USAGE,
  openRule,
  type SandboxLimitsValue,
  type Usage,
} from './limit-values.js'
import { sandboxKey } from './map-values.js'

const EEXIST = 17

/** What a sandbox is held to, by its policy and by hand. */
export interface LimitSources {
  /** Null: the policy has none, or there is no policy. */
  readonly policy: { readonly limits: ILimits; readonly enforced: boolean } | null
  readonly throttle: ILimits | null
  /** Nobody is stopped for being over a limit, whatever the policy says. */
  readonly unstopped: boolean
}

export class LimitMaps {
  readonly #object: BpfObject
  readonly #limited: Set<bigint>

  /** Goes on with what an earlier sensor left in the maps. @param object the core object, loaded */
  constructor(object: BpfObject) {
    this.#object = object
    this.#limited = new Set(object.keys('sl_limits').map((key) => key.readBigUInt64LE()))
  }

  get sandboxes(): ReadonlySet<bigint> {
    return this.#limited
  }

  /** Takes the place of what held before. What was used is not forgotten. @throws SluiceError LIMIT where there is no room for it. */
  set(sandbox: bigint, sources: LimitSources): void {
    const rules = rulesOf(sources)
    const key = sandboxKey(sandbox)
    if (Object.keys(rules).length === 0) {
      this.#object.delete('sl_limits', key)
      this.#limited.delete(sandbox)
      this.#writeState()
      return
    }
    try {
      this.#makeUsage(key)
      this.#object.update('sl_limits', key, encodeLimits({ sandbox, rules }))
    } catch (error) {
      throw new SluiceError('LIMIT', 'the kernel has no room for another sandbox’s limits', { cause: error })
    }
    this.#limited.add(sandbox)
    this.#writeState()
  }

  /** As the kernel has them; null: none. */
  of(sandbox: bigint): { limits: ILimits; rules: SandboxLimitsValue['rules'] } | null {
    const value = this.#object.lookup('sl_limits', sandboxKey(sandbox))
    if (value === null) return null
    const found = decodeLimits(value)
    return { limits: limitsOf(found), rules: found.rules }
  }

  usageOf(sandbox: bigint): Usage | null {
    const value = this.#object.lookup('sl_usages', sandboxKey(sandbox))
    return value === null ? null : decodeUsage(value)
  }

  /** Counts up whenever there is something to tell. */
  hits(): bigint {
    return (
      this.#object.lookup('sl_limit_state', LIMIT_STATE_KEY)?.readBigUInt64LE(ABI.structs.sl_limit_state.fields.hits) ??
      0n
    )
  }

  /** Processes that were stopped at their exec, by their key. */
  held(): { key: Buffer; held: Held }[] {
    return this.#object.keys('sl_held').flatMap((key) => {
      const value = this.#object.lookup('sl_held', key)
      return value === null ? [] : [{ key, held: decodeHeld(value) }]
    })
  }

  /** From here on nobody minds that it goes on. */
  letGo(key: Buffer): void {
    this.#object.delete('sl_held', key)
  }

  /** The sandbox is over. */
  forget(sandbox: bigint): void {
    const key = sandboxKey(sandbox)
    this.#object.delete('sl_limits', key)
    this.#object.delete('sl_usages', key)
    this.#object.delete('sl_limits_told', key)
    this.#limited.delete(sandbox)
    this.#writeState()
  }

  /** What is left of sandboxes that are no more. */
  forgetAllBut(sandboxes: ReadonlySet<bigint>): void {
    const known = this.#object.keys('sl_usages').map((key) => key.readBigUInt64LE())
    for (const sandbox of new Set([...known, ...this.#limited])) if (!sandboxes.has(sandbox)) this.forget(sandbox)
    this.#writeState()
  }

  /** What was told of the sandbox's usage, as far as it was. */
  toldOf(sandbox: bigint): Usage | null {
    const value = this.#object.lookup('sl_limits_told', sandboxKey(sandbox))
    return value === null ? null : decodeUsage(value)
  }

  /** All of it is told up to what `usage` says. */
  tell(sandbox: bigint): Usage | null {
    const key = sandboxKey(sandbox)
    const value = this.#object.lookup('sl_usages', key)
    if (value === null) return null
    this.#object.update('sl_limits_told', key, value)
    return decodeUsage(value)
  }

  #makeUsage(key: Buffer): void {
    if (this.#object.lookup('sl_usages', key) !== null) return
    try {
      this.#object.update('sl_usages', key, NO_USAGE)
    } catch (error) {
      if ((error as NativeError).errno !== EEXIST) throw error
    }
  }

  #writeState(): void {
    const { fields } = ABI.structs.sl_limit_state
    const state = this.#object.lookup('sl_limit_state', LIMIT_STATE_KEY)
    if (state === null) throw new Error('sl_limit_state has no entry')
    const limited = this.#limited.size > 0 ? 1 : 0
    if (state.readUInt32LE(fields.limited) === limited) return
    state.writeUInt32LE(limited, fields.limited)
    this.#object.update('sl_limit_state', LIMIT_STATE_KEY, state)
  }
}

/** Whether a policy with these has an entry in sl_limits, as long as it is one's. */
export function isCountedByKernel(limits: ILimits | null | undefined): boolean {
  return limits
    ? Object.keys(rulesOf({ policy: { limits, enforced: true }, throttle: null, unstopped: true })).length > 0
    : false
}

/** The lower of what the policy says and the throttle; a throttle is enforced, also where the policy only looks on. */
function rulesOf({ policy, throttle, unstopped }: LimitSources): SandboxLimitsValue['rules'] {
  const said = policy?.limits ?? {}
  const enforced = policy?.enforced ?? false
  const stops = (said.stopAtHit ?? false) && enforced && !unstopped
  const least = throttle ?? {}
  const counted = (own: IRateLimit | null | undefined, throttled: IRateLimit | null | undefined) => {
    const found = lowerRate(own ?? null, throttled ?? null, enforced)
    return found === null ? null : countedRule(found.rate, { ...found, stops: stops && !found.throttled })
  }
  const rules = {
    connects: counted(said.connects, least.connects),
    execs: counted(said.execs, least.execs),
    egress_bytes: egressRule({ said, least, enforced, stops: false }),
    connections: connectionsRule({ said, least, enforced, stops }),
  }
  return Object.fromEntries(Object.entries(rules).filter(([, rule]) => rule !== null))
}

interface Both {
  readonly said: ILimits
  readonly least: ILimits
  readonly enforced: boolean
  readonly stops: boolean
}

function egressRule({ said, least, enforced, stops }: Both): LimitRule | null {
  const total = toBigInt(said.egressTotal)
  const found = lowerRate(said.egressBytes ?? null, least.egressBytes ?? null, enforced)
  if (found !== null) return bytesRule(found.rate, total, { ...found, stops })
  return total === 0n ? null : bytesRule(null, total, { enforced, throttled: false, stops })
}

function connectionsRule({ said, least, enforced, stops }: Both): LimitRule | null {
  const own = said.connections ?? 0
  const lower = least.connections ?? 0
  if (lower !== 0 && (own === 0 || !enforced || lower < own)) {
    return openRule(lower, { enforced: true, throttled: true, stops: false })
  }
  return own === 0 ? null : openRule(own, { enforced, throttled: false, stops })
}

function lowerRate(
  own: IRateLimit | null,
  throttled: IRateLimit | null,
  enforced: boolean,
): { rate: IRateLimit; enforced: boolean; throttled: boolean } | null {
  if (throttled === null) return own === null ? null : { rate: own, enforced, throttled: false }
  if (own === null || !enforced) return { rate: throttled, enforced: true, throttled: true }
  const ownIsLower = (own.perSecond ?? 0) <= (throttled.perSecond ?? 0)
  const burst = toBigInt(own.burst) < toBigInt(throttled.burst) ? own.burst : throttled.burst
  return {
    rate: { perSecond: (ownIsLower ? own : throttled).perSecond ?? 0, burst: burst ?? null },
    enforced: true,
    throttled: !ownIsLower || toBigInt(throttled.burst) < toBigInt(own.burst),
  }
}

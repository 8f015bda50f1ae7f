/**
 * The policies of sandboxes as the kernel side has them. Guards that a policy holds as a whole or not at all, that one takes another's
 * place without an instant in between, and that nothing is left of it when its sandbox is. What a policy means is policy-table.ts's,
 * tables that sandboxes share policy-tables.ts's; leases are policy-leases.ts's.
 */
import { SluiceError } from '../base/error.js'
import type { Addon, BpfObject, NativeError } from '../native/addon.js'
import { ABI } from '../native/generated/abi.js'
import type { ICompiledPolicy } from '../proto/codec.js'
import { LeftBehind } from './left-behind.js'
import { holdsFound, sandboxKey } from './map-values.js'
import type { PolicyPrograms } from './policy-programs.js'
import { policyFlags } from './policy-table.js'
import { PolicyTables } from './policy-tables.js'
import { PolicyUnix } from './policy-unix.js'
import {
  decodeSandboxPolicy,
  encodePolicyState,
  encodeSandboxPolicy,
  POLICY_STATE_KEY,
  type SandboxPolicy,
} from './policy-values.js'

const E2BIG = 7
const ENOSPC = 28
const ENOMEM = 12
const FULL: ReadonlySet<number> = new Set([E2BIG, ENOSPC, ENOMEM])

export class PolicyMaps {
  readonly #object: BpfObject
  readonly #tables: PolicyTables
  readonly #unix: PolicyUnix
  readonly #programs: PolicyPrograms
  readonly #leftBehind: LeftBehind
  /** As the kernel has them: nobody else writes there. */
  readonly #entries: Map<bigint, SandboxPolicy>
  #lastGeneration = 0
  /** The kernel side holds what it finds, by entries of its own (SL_POLICY_HELD). */
  #holdsFound: boolean

  /** Goes on behind what an earlier sensor left in the maps. @param object the core object, loaded */
  constructor(addon: Addon, object: BpfObject, programs: PolicyPrograms) {
    this.#object = object
    this.#programs = programs
    this.#unix = new PolicyUnix(object)
    this.#leftBehind = new LeftBehind(object, (sandbox) => this.#entries.has(sandbox))
    this.#entries = readEntries(object)
    this.#holdsFound = mayHoldFound(object)
    const inUse = [...this.#entries.values()]
    for (const { generation } of inUse) this.#lastGeneration = Math.max(this.#lastGeneration, generation)
    this.#tables = new PolicyTables(
      addon,
      object,
      inUse.map(({ policy }) => policy),
    )
  }

  /** Of the policy that the sandbox has now; 0 without one. */
  generationOf(sandbox: bigint): number {
    return this.#entries.get(sandbox)?.generation ?? 0
  }

  /** The kernel side holds what it finds from now on: whoever is ours is judged for good. */
  holdFound(): void {
    this.#holdsFound = true
    this.#setPoliced(true)
  }

  /** Whether the kernel side holds it, as it has no policy yet. */
  isHeld(sandbox: bigint): boolean {
    const value = this.#entries.has(sandbox) ? null : this.#object.lookup('sl_sandbox_policies', sandboxKey(sandbox))
    return value !== null && isHeldEntry(decodeSandboxPolicy(value))
  }

  /** Whether what its policy denies is refused. */
  isEnforced(sandbox: bigint): boolean {
    return ((this.#entries.get(sandbox)?.flags ?? 0) & ABI.enums.SL_POLICY_ENFORCED) !== 0
  }

  /** These are about to be applied: together that takes less. */
  prepare(policies: readonly ICompiledPolicy[]): void {
    this.#tables.prepare(policies)
  }

  /**
   * When this returns the policy decides. Returns its generation. @param beforeSwap is given it while the earlier one decides still.
   * @throws SluiceError USAGE for a policy that can't be judged, LIMIT if the kernel has no room: then all is as it was.
   */
  apply(sandbox: bigint, policy: ICompiledPolicy, beforeSwap: (generation: number) => void): number {
    const flags = policyFlags(policy)
    const before = this.#entries.get(sandbox)
    const generation = this.#lastGeneration + 1
    const table = this.#write('its table of addresses', () => this.#tables.take(policy))
    const entry = { sandbox, policy: table, generation, flags }
    try {
      this.#write('its Unix sockets', () => this.#unix.write(generation, policy.unix ?? []))
      this.#write('its programs', () => this.#programs.write(generation, sandbox, policy))
      beforeSwap(generation)
      // Sockets that are made from now on are noted.
      if (this.#entries.size === 0) this.#setPoliced(true)
      this.#write('its entry', () => {
        this.#object.update('sl_sandbox_policies', sandboxKey(sandbox), encodeSandboxPolicy(entry))
      })
    } catch (error) {
      this.#tables.letGo(table)
      this.#unix.remove(generation)
      this.#programs.remove(generation)
      this.#setPoliced(this.#entries.size > 0)
      throw error
    }
    this.#entries.set(sandbox, entry)
    this.#lastGeneration = generation
    if (before !== undefined) this.#letGo(before)
    return generation
  }

  /** From here on nothing is denied to it. */
  forget(sandbox: bigint): void {
    const before = this.#entries.get(sandbox)
    // Also one that the kernel side wrote.
    this.#object.delete('sl_sandbox_policies', sandboxKey(sandbox))
    if (before === undefined) return
    this.#entries.delete(sandbox)
    if (this.#entries.size === 0) this.#setPoliced(false)
    this.#letGo(before)
    this.#leftBehind.sweepLater()
  }

  /** What is left of sandboxes that are no more, and of policies that a sensor died over. */
  forgetAllBut(sandboxes: ReadonlySet<bigint>): void {
    const keys = this.#object.keys('sl_sandbox_policies').map((key) => key.readBigUInt64LE())
    for (const sandbox of keys) if (!sandboxes.has(sandbox)) this.forget(sandbox)
    this.#tables.removeUnused()
    this.#leftBehind.sweepLater()
    const generations = new Set([...this.#entries.values()].map(({ generation }) => generation))
    this.#unix.removeAllBut(generations)
    this.#programs.removeAllBut(generations)
    this.#setPoliced(this.#entries.size > 0)
  }

  #letGo({ policy, generation }: SandboxPolicy): void {
    this.#tables.letGo(policy)
    this.#unix.retire(generation)
    this.#programs.retire(generation)
  }

  #setPoliced(policed: boolean): void {
    this.#object.update(
      'sl_policy_state',
      POLICY_STATE_KEY,
      encodePolicyState({ policed: policed || this.#holdsFound }),
    )
  }

  #write<T>(what: string, write: () => T): T {
    try {
      return write()
    } catch (error) {
      if (!FULL.has((error as NativeError).errno)) throw error
      throw new SluiceError('LIMIT', `the policy was not applied: the kernel has no room for ${what}`, {
        hint: `at most ${ABI.limits.SL_POLICIES_MAX} sandboxes have a policy at a time`,
        cause: error,
      })
    }
  }
}

function readEntries(object: BpfObject): Map<bigint, SandboxPolicy> {
  const found = new Map<bigint, SandboxPolicy>()
  for (const key of object.keys('sl_sandbox_policies')) {
    const value = object.lookup('sl_sandbox_policies', key)
    const entry = value === null ? null : decodeSandboxPolicy(value)
    if (entry !== null && !isHeldEntry(entry)) found.set(key.readBigUInt64LE(), entry)
  }
  return found
}

function isHeldEntry({ flags }: SandboxPolicy): boolean {
  return (flags & ABI.enums.SL_POLICY_HELD) !== 0
}

/** As an earlier sensor had it: what was found without one may be held still. */
function mayHoldFound(object: BpfObject): boolean {
  return object.keys('sl_watched_cgroups').some((key) => {
    const value = object.lookup('sl_watched_cgroups', key)
    return value !== null && holdsFound(value)
  })
}

/**
 * What the kernel side noted of sockets of sandboxes that have no policy any more: what they gave names to, and what came in from outside. Guards
 * that it goes: an address can be another socket's by then, and the room is for all. Nobody looks through the kernel's maps for each sandbox.
 */
import type { BpfObject } from '../native/addon.js'
import { ABI } from '../native/generated/abi.js'

const SWEEP_MS = 5_000
const OWNER_AT = ABI.structs.sl_lent.fields.owner + ABI.structs.sl_event_hdr.fields.sandbox

export class LeftBehind {
  readonly #object: BpfObject
  readonly #isHeld: (sandbox: bigint) => boolean
  #sweeping: NodeJS.Timeout | null = null

  /** @param isHeld whether the sandbox has a policy */
  constructor(object: BpfObject, isHeld: (sandbox: bigint) => boolean) {
    this.#object = object
    this.#isHeld = isHeld
  }

  /** All that came to its end meanwhile in one go. */
  sweepLater(): void {
    this.#sweeping ??= setTimeout(() => {
      this.#sweeping = null
      try {
        this.#sweepNames()
        this.#sweepLent()
      } catch {
        // The object is closed by now: the next sensor does it.
      }
    }, SWEEP_MS).unref()
  }

  #sweepNames(): void {
    for (const key of this.#object.keys('sl_unix_bound')) {
      const sandbox = key.readBigUInt64LE(ABI.structs.sl_unix_slot.fields.sandbox)
      if (!this.#isHeld(sandbox)) this.#object.delete('sl_unix_bound', key)
    }
  }

  /** Their counts last: what has none has nothing there. */
  #sweepLent(): void {
    const over = this.#object.keys('sl_lent_counts').filter((key) => !this.#isHeld(key.readBigUInt64LE()))
    if (over.length === 0) return
    const owners = new Set(over.map((key) => key.readBigUInt64LE()))
    for (const key of this.#object.keys('sl_lent')) {
      const owner = this.#object.lookup('sl_lent', key)?.readBigUInt64LE(OWNER_AT)
      if (owner !== undefined && owners.has(owner)) this.#object.delete('sl_lent', key)
    }
    for (const key of over) this.#object.delete('sl_lent_counts', key)
  }
}

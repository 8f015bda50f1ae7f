/**
 * Which names an address was the answer for, by sandbox: what a resolver said on the wire, or the gateway. Guards its size, and that a name
 * counts for as long as a lease would and no longer. Not here: what policy says of a name (host-verdicts.ts).
 */
/** Of one sandbox; beyond that the one that was not told for longest goes. */
export const ADDRESSES_MAX = 16_384
/** Of one address. */
export const NAMES_MAX = 8
/** Of all sandboxes together. */
const ALL_ADDRESSES_MAX = 262_144
/** As the gateway has them: how long an answer holds, whatever it says, and how long its lease outlasts it. */
const TTL_MIN_S = 30
const TTL_MAX_S = 3_570
const GRACE_S = 30
const NS_PER_S = 1_000_000_000n

/** When a name was told first and last, and when it is over. */
interface Told {
  readonly firstNs: bigint
  readonly lastNs: bigint
  readonly endNs: bigint
}

/** By name; the one told last comes last. */
type Names = Map<string, Told>

export class HostNames {
  readonly #bySandbox = new Map<string, Map<string, Names>>()
  #addresses = 0

  /** @param sandbox cgroup id of its root */
  learn(sandbox: bigint, { name, addresses, ttl, toldNs }: ToldName): void {
    const known = this.#bySandbox.get(String(sandbox)) ?? new Map<string, Names>()
    this.#bySandbox.set(String(sandbox), known)
    const seconds = Math.min(TTL_MAX_S, Math.max(TTL_MIN_S, ttl)) + GRACE_S
    const endNs = toldNs + BigInt(seconds) * NS_PER_S
    for (const address of addresses) this.#put(known, keyOf(address), { name, toldNs, endNs })
  }

  /** As of then: what was told later is left out. The one told last comes first. @param address 16 bytes */
  of(sandbox: bigint, address: Uint8Array, nowNs: bigint): string[] {
    const names = this.#bySandbox.get(String(sandbox))?.get(keyOf(address))
    if (names === undefined) return []
    return [...names]
      .filter(([, { firstNs, endNs }]) => firstNs <= nowNs && endNs > nowNs)
      .map(([name, { firstNs, lastNs }]) => ({ name, toldNs: lastNs <= nowNs ? lastNs : firstNs }))
      .reverse()
      .sort((one, other) => Number(other.toldNs - one.toldNs))
      .map(({ name }) => name)
  }

  forget(sandbox: bigint): void {
    this.#addresses -= this.#bySandbox.get(String(sandbox))?.size ?? 0
    this.#bySandbox.delete(String(sandbox))
  }

  #put(
    known: Map<string, Names>,
    key: string,
    { name, toldNs, endNs }: { name: string; toldNs: bigint; endNs: bigint },
  ): void {
    const before = known.get(key)
    const names: Names = before ?? new Map()
    known.delete(key)
    known.set(key, names)
    const firstNs = names.get(name)?.firstNs ?? toldNs
    names.delete(name)
    names.set(name, { firstNs, lastNs: toldNs, endNs })
    for (const oldest of names.keys()) if (names.size > NAMES_MAX) names.delete(oldest)
    if (before !== undefined) return
    this.#addresses++
    if (known.size <= ADDRESSES_MAX && this.#addresses <= ALL_ADDRESSES_MAX) return
    const [oldest] = known.keys()
    if (oldest !== undefined && known.delete(oldest)) this.#addresses--
  }
}

export interface ToldName {
  /** Lower case, no final dot. */
  readonly name: string
  /** 16 bytes each. */
  readonly addresses: readonly Uint8Array[]
  /** Seconds. */
  readonly ttl: number
  readonly toldNs: bigint
}

function keyOf(address: Uint8Array): string {
  return Buffer.from(address.buffer, address.byteOffset, address.byteLength).toString('latin1')
}

/**
 * For which names the addresses of one sandbox are leased, and until when: the kernel has a lease's rule, which can be for many names, of which
 * the next policy denies some. Guards its size: of one address and rule it knows so many names, and forgets those first whose lease ends
 * first. What is forgotten counts as never leased.
 */

/** As many as there are certificates' names on most shared addresses; the names of one address change seldom. */
export const NAMES_MAX = 16

type Names = Map<string, bigint>

export class LeaseNames {
  /** By address, then by rule. */
  readonly #addresses = new Map<string, Map<number, Names>>()

  add(place: { readonly address: string; readonly rule: number }, name: string, expiresNs: bigint): void {
    const names = this.#of(place)
    const before = names.get(name) ?? 0n
    names.set(name, before > expiresNs ? before : expiresNs)
    if (names.size <= NAMES_MAX) return
    const [first] = [...names].sort(([, a], [, b]) => (a < b ? -1 : 1))
    if (first !== undefined) names.delete(first[0])
  }

  /** Null: nobody knows its names, as an earlier sensor gave the lease. */
  at({ address, rule }: { readonly address: string; readonly rule: number }): ReadonlyMap<string, bigint> | null {
    return this.#addresses.get(address)?.get(rule) ?? null
  }

  forget(address: string): void {
    this.#addresses.delete(address)
  }

  #of({ address, rule }: { readonly address: string; readonly rule: number }): Names {
    const rules = this.#addresses.get(address) ?? new Map<number, Names>()
    const names = rules.get(rule) ?? new Map<string, bigint>()
    rules.set(rule, names)
    this.#addresses.set(address, rules)
    return names
  }
}

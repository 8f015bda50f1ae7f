/** Results of a pure function, for the few arguments that come again and again. Bounded: when it is full it starts anew. */

const RESULTS_MAX = 1_024

export class Memo<K, V> {
  private readonly make: (key: K) => V
  private readonly results = new Map<K, V>()

  /** @param make what it gives must not be changed by anyone */
  constructor(make: (key: K) => V) {
    this.make = make
  }

  of(key: K): V {
    const known = this.results.get(key)
    if (known !== undefined) return known
    if (this.results.size >= RESULTS_MAX) this.results.clear()
    const result = this.make(key)
    this.results.set(key, result)
    return result
  }
}

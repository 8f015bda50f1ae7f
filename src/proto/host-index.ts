/**
 * Many host patterns at once: which of them stand for a name, found by the name's labels and not by trying each. Guards that ten thousand
 * rules cost a look-up a label.
 */
import { type HostPattern, matchesHost } from './host-pattern.js'

export class HostIndex<T extends { readonly host: HostPattern }> {
  readonly #byBase = new Map<string, T[]>()

  constructor(entries: Iterable<T>) {
    for (const entry of entries) {
      const known = this.#byBase.get(entry.host.base)
      if (known === undefined) this.#byBase.set(entry.host.base, [entry])
      else known.push(entry)
    }
  }

  /** In the order given, those of the longest base first. `name` as `normalizeHostName` returned it. */
  matching(name: string): T[] {
    return this.endingIn(name).filter(({ host }) => matchesHost(host, name))
  }

  /** Those whose base is the name or an end of it, whatever their form. */
  endingIn(name: string): T[] {
    const found: T[] = []
    for (let at = 0; at !== -1; at = nextLabel(name, at)) found.push(...(this.#byBase.get(name.slice(at)) ?? []))
    return found
  }
}

/** -1 after the last one. */
function nextLabel(name: string, at: number): number {
  const dot = name.indexOf('.', at)
  return dot === -1 ? -1 : dot + 1
}

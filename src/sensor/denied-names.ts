/**
 * The names that a policy denies, as far as leases go: what was leased under the policy before is asked whether it may go on. A deny of some
 * ports is none of these: its rule has other ports then.
 */
import type { ICompiledPolicy, IHostPattern } from '../proto/codec.js'
import { HostIndex } from '../proto/host-index.js'
import { type HostPattern, hostPatternText } from '../proto/host-pattern.js'

export class DeniedNames {
  readonly #patterns: readonly HostPattern[]
  #index: HostIndex<{ readonly host: HostPattern }> | null = null
  #texts: ReadonlySet<string> | null = null

  constructor({ denyHosts }: Pick<ICompiledPolicy, 'denyHosts'>) {
    this.#patterns = (denyHosts ?? []).flatMap(({ host, ports }) =>
      isPattern(host) && (ports ?? []).length === 0 ? [host] : [],
    )
  }

  /** `name` as `normalizeHostName` returned it. */
  has(name: string): boolean {
    this.#index ??= new HostIndex(this.#patterns.map((host) => ({ host })))
    return this.#index.matching(name).length > 0
  }

  /** Whether it can deny a name of the pattern that `before` did not; sometimes where it can't, never the other way. */
  deniesMoreOf({ base }: HostPattern, before: DeniedNames): boolean {
    before.#texts ??= new Set(before.#patterns.map(hostPatternText))
    const known = before.#texts
    return this.#patterns.some((each) => isNear(each.base, base) && !known.has(hostPatternText(each)))
  }
}

export function isPattern(host: IHostPattern | null | undefined): host is HostPattern {
  return typeof host?.base === 'string' && typeof host.form === 'number'
}

/** Patterns have names in common only where the base of one is an end of the other's. */
function isNear(one: string, other: string): boolean {
  return one === other || one.endsWith(`.${other}`) || other.endsWith(`.${one}`)
}

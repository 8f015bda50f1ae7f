/** Which programs the rules of a compiled policy are for, by the rule's number: for verdicts, and for who is told why. It decides nothing. */
import type { IBinary, ICompiledPolicy } from '../proto/codec.js'

export class RulePrograms {
  private readonly known = new WeakMap<ICompiledPolicy, ReadonlyMap<number, readonly string[]>>()

  /** Paths, and hashes as sha256:…; empty: every program. */
  of(policy: ICompiledPolicy, rule: number): readonly string[] {
    const known = this.known.get(policy) ?? programsIn(policy)
    this.known.set(policy, known)
    return known.get(rule) ?? []
  }
}

/** Of a hash nobody can tell here. */
export function isForProgram(binaries: readonly IBinary[] | null | undefined, exe: string): boolean {
  return binaries == null || binaries.length === 0 || binaries.some(({ path }) => path === exe && exe !== '')
}

function programsIn({ nets, hosts }: ICompiledPolicy): ReadonlyMap<number, readonly string[]> {
  const found = new Map<number, Set<string>>()
  const add = (holder: number, binaries: readonly IBinary[] | null | undefined): void => {
    for (const binary of binaries ?? []) {
      // Where several rules are for one place, each event names one of them: what all of them name is what was asked for.
      for (const rule of new Set([holder, binary.rule || holder])) {
        found.set(rule, (found.get(rule) ?? new Set()).add(textOf(binary)))
      }
    }
  }
  for (const { ports } of nets ?? []) for (const { rule, binaries } of ports ?? []) add(rule ?? 0, binaries)
  for (const { rule, binaries } of hosts ?? []) add(rule ?? 0, binaries)
  return new Map([...found].map(([rule, names]) => [rule, [...names]]))
}

function textOf({ path, sha256 }: IBinary): string {
  return path || `sha256:${Buffer.from(sha256 ?? []).toString('hex')}`
}

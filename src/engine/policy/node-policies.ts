/**
 * The policies that the node's configuration gives. Guards that a file with a mistake never takes the place of what it said before: the last
 * good text holds, and the mistakes are told with their lines, until it is mended or gone. Which files there are is the supervisor's.
 */
import { createHash } from 'node:crypto'
import { problemLine } from '../../base/yaml-file.js'
import type { Machine } from './bundles/tool-config.js'
import { readToolHosts } from './bundles/tool-hosts.js'
import type { Compiled } from './compile.js'
import { type LoadedPolicy, loadPolicy, type PolicySource } from './load-policy.js'
import type { Rules } from './rules.js'
import { type SelectTarget, selects, selectsFound } from './select.js'

/** Of the machine alone: nobody's home, nobody's variables. */
const MACHINE: Machine = { root: '', home: null, variables: {} }

interface Good {
  readonly digest: string
  readonly source: PolicySource
  readonly policy: LoadedPolicy & { readonly rules: Rules }
}

export class NodePolicies {
  readonly #good = new Map<string, Good>()
  readonly #problems = new Map<string, readonly string[]>()

  /** @param lastGood texts that an earlier engine worked with, for files that have a mistake by now */
  constructor(sources: readonly PolicySource[], lastGood: readonly PolicySource[] = []) {
    const now = new Set(sources.map(({ name }) => name))
    for (const source of lastGood) if (now.has(source.name)) this.#take(source)
    this.#problems.clear()
    this.update(sources)
  }

  /** All that there are now. Those that are not among them are gone. */
  update(sources: readonly PolicySource[]): void {
    const now = new Set(sources.map(({ name }) => name))
    for (const name of [...this.#good.keys(), ...this.#problems.keys()]) {
      if (now.has(name)) continue
      this.#good.delete(name)
      this.#problems.delete(name)
    }
    for (const source of sources) this.#take(source)
  }

  /** What one of them comes to by itself: it was compiled to find its mistakes. Null: these are not the rules of one. */
  compiledOf(rules: Rules): Compiled | null {
    return [...this.#good.values()].find(({ policy }) => policy.rules === rules)?.policy.compiled ?? null
  }

  /** As they hold now. */
  get lastGood(): PolicySource[] {
    return [...this.#good.values()].map(({ source }) => source)
  }

  /** A line each, with what holds instead. */
  get problems(): string[] {
    return [...this.#problems].flatMap(([name, lines]) => {
      const holds = this.#good.has(name) ? 'what it said before holds' : 'it is not used'
      return lines.map((line) => `${line} (${holds})`)
    })
  }

  /** Those lines of them whose files never were good. */
  get unused(): string[] {
    return [...this.#problems].flatMap(([name, lines]) => (this.#good.has(name) ? [] : lines))
  }

  /** Those that are for this sandbox, by name. */
  for(target: SelectTarget): Rules[] {
    return this.#selecting(target).map(({ policy }) => policy.rules)
  }

  /** Which texts they are; the same for the same texts. Empty: none. */
  digestFor(target: SelectTarget): string {
    const digests = this.#selecting(target).map(({ digest }) => digest)
    return digests.length === 0 ? '' : sha256(digests.join('\n'))
  }

  /** Those cgroups of others that one of them which is enforced is for, whatever is in them. */
  get enforcedOnFound(): { readonly all: boolean; readonly cgroups: string[] } {
    const enforced = [...this.#good.values()].filter(({ policy }) => policy.rules.mode === 'enforce')
    const patterns = enforced
      .map(({ policy }) => selectsFound(policy.parsed?.file.select))
      .filter((each) => each !== null)
    return { all: patterns.includes(''), cgroups: patterns.filter((each) => each !== '') }
  }

  #selecting(target: SelectTarget): Good[] {
    const good = [...this.#good.values()].sort((a, b) => (a.source.name < b.source.name ? -1 : 1))
    return good.filter(({ policy }) => selects(policy.parsed?.file.select, target))
  }

  #take(source: PolicySource): void {
    const { name, text } = source
    if (this.#good.get(name)?.source.text === text && !this.#problems.has(name)) return
    const policy = loadPolicy(source, (bundles) => readToolHosts(MACHINE, bundles))
    const { rules, findings } = policy
    const errors = findings.filter(({ severity }) => severity === 'error')
    if (rules !== null) {
      this.#good.set(name, { source, digest: sha256(`${name}\n${text}`), policy: { ...policy, rules } })
      this.#problems.delete(name)
    } else
      this.#problems.set(
        name,
        errors.map((finding) => problemLine(name, finding)),
      )
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

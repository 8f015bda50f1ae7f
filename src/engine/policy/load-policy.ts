/**
 * The text of a policy file, or of several, to what is compiled of them: reads, checks, merges, compiles. It guards that nothing with an
 * error in it is ever compiled. Pure but for the machine's tools, which are handed in.
 */
import { messageOf, SluiceError } from '../../base/error.js'
import { readYaml } from '../../base/yaml-file.js'
import type { ToolHosts } from './bundles/tool-hosts.js'
import { checkPolicy } from './check.js'
import { type Compiled, compileRules } from './compile.js'
import { findingsHere, type Here } from './here.js'
import { compileLayers } from './layered.js'
import { type Finding, type ParsedPolicy, resolveRules } from './resolve-rules.js'
import type { Rules } from './rules.js'
import { policySchema } from './schema.js'

export interface PolicySource {
  /** For messages. */
  readonly name: string
  readonly text: string
}

/** `rules` null: a finding is an error. */
export interface LoadedPolicy {
  readonly source: PolicySource
  readonly parsed: ParsedPolicy | null
  readonly rules: Rules | null
  /** What these rules alone come to. */
  readonly compiled: Compiled | null
  readonly findings: readonly Finding[]
}

/** `toolsFor`: the machine's, for the bundles that the policy names. `here`: where it has to hold, if that is asked. */
export function loadPolicy(
  source: PolicySource,
  toolsFor: (bundles: readonly string[]) => ToolHosts,
  here: Here | null = null,
): LoadedPolicy {
  const read = readYaml(source.text, policySchema)
  if (!read.ok) {
    const findings = read.problems.map((problem): Finding => ({ ...problem, severity: 'error' }))
    return { source, parsed: null, rules: null, compiled: null, findings }
  }
  const parsed: ParsedPolicy = { file: read.value, at: read.at }
  const resolved = resolveRules(parsed, toolsFor(parsed.file.bundles ?? []))
  const unheld = here === null ? [] : findingsHere(parsed, here)
  const found = [...resolved.findings, ...checkPolicy(parsed, resolved.rules), ...unheld]
  const isRefused = found.some(({ severity }) => severity === 'error')
  const { compiled, limits } = isRefused ? { compiled: null, limits: [] } : compileAlone(resolved.rules, parsed)
  const findings = [...found, ...limits].sort((a, b) => a.line - b.line || a.column - b.column)
  return { source, parsed, rules: compiled === null ? null : resolved.rules, compiled, findings }
}

/** With what only compiling finds. */
function compileAlone(rules: Rules, { at }: ParsedPolicy): { compiled: Compiled | null; limits: Finding[] } {
  try {
    return { compiled: compileRules(rules), limits: [] }
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error
    return { compiled: null, limits: [{ ...at(['egress']), severity: 'error', message: messageOf(error) }] }
  }
}

/**
 * All of them as one. Throws USAGE if there is none, or one has an error, or one of them makes enforced what another says and this version
 * can't; LIMIT for what only their union goes beyond.
 */
export function compilePolicies(policies: readonly LoadedPolicy[]): Compiled & { readonly rules: Rules } {
  const refused = policies.find((policy) => policy.rules === null)
  if (refused !== undefined) throw new SluiceError('USAGE', `${refused.source.name} has errors`)
  const [only, ...others] = policies
  // By itself it was compiled to find its mistakes.
  if (only?.compiled && only.rules !== null && others.length === 0) return { ...only.compiled, rules: only.rules }
  const own = policies.flatMap((policy) => policy.rules ?? [])
  const compiled = compileLayers({ node: [], own, workdir: null, ownMode: null })
  if (compiled === null) throw new SluiceError('USAGE', 'no policy is given')
  return compiled
}

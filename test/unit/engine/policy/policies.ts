/** Policies for tests: text with a head that is right, loaded as a file named p.yaml is, on a machine whose tools say nothing. */
import { problemLine } from '../../../../src/base/yaml-file.js'
import { readToolHosts } from '../../../../src/engine/policy/bundles/tool-hosts.js'
import { type LoadedPolicy, loadPolicy } from '../../../../src/engine/policy/load-policy.js'
import type { Rules } from '../../../../src/engine/policy/rules.js'

/** Three lines: what follows begins at line 4. */
export const ENFORCE = 'version: 1\nname: p\nmode: enforce\n'
export const MONITOR = 'version: 1\nname: p\nmode: monitor\n'

const BARE_MACHINE = { root: '/nonexistent', home: '/home', variables: {} }

export function load(text: string, machine = BARE_MACHINE): LoadedPolicy {
  return loadPolicy({ name: 'p.yaml', text }, (bundles) => readToolHosts(machine, bundles))
}

/** `p.yaml:4:1: error: …`, in order. */
export function findings(text: string): string[] {
  const { source, findings: found } = load(text)
  return found.map(({ severity, message, ...place }) =>
    problemLine(source.name, { ...place, message: `${severity}: ${message}` }),
  )
}

/** Throws with the findings where there are errors. */
export function rulesOf(text: string): Rules {
  const { rules } = load(text)
  if (rules === null) throw new Error(findings(text).join('\n'))
  return rules
}

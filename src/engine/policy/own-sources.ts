/**
 * The policies that come with a sandbox, as the texts of their files: read and checked again here, as whoever sends them may be anybody. Guards
 * their size, as the engine waits meanwhile, and that one with a mistake is refused with its line. Not here: the node's policies.
 */
import { SluiceError } from '../../base/error.js'
import { problemLine } from '../../base/yaml-file.js'
import { type IPolicySources, type IPolicyText, type IToolHost, Mode } from '../../proto/codec.js'
import type { ToolHosts } from './bundles/tool-hosts.js'
import { TOOL_NAMES } from './bundles/tool-names.js'
import type { PolicyLayers } from './layered.js'
import { type LoadedPolicy, loadPolicy } from './load-policy.js'
import type { Rules } from './rules.js'

export const TEXT_CHARS_MAX = 1024 * 1024
const FILES_MAX = 16
const PORT_MAX = 65_535
const NAME_CHARS_MAX = 4_096

/** Throws LIMIT: they are kept with the sandbox. */
export function requireBounded({ policies, workdir, tools }: IPolicySources): void {
  const files = [...(policies ?? []), ...(workdir ? [workdir] : [])]
  if (files.length > FILES_MAX) throw new SluiceError('LIMIT', `a sandbox has at most ${FILES_MAX} policies of its own`)
  const texts = files.flatMap(({ name, text }) => [name ?? '', text ?? ''])
  const more = (tools ?? []).flatMap(({ bundle, host, from }) => [bundle ?? '', host ?? '', from ?? ''])
  if ([...texts, ...more].reduce((sum, { length }) => sum + length, 0) > 2 * TEXT_CHARS_MAX) {
    throw new SluiceError('LIMIT', 'what the policies of a sandbox of its own come with is too much')
  }
  if (texts.reduce((sum, { length }) => sum + length, 0) > TEXT_CHARS_MAX + FILES_MAX * NAME_CHARS_MAX) {
    throw new SluiceError('LIMIT', `the policies of a sandbox of its own have more than ${TEXT_CHARS_MAX} characters`)
  }
}

/** Throws USAGE with every mistake, LIMIT. */
export function ownLayers(sources: IPolicySources): Omit<PolicyLayers, 'node'> {
  requireBounded(sources)
  const { policies, workdir, mode, tools } = sources
  const hosts = toolHosts(tools ?? [])
  const load = (file: IPolicyText) => rulesOf(loadPolicy(sourceOf(file), () => hosts))
  return {
    own: (policies ?? []).map(load),
    workdir: workdir ? load(workdir) : null,
    ownMode: mode === Mode.MODE_MONITOR ? 'monitor' : null,
  }
}

function sourceOf({ name, text }: IPolicyText) {
  return { name: (name ?? '').slice(0, NAME_CHARS_MAX), text: text ?? '' }
}

function rulesOf({ source, rules, findings }: LoadedPolicy): Rules {
  if (rules !== null) return rules
  const errors = findings.filter(({ severity }) => severity === 'error')
  throw new SluiceError('USAGE', errors.map((finding) => problemLine(source.name, finding)).join('; '))
}

function toolHosts(given: readonly IToolHost[]): ToolHosts {
  const entries = TOOL_NAMES.map((bundle) => {
    const hosts = given.flatMap(({ bundle: of, host, port, from }) => {
      const isPort = port !== undefined && port !== null && port > 0 && port <= PORT_MAX
      return of === bundle && isPort ? [{ host: host ?? '', port, from: from ?? '' }] : []
    })
    return [bundle, { hosts, problems: [], looked: [] }]
  })
  return Object.fromEntries(entries) as ToolHosts
}

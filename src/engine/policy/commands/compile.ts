/** `compile`, for `run` and `sandboxes`: what kernel and gateway take of policy files, and the files themselves for an engine that has more to say. */
import {
  CompiledPolicy,
  encodeBuffer,
  type IPolicySources,
  type IToolHost,
  Mode,
  PolicySources,
} from '../../../proto/codec.js'
import { readToolHosts } from '../bundles/tool-hosts.js'
import { TOOL_NAMES } from '../bundles/tool-names.js'
import { compileLayers } from '../layered.js'
import type { LoadedPolicy } from '../load-policy.js'
import { TEXT_CHARS_MAX } from '../own-sources.js'
import { type Context, EXIT_FOUND, EXIT_OK, loadFile, tellFindings } from './context.js'

export interface CompileRequest {
  readonly files: readonly string[]
  /** Found in the working directory: it can only tighten. Null: there is none. */
  readonly workdir: string | null
  /** `monitor`: whatever they say, nothing is refused. The other way round is not to be had, as more is checked of what is enforced. */
  readonly mode: 'monitor' | 'enforce' | null
}

/** Two lines of base64: a CompiledPolicy, and PolicySources; the second one is empty where they are too long. Several files count as one policy. */
export function compile({ files, workdir, mode }: CompileRequest, context: Context): number {
  const own = files.map((file) => loadFile(file, context))
  const found = workdir === null ? null : loadFile(workdir, context, { isOthers: true })
  const loaded = [...own, ...(found === null ? [] : [found])]
  for (const policy of loaded) tellFindings(policy, context.err)
  if (loaded.some(({ rules }) => rules === null)) return EXIT_FOUND
  const rulesOf = (policies: readonly LoadedPolicy[]) => policies.flatMap(({ rules }) => rules ?? [])
  if (mode === 'enforce' && !rulesOf(own).some((rules) => rules.mode === 'enforce')) {
    context.err(`${files.join(', ')}: error: --mode enforce takes a policy that says mode: enforce`)
    return EXIT_FOUND
  }
  const [inWorkdir = null] = found === null ? [] : rulesOf([found])
  const ownMode = mode === 'monitor' ? mode : null
  const compiled = compileLayers({ node: [], own: rulesOf(own), workdir: inWorkdir, ownMode })
  if (compiled === null) return EXIT_FOUND
  context.out(encodeBuffer(CompiledPolicy, compiled.policy).toString('base64'))
  context.out(sourcesText({ own, found, ownMode }, context))
  return EXIT_OK
}

function sourcesText(
  { own, found, ownMode }: { own: readonly LoadedPolicy[]; found: LoadedPolicy | null; ownMode: 'monitor' | null },
  { machine }: Context,
): string {
  const loaded = [...own, ...(found === null ? [] : [found])]
  if (loaded.reduce((sum, { source }) => sum + source.text.length, 0) > TEXT_CHARS_MAX) return ''
  const bundles = loaded.flatMap(({ parsed }) => parsed?.file.bundles ?? [])
  const tools = readToolHosts(machine, bundles)
  const sources: IPolicySources = {
    policies: own.map(({ source }) => ({ ...source })),
    ...(found === null ? {} : { workdir: { ...found.source } }),
    mode: ownMode === null ? Mode.MODE_UNSPECIFIED : Mode.MODE_MONITOR,
    tools: TOOL_NAMES.flatMap((bundle) => tools[bundle].hosts.map((host): IToolHost => ({ bundle, ...host }))),
  }
  return encodeBuffer(PolicySources, sources).toString('base64')
}

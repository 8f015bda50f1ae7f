/**
 * `sluice sandboxes`: what the node's agent watches, and what is done to it. Guards that what was done is shown as it was observed
 * afterwards. Who may do it is the agent's to say.
 */
import { resolve } from 'node:path'
import { SluiceError } from '../../base/error.js'
import { notOne } from '../../base/name-lookup.js'
import { writeStderr } from '../../base/stderr.js'
import { type IPolicySources, type ISandboxStatus, SandboxAction } from '../../proto/codec.js'
import type { ControlClient } from '../../proto/rpc.js'
import { connectAgent } from '../agent-client.js'
import { neutralise, neutraliseJson } from '../display-text.js'
import type { Environment } from '../environment.js'
import { parseLabels, text } from '../run/run-options.js'
import { cgroupPath } from '../sandboxes/cgroup-path.js'
import { policyText, sandboxJson, sandboxTable, sandboxText } from '../sandboxes/sandbox-view.js'
import { userNames } from '../user-names.js'

export interface SandboxesContext {
  readonly socket: string
  readonly json: boolean
  readonly environment: Environment
}

export const CHANGES = {
  freeze: { action: SandboxAction.SANDBOX_ACTION_FREEZE, done: 'frozen' },
  thaw: { action: SandboxAction.SANDBOX_ACTION_THAW, done: 'goes on' },
  throttle: { action: SandboxAction.SANDBOX_ACTION_THROTTLE, done: 'throttled' },
  unthrottle: { action: SandboxAction.SANDBOX_ACTION_UNTHROTTLE, done: 'throttled no more' },
  deny: { action: SandboxAction.SANDBOX_ACTION_DENY, done: 'nothing gets out of it' },
  undeny: { action: SandboxAction.SANDBOX_ACTION_UNDENY, done: 'gets out what its policy allows' },
  kill: { action: SandboxAction.SANDBOX_ACTION_KILL, done: 'killed' },
  release: { action: SandboxAction.SANDBOX_ACTION_RELEASE, done: 'released: it goes on unwatched' },
} as const

export type Change = keyof typeof CHANGES

export interface RawAddOptions {
  name?: string
  agent?: string
  task?: string
  label?: string[]
  policy?: string[]
}

export interface RawPolicyOptions {
  policy?: string[]
  none?: boolean
}

/** Exit codes; errors are thrown. */
export async function listSandboxes({ socket, json }: SandboxesContext): Promise<number> {
  const views = (await listed(socket)).map(sandboxJson)
  if (json) for (const view of views) print(neutraliseJson(JSON.stringify(view)))
  else process.stdout.write(sandboxTable(views, userNames(), nowUnixNs()))
  return 0
}

export async function showSandbox(wanted: string, { socket, json }: SandboxesContext): Promise<number> {
  const found = findShown(wanted, await listed(socket))
  show(found, json)
  return 0
}

async function sourcesOf(files: readonly string[], environment: Environment): Promise<IPolicySources> {
  const { compileFiles } = await import('../policy-compiler.js')
  const warn = (line: string) => writeStderr(`${line}\n`)
  const paths = files.map((file) => resolve(file))
  const { sources } = await compileFiles(paths, { mode: null, workdir: null, environment, warn, here: null })
  if (sources !== null) return sources
  throw new SluiceError('LIMIT', 'the policies of one sandbox have more than a million characters', {
    hint: 'give them to the agent: agent.policies of its configuration, with select',
  })
}

/** Other policies of its own, or none. */
export async function policySandbox(wanted: string, raw: RawPolicyOptions, context: SandboxesContext): Promise<number> {
  const files = raw.policy ?? []
  if ((files.length === 0) !== (raw.none ?? false)) {
    throw new SluiceError('USAGE', 'say which with --policy FILE, or --none for no policy of its own')
  }
  const sources = files.length === 0 ? {} : { sources: await sourcesOf(files, context.environment) }
  const { sandbox } = await asked(context.socket, (client) => client.setPolicy({ sandbox: wanted, ...sources }))
  if (context.json) print(neutraliseJson(JSON.stringify(sandboxJson(sandbox ?? {}))))
  else print(neutralise(`${sandbox?.sandbox?.id}: ${policyText(sandboxJson(sandbox ?? {}))}`))
  return 0
}

export async function addSandbox(path: string, raw: RawAddOptions, context: SandboxesContext): Promise<number> {
  const files = raw.policy ?? []
  const request = {
    ...(files.length === 0 ? {} : { sources: await sourcesOf(files, context.environment) }),
    cgroupPath: cgroupPath(path),
    name: text('--name', raw.name ?? ''),
    agent: text('--agent', raw.agent ?? ''),
    task: text('--task', raw.task ?? ''),
    labels: parseLabels(raw.label ?? []),
  }
  const { sandbox, processes } = await asked(context.socket, (client) => client.addSandbox(request))
  if (context.json) print(neutraliseJson(JSON.stringify(sandboxJson(sandbox ?? {}))))
  else {
    const policy = sandbox?.policy ? `; ${policyText(sandboxJson(sandbox))}` : ''
    print(neutralise(`${sandbox?.sandbox?.id}: watched; processes in it: ${processes ?? 0}${policy}`))
    for (const problem of sandbox?.policyProblems ?? []) writeStderr(`sluice: ${neutralise(problem)}\n`)
  }
  return 0
}

/** One after the other; the first that can't be done ends it. */
export async function changeSandboxes(
  change: Change,
  wanted: readonly string[],
  { socket, json }: SandboxesContext,
): Promise<number> {
  const { action, done } = CHANGES[change]
  await asked(socket, async (client) => {
    for (const sandbox of wanted) {
      const answer = await client.changeSandbox({ sandbox, action })
      const killed = change === 'kill' ? `; processes: ${answer.killed ?? 0}` : ''
      if (json) print(neutraliseJson(JSON.stringify(sandboxJson(answer.sandbox ?? {}))))
      const { lifted } = answer
      const policy = lifted ? `; policy ${lifted.name} (${lifted.mode}) is lifted, nothing is refused any more` : ''
      if (!json) print(neutralise(`${answer.sandbox?.sandbox?.id}: ${done}${killed}${policy}`))
    }
  })
  return 0
}

async function listed(socket: string): Promise<ISandboxStatus[]> {
  return (await asked(socket, (client) => client.listSandboxes({}))).sandboxes ?? []
}

async function asked<T>(socket: string, ask: (client: ControlClient) => Promise<T>): Promise<T> {
  const client = await connectAgent(socket)
  try {
    return await ask(client)
  } finally {
    client.close()
  }
}

/** As the agent finds one to act on: by id, else by a name that only one bears. */
function findShown(wanted: string, all: readonly ISandboxStatus[]): ISandboxStatus {
  const byId = all.find(({ sandbox }) => sandbox?.id === wanted)
  const named = all.filter(({ sandbox }) => sandbox?.name === wanted)
  const [only] = named
  if (byId !== undefined) return byId
  if (only !== undefined && named.length === 1) return only
  throw notOne(wanted, {
    named: named.map(({ sandbox }) => sandbox?.id ?? ''),
    known: all.flatMap(({ sandbox }) => [sandbox?.name ?? '', sandbox?.id ?? '']),
  })
}

function show(status: ISandboxStatus, json: boolean): void {
  const view = sandboxJson(status)
  if (json) print(neutraliseJson(JSON.stringify(view)))
  else process.stdout.write(sandboxText(view, userNames(), nowUnixNs()))
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

function nowUnixNs(): bigint {
  return BigInt(Date.now()) * 1_000_000n
}

/**
 * `sluice baselines`: what is known of agents from their earlier sessions, and forgetting it. Asks the node's agent; where none runs, a process of the
 * engine's looks at its file, for root. Guards that what is forgotten is just one identity, named beyond doubt. Who may is the agent's to say.
 */
import { join } from 'node:path'
import { execa } from 'execa'
import { z } from 'zod'
import { SluiceError } from '../../base/error.js'
import { programFile } from '../../base/installation.js'
import { type IBaseline, toBigInt } from '../../proto/codec.js'
import { ROLE_ENVIRONMENT, ROLE_NODE_OPTIONS } from '../../supervise/role.js'
import { connectAgent } from '../agent-client.js'
import { probeAgent } from '../agent-probe.js'
import type { Settings } from '../command-parts.js'
import { neutraliseJson, neutraliseWord } from '../display-text.js'
import { userNames } from '../user-names.js'
import { agentOptions } from './agent.js'

export interface BaselinesContext {
  readonly json: boolean
  readonly settings: Settings
}

const DEADLINE_MS = 60_000
const COLUMN_GAP = 2

const one = z.object({
  ...{ agent: z.string(), ownerUid: z.number(), sessions: z.number(), lastUnixMs: z.number() },
  ...{ hosts: z.number(), binaries: z.number(), paths: z.number(), news: z.number() },
})
const found = z.union([
  z.object({ all: z.array(one), forgotten: z.boolean() }),
  z.object({ error: z.string(), isForbidden: z.boolean() }),
])
type Baseline = z.output<typeof one>

/** Of the agent, or of its file. */
interface Source {
  all(): Promise<Baseline[]>
  forget(one: Baseline): Promise<void>
}

export async function listBaselines({ json, settings }: BaselinesContext): Promise<number> {
  const all = await withSource(settings, (source) => source.all())
  if (json) for (const each of all) print(neutraliseJson(JSON.stringify(view(each))))
  else for (const line of table(all, userNames())) print(line)
  return 0
}

/** @param owner a name or a uid; null: there is one of this agent only */
export async function forgetBaseline(agent: string, owner: string | null, context: BaselinesContext): Promise<number> {
  const nameOf = userNames()
  return withSource(context.settings, async (source) => {
    const named = (await source.all()).filter((each) => each.agent === agent)
    const meant = named.filter(({ ownerUid }) => [null, String(ownerUid), nameOf(ownerUid)].includes(owner))
    const [only] = meant
    if (only === undefined || meant.length > 1)
      throw notOne(
        agent,
        owner,
        named.map(({ ownerUid }) => nameOf(ownerUid)),
      )
    await source.forget(only)
    if (context.json) print(neutraliseJson(JSON.stringify(view(only))))
    else
      print(
        `${neutraliseWord(agent)} of ${neutraliseWord(nameOf(only.ownerUid))}: forgotten; sessions: ${only.sessions}`,
      )
    return 0
  })
}

function notOne(agent: string, owner: string | null, owners: readonly string[]): SluiceError {
  if (owners.length > 1 && owner === null) {
    return new SluiceError('USAGE', `the agent '${agent}' is known of several users: ${owners.join(', ')}`, {
      hint: 'say which with --owner',
    })
  }
  const of = owner === null ? '' : ` of the user '${owner}'`
  return new SluiceError('USAGE', `nothing is kept of the agent '${agent}'${of}`, { hint: 'sluice baselines ls' })
}

async function withSource<T>(settings: Settings, ask: (source: Source) => Promise<T>): Promise<T> {
  const { socket } = settings
  if (socket.isGiven || (await probeAgent(socket.path)) !== 'nobody') return ofAgent(socket.path, ask)
  return ask(ofFile(settings))
}

async function ofAgent<T>(socket: string, ask: (source: Source) => Promise<T>): Promise<T> {
  const client = await connectAgent(socket)
  try {
    return await ask({
      all: async () => ((await client.listBaselines()).baselines ?? []).map(whole),
      forget: async ({ agent, ownerUid }) => void (await client.forgetBaseline({ agent, ownerUid })),
    })
  } finally {
    client.close()
  }
}

/** What was not sent is zero. */
function whole(each: IBaseline): Baseline {
  return {
    ...{ agent: each.agent ?? '', ownerUid: each.ownerUid ?? 0, sessions: each.sessions ?? 0 },
    lastUnixMs: Number(toBigInt(each.lastUnixMs)),
    ...{ hosts: each.hosts ?? 0, binaries: each.binaries ?? 0, paths: each.paths ?? 0, news: each.news ?? 0 },
  }
}

function ofFile({ config, environment }: Settings): Source {
  const { stateDir } = agentOptions({
    ...{ config, environment },
    socket: null,
    logLevel: null,
    notifySocket: null,
    watch: [],
    reread: async () => config,
  })
  const path = join(stateDir, 'baselines/baselines.db')
  const asked = async (forget: Pick<Baseline, 'agent' | 'ownerUid'> | null) => {
    const main = programFile('engine/baselines-main')
    const { stdout } = await execa(process.execPath, [...ROLE_NODE_OPTIONS, main, JSON.stringify({ path, forget })], {
      ...{ cwd: '/', stdin: 'ignore', stderr: 'inherit', env: ROLE_ENVIRONMENT, extendEnv: false },
      timeout: DEADLINE_MS,
    })
    const answer = found.parse(JSON.parse(stdout))
    if (!('error' in answer)) return answer
    if (!answer.isForbidden) throw new SluiceError('IO', answer.error)
    throw new SluiceError('PRIVILEGE', `where no agent runs, ${path} is for root`, { hint: 'run it with sudo' })
  }
  return {
    all: async () => (await asked(null)).all,
    forget: async ({ agent, ownerUid }) => {
      const { forgotten } = await asked({ agent, ownerUid })
      if (!forgotten) throw notOne(agent, String(ownerUid), [])
    },
  }
}

function view({ lastUnixMs, ...rest }: Baseline): object {
  return { ...rest, last: new Date(lastUnixMs).toISOString() }
}

function table(all: readonly Baseline[], nameOf: (uid: number) => string): string[] {
  const rows = [
    ['AGENT', 'OWNER', 'SESSIONS', 'LAST', 'HOSTS', 'PROGRAMS', 'PLACES', 'NEW'],
    ...all.map((each) => [
      ...[neutraliseWord(each.agent), neutraliseWord(nameOf(each.ownerUid)), String(each.sessions)],
      ...[new Date(each.lastUnixMs).toISOString(), ...[each.hosts, each.binaries, each.paths, each.news].map(String)],
    ]),
  ]
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd((widths[column] ?? 0) + COLUMN_GAP))
      .join('')
      .trimEnd(),
  )
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

/**
 * A node's agent: the engine and the sensor as processes, kept running, for all runs and sandboxes of the machine. Guards that there is one
 * agent a machine, that its control socket is open to root and the agent's group alone, that a dead socket is never mistaken for a live
 * one of somebody else, and that either role can die and come back alone: the sensor keeps what happens while there is no engine, the
 * engine finds its state, the kernel side works on without a sensor. Not here: what the roles do.
 */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf, SluiceError } from '../base/error.js'
import type { Log, LogLevel } from '../base/log.js'
import { makeFolders } from '../base/make-folders.js'
import type { AgentHost } from './agent-host.js'
import { checkSocket, groupsOf, removeSocket } from './control-socket.js'
import { type GatewayPart, prepareGateway, type ResolverAddress } from './gateway-part.js'
import { KeptRole } from './kept-role.js'
import { type PolicyFiles, readPolicyFiles } from './policy-files.js'
import { startRole } from './role.js'
import { type SinksOptions, SinksPart } from './sinks-part.js'
import {
  AGENT_SPOOL_BYTES,
  BUILT_MAINS,
  engineUserOf,
  FLUSH_MS,
  type JournalPlace,
  type Mains,
  orSay,
  prepareRuntimeDir,
  READY_DEADLINE_MS,
  ROOT_UID,
  requireRoot,
  sweepRuns,
} from './stack-parts.js'

export const LOCK_FILE = 'agent.lock'

export interface AgentOptions {
  /** Made if missing; must be root's and writable for root alone. */
  readonly runtimeDir: string
  /** For what outlives a boot of the machine; made if missing, and root's. What can't be kept there is done without. */
  readonly stateDir: string
  readonly controlSocket: string
  readonly logLevel: LogLevel
  readonly engineUser: string
  readonly gatewayUser: string
  /** Null: those of resolv.conf. */
  readonly resolvers: readonly ResolverAddress[] | null
  /** Whose members may use the control socket, and who of those may do everything. */
  readonly group: string
  readonly adminGroup: string
  /** Where what the kernel holds of ours outlives a sensor that dies. */
  readonly pinDir: string
  /** Patterns of cgroups that are watched as soon as they are there. */
  readonly watch: readonly string[]
  /** Files and folders with policies for the sandboxes that they select. */
  readonly policies: readonly string[]
  readonly ringBytes: { readonly priority: number; readonly bulk: number }
  /** Null: sessions leave none. */
  readonly journal: JournalPlace | null
  /** Where Prometheus may ask the engine for its numbers. */
  readonly metrics: { readonly host: string; readonly port: number } | null
  readonly sinks: SinksOptions
  readonly mains?: Mains
}

export interface Agent {
  /** Of the roles that run now. */
  pids(): { sensor: number | null; engine: number | null; gateway: number | null }
  /** Reads the policy files and the sinks anew, at once. */
  reload(): void
  /** Stops all of them and removes what they leave. Safe to call twice. */
  stop(): Promise<void>
}

/** Resolves when runs are taken. Throws IO where an agent runs already, and the first error of a role that can't start. */
export async function startAgent(options: AgentOptions, host: AgentHost, log: Log): Promise<Agent> {
  requireRoot()
  const { runtimeDir, controlSocket } = options
  prepareRuntimeDir(runtimeDir)
  const lock = host.lock(join(runtimeDir, LOCK_FILE))
  let started = false
  const files = readPolicyFiles(options.policies, log)
  try {
    await checkSocket(controlSocket)
    started = true
    const roles = await keptRoles(options, { files, log })
    await startInOrder(roles)
    files.start((policies) => roles.engine.tell({ policies }))
    roles.sinks.start()
    log.info({ socket: controlSocket, ...pidsOf(roles) }, 'the agent is ready')
    let stopped: Promise<void> | null = null
    return {
      pids: () => pidsOf(roles),
      reload() {
        files.reload()
        roles.sinks.reload()
      },
      stop() {
        files.stop()
        stopped ??= stopAgent(roles, options).finally(() => lock.release())
        return stopped
      },
    }
  } catch (error) {
    // Only ever our own: whose it was has been looked at before.
    if (started) removeSocket(controlSocket)
    lock.release()
    throw error
  }
}

interface Roles {
  readonly sensor: KeptRole
  readonly engine: KeptRole
  readonly gateway: GatewayPart
  readonly sinks: SinksPart
}

function pidsOf({ sensor, engine, gateway }: Roles): ReturnType<Agent['pids']> {
  return { sensor: sensor.pid, engine: engine.pid, gateway: gateway.role.pid }
}

/** At once, as each waits for the other where it needs it; one that can't start takes the other along. */
async function startInOrder({ sensor, engine, gateway }: Roles): Promise<void> {
  const results = await Promise.allSettled([engine, sensor, gateway.role].map((role) => role.start()))
  const failed = results.find((result) => result.status === 'rejected')
  if (failed === undefined) return
  await Promise.all([sensor.stop(), engine.stop(), gateway.role.stop()])
  throw failed.reason
}

async function keptRoles(options: AgentOptions, { files, log }: { files: PolicyFiles; log: Log }): Promise<Roles> {
  const { runtimeDir, controlSocket, logLevel, ringBytes, pinDir, watch, mains = BUILT_MAINS } = options
  const { user, degraded } = await engineUserOf(options.engineUser)
  for (const problem of degraded) log.warn({ problem }, 'the agent does without something')
  const agentDir = join(runtimeDir, 'agent')
  orSay(runtimeDir, () => makeFolders(agentDir, 0o700))
  const uplinkSocket = join(agentDir, 'uplink.sock')
  const agent = await groupsOf(options, log)
  const gateway = await prepareGateway(
    {
      ...{ folder: join(runtimeDir, 'gateway'), user: options.gatewayUser, resolvers: options.resolvers },
      ...{ logLevel, main: mains.gateway },
    },
    log,
  )
  for (const problem of gateway.degraded) log.warn({ problem }, 'the agent does without something')
  const engineConfig = {
    ...{ uplinkSocket, controlSocket, user, logLevel, agent, sensorPid: null },
    stateFile: stateFileOf(runtimeDir),
    ...baselinesIn(options.stateDir, log),
    gateway: gateway.engineConfig,
    ...(options.journal === null ? {} : { journal: options.journal }),
    ...(options.metrics === null ? {} : { metrics: options.metrics }),
    ...{ uplinkUids: [ROOT_UID], controlUids: [ROOT_UID], supervisorPid: process.pid },
  }
  const sinks = new SinksPart(options.sinks, {
    ...{ user, logLevel, log },
    onFirst: () => engine.renew('to keep events for sinks'),
  })
  let isFirst = true
  const engine = new KeptRole({
    name: 'engine',
    log,
    async start(signal) {
      removeSocket(uplinkSocket)
      removeSocket(gateway.engineConfig.socket)
      await checkSocket(controlSocket)
      const policies = { sources: files.files, stateFile: policyStateOf(runtimeDir), strict: isFirst }
      const { spool } = sinks
      const config = { ...engineConfig, policies, ...(spool === null ? {} : { spool }) }
      const role = await startRole({
        name: 'engine',
        main: mains.engine,
        config,
        readyDeadlineMs: READY_DEADLINE_MS,
        signal,
      })
      isFirst = false
      // They may have changed while it started.
      role.tell({ policies: files.files })
      return role
    },
  })
  const sensor = new KeptRole({
    name: 'sensor',
    log,
    start(signal) {
      const own = { pinDir, watch, onStop: 'release' }
      const config = {
        ...{ uplinkSocket, runtimeDir, runDir: agentDir, agent: own, logLevel, flushMs: FLUSH_MS, ringBytes },
        spool: { dir: join(agentDir, 'spool'), bytesMax: AGENT_SPOOL_BYTES },
        mailbox: gateway.mailbox,
      }
      return startRole({ name: 'sensor', main: mains.sensor, config, readyDeadlineMs: READY_DEADLINE_MS, signal })
    },
  })
  return { sensor, engine, gateway, sinks }
}

/** Sensor first: what it still reads goes to the engine. */
async function stopAgent({ sensor, engine, gateway, sinks }: Roles, options: AgentOptions): Promise<void> {
  await gateway.role.stop()
  gateway.remove()
  await sensor.stop()
  await engine.stop()
  await sinks.stop()
  removeSocket(options.controlSocket)
  removeSocket(join(options.runtimeDir, 'agent', 'uplink.sock'))
  // Where every sandbox was given back the next agent has none to go on with.
  if (!holdsSandboxes(options.runtimeDir)) {
    for (const file of [stateFileOf, policyStateOf]) rmSync(file(options.runtimeDir), { force: true })
  }
  const problem = await sweepRuns((options.mains ?? BUILT_MAINS).sweep, options.runtimeDir)
  if (problem !== null) throw new SluiceError('IO', `the agent may have left cgroups behind${problem}`)
}

/** The engine makes the folder, and it alone may look into it. */
function baselinesIn(stateDir: string, log: Log): { baselines?: string } {
  try {
    prepareRuntimeDir(stateDir)
    return { baselines: join(stateDir, 'baselines') }
  } catch (error) {
    log.warn({ error: messageOf(error) }, 'what is usual for an agent is not kept: sessions are measured by themselves')
    return {}
  }
}

function stateFileOf(runtimeDir: string): string {
  return join(runtimeDir, 'agent', 'engine-state')
}

function policyStateOf(runtimeDir: string): string {
  return join(runtimeDir, 'agent', 'engine-policies')
}

/** Whether the sensor left some under their policies; its list has the form of src/sensor/run-state.ts. */
function holdsSandboxes(runtimeDir: string): boolean {
  try {
    const listed: unknown = JSON.parse(readFileSync(join(runtimeDir, 'agent', 'sandboxes.json'), 'utf8'))
    return Array.isArray(listed) && listed.length > 0
  } catch {
    return false
  }
}

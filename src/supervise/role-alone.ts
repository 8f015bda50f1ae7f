/**
 * One role kept running by itself, where sensor and engine are on different machines: an engine that sensors reach over TLS, or a sensor that
 * reaches such an engine. Guards that a machine has one of each, that a sensor works on while its engine is away, and that
 * neither starts where policies of the node would hold nobody. Not here: what the
 * roles do, and certificates.
 */
import { join } from 'node:path'
import { messageOf, SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import { makeFolders } from '../base/make-folders.js'
import type { AgentHost } from './agent-host.js'
import { type AgentOptions, LOCK_FILE } from './agent-stack.js'
import { checkSocket, groupsOf, removeSocket } from './control-socket.js'
import { KeptRole } from './kept-role.js'
import { readPolicyFiles } from './policy-files.js'
import { startRole } from './role.js'
import { SinksPart } from './sinks-part.js'
import {
  AGENT_SPOOL_BYTES,
  BUILT_MAINS,
  engineUserOf,
  FLUSH_MS,
  orSay,
  prepareRuntimeDir,
  READY_DEADLINE_MS,
  ROOT_UID,
  requireRoot,
  sweepRuns,
} from './stack-parts.js'

export const ENGINE_LOCK_FILE = 'engine.lock'

interface TlsEnd {
  /** host:port: to listen on, or to connect to. */
  readonly address: string
  readonly ca: string
  readonly cert: string
  readonly key: string
}

export interface EngineUplink extends TlsEnd {
  readonly nodes?: readonly string[] | undefined
}

export interface SensorUplink extends TlsEnd {
  readonly serverName?: string | undefined
}

export interface RoleAlone {
  readonly pid: number | null
  /** Reads the sinks anew, where there are some. */
  reload(): void
  /** Safe to call twice. */
  stop(): Promise<void>
}

/** Resolves when sensors may connect. */
export async function startEngineAlone(
  options: AgentOptions & { readonly uplink: EngineUplink },
  host: AgentHost,
  log: Log,
): Promise<RoleAlone> {
  requireRoot()
  refusePolicies('engine', options, log)
  const { runtimeDir, controlSocket, logLevel, uplink: uplinkTls, mains = BUILT_MAINS } = options
  prepareRuntimeDir(runtimeDir)
  return locked({ name: 'engine', lock: host.lock(join(runtimeDir, ENGINE_LOCK_FILE)), log }, async () => {
    await checkSocket(controlSocket)
    const { user, degraded } = await engineUserOf(options.engineUser)
    for (const problem of degraded) log.warn({ problem }, 'the engine does without something')
    // It has no state to go on with: it is not started anew for a first sink.
    const onFirst = () => log.error('there is no spool for the sinks: restart the engine')
    const sinks = new SinksPart(options.sinks, { user, logLevel, log, onFirst })
    const config = {
      ...{ uplinkSocket: null, uplinkTls, controlSocket, user, logLevel, sensorPid: null, stateFile: null },
      ...{ uplinkUids: [ROOT_UID], controlUids: [ROOT_UID], supervisorPid: process.pid },
      agent: await groupsOf(options, log),
      ...(options.journal === null ? {} : { journal: options.journal }),
      ...(options.metrics === null ? {} : { metrics: options.metrics }),
      ...(sinks.spool === null ? {} : { spool: sinks.spool }),
    }
    // Below it is the spool, where nothing else is said; what can't be had there is told by the engine.
    if (sinks.spool !== null) tryPrepare(options.stateDir, log)
    const role = new KeptRole({
      name: 'engine',
      log,
      async start(signal) {
        await checkSocket(controlSocket)
        return startRole({ name: 'engine', main: mains.engine, config, readyDeadlineMs: READY_DEADLINE_MS, signal })
      },
    })
    const after = async () => {
      // What the engine had last goes out.
      await sinks.stop()
      removeSocket(controlSocket)
    }
    return { role, sinks, after }
  })
}

function tryPrepare(folder: string, log: Log): void {
  try {
    prepareRuntimeDir(folder)
  } catch (error) {
    log.warn({ error: messageOf(error) }, 'there is no folder for what outlives a boot')
  }
}

/** Resolves when the sensor watches, whether its engine is there or not. */
export async function startSensorAlone(
  options: AgentOptions & { readonly uplink: SensorUplink; readonly nodeName: string | null },
  host: AgentHost,
  log: Log,
): Promise<RoleAlone> {
  requireRoot()
  refusePolicies('sensor', options, log)
  const { runtimeDir, logLevel, ringBytes, pinDir, watch, nodeName, uplink, mains = BUILT_MAINS } = options
  prepareRuntimeDir(runtimeDir)
  return locked({ name: 'sensor', lock: host.lock(join(runtimeDir, LOCK_FILE)), log }, async () => {
    const runDir = join(runtimeDir, 'agent')
    orSay(runtimeDir, () => makeFolders(runDir, 0o700))
    const config = {
      ...{ uplinkTls: uplink, runtimeDir, runDir, logLevel, flushMs: FLUSH_MS, ringBytes },
      ...(nodeName === null ? {} : { nodeName }),
      agent: { pinDir, watch, onStop: 'release' },
      spool: { dir: join(runDir, 'spool'), bytesMax: AGENT_SPOOL_BYTES },
    }
    const role = new KeptRole({
      name: 'sensor',
      log,
      start: (signal) =>
        startRole({ name: 'sensor', main: mains.sensor, config, readyDeadlineMs: READY_DEADLINE_MS, signal }),
    })
    const after = async () => {
      const problem = await sweepRuns(mains.sweep, runtimeDir)
      if (problem !== null) throw new SluiceError('IO', `the sensor may have left cgroups behind${problem}`)
    }
    return { role, sinks: null, after }
  })
}

/** They would hold nobody: what is not enforced is refused, not passed over. Throws UNSUPPORTED, and USAGE for what can't be read. */
function refusePolicies(role: string, { policies }: AgentOptions, log: Log): void {
  const [first, ...more] = readPolicyFiles(policies, log).files
  if (first === undefined) return
  const others = more.length === 0 ? '' : ` and ${more.length} more`
  throw new SluiceError(
    'UNSUPPORTED',
    `policies of this node are not enforced by \`sluice ${role}\` alone: ${first.name}${others}`,
    {
      hint: '`sluice agent` enforces them; agent.policies: [] in the configuration does without them',
    },
  )
}

/** The lock goes when the role has gone, or did not start. */
async function locked(
  { name, lock, log }: { name: string; lock: { release(): void }; log: Log },
  prepare: () => Promise<{ role: KeptRole; sinks: SinksPart | null; after(): Promise<void> }>,
): Promise<RoleAlone> {
  try {
    const { role, sinks, after } = await prepare()
    await role.start()
    sinks?.start()
    log.info({ started: role.pid }, `the ${name} is ready`)
    let stopped: Promise<void> | null = null
    return {
      get pid() {
        return role.pid
      },
      reload: () => sinks?.reload(),
      stop() {
        stopped ??= role
          .stop()
          .then(after)
          .finally(() => lock.release())
        return stopped
      },
    }
  } catch (error) {
    lock.release()
    throw error
  }
}

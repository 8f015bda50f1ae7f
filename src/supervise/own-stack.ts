/**
 * The roles that one `sluice run` brings along where no agent runs: an engine and a sensor in a directory of their own, for the length
 * of the run.
 *
 * It guards that nothing of it is left: when one role can't start the other is stopped, when the sensor died its cgroups are swept,
 * and the directory goes in any case. An engine that dies is started again while its sensor lives: the sensor keeps what happens
 * meanwhile (engine-revival.ts). A sensor that dies takes its programs out of the kernel and is not started again.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { SluiceError } from '../base/error.js'
import type { LogLevel } from '../base/log.js'
import { EngineRevival, type RevivableConfig } from './engine-revival.js'
import { type GatewayPart, prepareGateway, type ResolverAddress } from './gateway-part.js'
import type { PolicyFile } from './policy-files.js'
import { type Role, startRole } from './role.js'
import {
  BUILT_MAINS,
  engineUserOf,
  FLUSH_MS,
  type JournalPlace,
  type Mains,
  orSay,
  prepareRuntimeDir,
  READY_DEADLINE_MS,
  RING_BYTES,
  ROOT_UID,
  requireRoot,
  SPOOL_BYTES,
  sweepRuns,
} from './stack-parts.js'

/** Before the name of a run's folder. */
const GATEWAY_FOLDER = 'gateway-'

export interface OwnStack {
  readonly controlSocket: string
  readonly roles: { sensor: Role; engine: Role }
  /** After the engine has died: true when another one is ready at the same socket, false if there will be none. Never rejects. */
  engineBack(): Promise<boolean>
  /** What a whole installation would have and this one lacks. */
  readonly degraded: string[]
  /** Stops the sensor, then the engine, and removes what they leave. Safe to call twice. Throws IO if something is left. */
  stop(): Promise<void>
}

export interface OwnStackOptions {
  /** Made if missing; must be root's and writable for root alone. */
  runtimeDir: string
  logLevel: LogLevel
  /** System user that the engine drops to; where there is none it stays root and `degraded` says so. */
  engineUser: string
  /** How long a part may take to start; as long as on a machine of our days by default. */
  readyDeadlineMs?: number
  /** A gateway is started, too, as this system user. Where there is none it stays root and `degraded` says so. */
  gatewayUser?: string
  /** That it asks; those of resolv.conf by default. */
  resolvers?: readonly ResolverAddress[] | null
  /** Null: sessions leave none. */
  journal?: JournalPlace | null
  /** Of the node, above what the run brings. */
  policies?: readonly PolicyFile[]
  /** Where the roles' programs are; the built ones by default. */
  mains?: Mains
}

/** Throws the first error of a role that can't start, PRIVILEGE when not root, IO for a directory that can't be used. */
export async function startOwnStack(options: OwnStackOptions): Promise<OwnStack> {
  requireRoot()
  const { runtimeDir, mains = BUILT_MAINS, readyDeadlineMs = READY_DEADLINE_MS } = options
  const { user, degraded } = await engineUserOf(options.engineUser)
  const runDir = makeRunDir(runtimeDir)
  const controlSocket = join(runDir, 'control.sock')
  const gateway = await gatewayOf(options, runDir)
  const configs = roleConfigs({ ...options, runDir, controlSocket, user, gateway })
  const roles = await startAll(mains, configs, { readyDeadlineMs, gateway }).catch((error: unknown) => {
    rmSync(runDir, { recursive: true, force: true })
    gateway?.remove()
    throw error
  })
  let stopped: Promise<void> | null = null
  const revival = new EngineRevival({ roles, main: mains.engine, config: configs.engine })
  return {
    controlSocket,
    roles,
    engineBack: () => revival.back(),
    degraded: [...degraded, ...(gateway?.degraded ?? [])],
    stop() {
      stopped ??= revival.stop().then(() => stopStack({ roles, gateway, runDir, runtimeDir, sweep: mains.sweep }))
      return stopped
    },
  }
}

interface RoleConfigs {
  sensor: unknown
  engine: RevivableConfig
}

function roleConfigs(options: {
  runtimeDir: string
  runDir: string
  controlSocket: string
  user: string | null
  logLevel: LogLevel
  gateway: GatewayPart | null
  journal?: JournalPlace | null
  policies?: readonly PolicyFile[]
  readyDeadlineMs?: number
}): RoleConfigs {
  const { runtimeDir, runDir, controlSocket, user, logLevel, gateway, readyDeadlineMs } = options
  const { journal = null, policies = [] } = options
  const uplinkSocket = join(runDir, 'uplink.sock')
  return {
    engine: {
      ...{ uplinkSocket, controlSocket, user, logLevel },
      ...{ uplinkUids: [ROOT_UID], controlUids: [ROOT_UID], supervisorPid: process.pid, agent: null },
      sensorPid: null,
      stateFile: join(runDir, 'engine-state'),
      ...(gateway === null ? {} : { gateway: gateway.engineConfig }),
      ...(journal === null ? {} : { journal }),
      ...(policies.length === 0 ? {} : { policies: nodePolicies(policies, runDir) }),
    },
    sensor: {
      ...{ uplinkSocket, runtimeDir, runDir, logLevel, flushMs: FLUSH_MS, ringBytes: RING_BYTES },
      spool: { dir: join(runDir, 'spool'), bytesMax: SPOOL_BYTES },
      mailbox: gateway?.mailbox ?? null,
      ...(readyDeadlineMs === undefined ? {} : { connectMs: readyDeadlineMs }),
    },
  }
}

/** One with a mistake lets no run start. */
function nodePolicies(sources: readonly PolicyFile[], runDir: string) {
  return { sources, stateFile: join(runDir, 'engine-policies'), strict: true }
}

/** Null: none is wanted. Its folder has the run's name, so that a sweep knows whose it was. */
async function gatewayOf(options: OwnStackOptions, runDir: string): Promise<GatewayPart | null> {
  const { gatewayUser: user, resolvers = null, logLevel, mains = BUILT_MAINS, readyDeadlineMs } = options
  if (user === undefined) return null
  const folder = join(options.runtimeDir, `${GATEWAY_FOLDER}${basename(runDir)}`)
  // Brings the whole logger with it.
  const { createLog } = await import('../base/log.js')
  const log = createLog({ role: 'cli', level: logLevel })
  const wait = readyDeadlineMs === undefined ? {} : { readyDeadlineMs }
  return prepareGateway({ folder, user, resolvers, logLevel, main: mains.gateway, ...wait }, log)
}

/** The gateway when there is an engine that takes it. */
async function startAll(
  mains: Mains,
  configs: RoleConfigs,
  { readyDeadlineMs, gateway }: { readyDeadlineMs: number; gateway: GatewayPart | null },
): Promise<OwnStack['roles']> {
  const roles = await startBoth(mains, configs, readyDeadlineMs)
  try {
    await gateway?.role.start()
    return roles
  } catch (error) {
    await roles.sensor.stop()
    await roles.engine.stop()
    throw error
  }
}

/** At once: the sensor loads its programs while the engine comes up, then waits for the engine's socket. */
async function startBoth(mains: Mains, configs: RoleConfigs, readyDeadlineMs: number): Promise<OwnStack['roles']> {
  const giveUp = new AbortController()
  const start = (name: 'sensor' | 'engine') =>
    startRole({
      name,
      main: mains[name],
      config: configs[name],
      readyDeadlineMs,
      signal: giveUp.signal,
    })
      .then((role) => {
        // One that was ready and then died: the other would wait for it in vain. Without effect once both are ready.
        void role.exited.then(({ detail }) =>
          giveUp.abort(new SluiceError('INTERNAL', `the ${name} ended while the other part was starting: ${detail}`)),
        )
        return role
      })
      .catch((error: unknown) => {
        giveUp.abort(error)
        return null
      })
  const [sensor, engine] = await Promise.all([start('sensor'), start('engine')])
  if (sensor !== null && engine !== null) return { sensor, engine }
  await sensor?.stop()
  await engine?.stop()
  throw giveUp.signal.reason
}

async function stopStack(options: {
  roles: OwnStack['roles']
  gateway: GatewayPart | null
  runDir: string
  runtimeDir: string
  sweep: URL
}): Promise<void> {
  const { roles, gateway, runDir, runtimeDir, sweep } = options
  await gateway?.role.stop()
  gateway?.remove()
  await roles.sensor.stop()
  const { expected, exitCode } = await roles.sensor.exited
  const clean = expected && exitCode === 0
  const sweepProblem = clean ? null : await sweepRuns(sweep, runtimeDir)
  await roles.engine.stop()
  // A sweep that succeeds removes the directory. One it left behind is the record that the next start cleans up by.
  if (clean) rmSync(runDir, { recursive: true, force: true })
  else if (existsSync(runDir)) {
    throw new SluiceError('IO', `the sensor died and left cgroups behind${sweepProblem ?? ''}; ${runDir} lists them`, {
      hint: 'end what still runs in them; the next `sluice run` removes them',
    })
  }
}

/** Made anew, for root alone. */
function makeRunDir(runtimeDir: string): string {
  prepareRuntimeDir(runtimeDir)
  return orSay(runtimeDir, () => mkdtempSync(join(runtimeDir, 'run-')))
}

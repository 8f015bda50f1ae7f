/**
 * `sluice agent`: keeps sensor, engine and gateway running on this machine until it is told to stop. Its log is JSON lines on stderr, as a service
 * manager wants it. Guards that every option comes from one place: flag, then variable, then file, then default.
 */
import type { LogLevel } from '../../base/log.js'
import { type AgentOptions, startAgent } from '../../supervise/agent-stack.js'
import { AGENT_RING_BYTES } from '../../supervise/stack-parts.js'
import { journalPlace } from '../config/journal-config.js'
import type { NodeConfig } from '../config/node-config.js'
import { policyPaths } from '../config/policy-paths.js'
import { sinksOptions } from '../config/sinks-config.js'
import { ENGINE_USER, type Environment, GATEWAY_USER } from '../environment.js'
import { serve } from './service.js'

export const RUNTIME_DIR = '/run/sluice'
export const CONTROL_SOCKET = `${RUNTIME_DIR}/control.sock`
/** What outlives a boot. */
const STATE_DIR = '/var/lib/sluice'
const PIN_DIR = '/sys/fs/bpf/sluice'
export const MEMBER_GROUP = 'sluice'
export const ADMIN_GROUP = 'sluice-admin'

export interface AgentCommand {
  readonly config: NodeConfig
  readonly environment: Pick<Environment, 'journal'>
  readonly socket: string | null
  readonly logLevel: LogLevel | null
  readonly notifySocket: string | null
  /** Of the flags; empty: the file's. */
  readonly watch: readonly string[]
  /** The configuration as it is now. */
  reread(): Promise<NodeConfig>
}

/** Resolves with 0 after an ordered stop. Throws what keeps it from starting. */
export function agent(command: AgentCommand): Promise<number> {
  const options = agentOptions(command)
  const { logLevel } = options
  const { notifySocket } = command
  return serve({ name: 'agent', logLevel, notifySocket, start: (host, log) => startAgent(options, host, log) })
}

export function agentFolders({ agent = {} }: NodeConfig): { runtimeDir: string; pinDir: string; stateDir: string } {
  const { runtimeDir = RUNTIME_DIR, pinDir = PIN_DIR } = agent
  // An agent that is elsewhere leaves this one's alone.
  const stateDir = agent.stateDir ?? (agent.runtimeDir === undefined ? STATE_DIR : `${runtimeDir}/state`)
  return { runtimeDir, pinDir, stateDir }
}

export function agentOptions({ config, environment, socket, logLevel, watch, reread }: AgentCommand): AgentOptions {
  const given = config.agent ?? {}
  const { runtimeDir, pinDir, stateDir } = agentFolders(config)
  return {
    ...{ runtimeDir, pinDir, stateDir },
    sinks: sinksOptions(config, { stateDir, reread }),
    journal: journalPlace(config, environment),
    metrics: config.metrics?.listen ?? null,
    controlSocket: socket ?? config.socket ?? `${runtimeDir}/control.sock`,
    logLevel: logLevel ?? config.logLevel ?? 'info',
    engineUser: given.engineUser ?? ENGINE_USER,
    gatewayUser: given.gatewayUser ?? GATEWAY_USER,
    resolvers: config.gateway?.resolvers ?? null,
    group: given.group ?? MEMBER_GROUP,
    adminGroup: given.adminGroup ?? ADMIN_GROUP,
    policies: policyPaths(config),
    watch: watch.length > 0 ? watch : (given.watch ?? []),
    ringBytes: {
      priority: given.ringMiB?.priority ?? AGENT_RING_BYTES.priority,
      bulk: given.ringMiB?.bulk ?? AGENT_RING_BYTES.bulk,
    },
  }
}

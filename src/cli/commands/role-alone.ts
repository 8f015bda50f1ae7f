/**
 * `sluice engine` and `sluice sensor`: one role of the agent by itself, for a sensor and an engine on different machines. Guards that neither
 * starts without its end of the uplink in the configuration.
 */
import { SluiceError } from '../../base/error.js'
import { startEngineAlone, startSensorAlone } from '../../supervise/role-alone.js'
import { type AgentCommand, agentOptions } from './agent.js'
import { serve } from './service.js'

export function engine(command: AgentCommand): Promise<number> {
  const uplink = command.config.engine?.uplink
  if (uplink === undefined) throw missing('engine')
  const options = { ...agentOptions(command), uplink }
  const { logLevel } = options
  const { notifySocket } = command
  return serve({ name: 'engine', logLevel, notifySocket, start: (host, log) => startEngineAlone(options, host, log) })
}

export function sensor(command: AgentCommand): Promise<number> {
  const given = command.config.sensor
  if (given === undefined) throw missing('sensor')
  const options = { ...agentOptions(command), uplink: given.uplink, nodeName: given.nodeName ?? null }
  const { logLevel } = options
  const { notifySocket } = command
  return serve({ name: 'sensor', logLevel, notifySocket, start: (host, log) => startSensorAlone(options, host, log) })
}

function missing(role: 'engine' | 'sensor'): SluiceError {
  return new SluiceError('USAGE', `the configuration has no ${role}.uplink`, {
    hint: `\`sluice ${role}\` needs address, ca, cert and key there; \`sluice agent\` runs both parts on one machine without any`,
  })
}

/** The connection of a command to the node's agent. Guards that whoever has no agent, or may not use it, is told so in one line. */
import { SluiceError } from '../base/error.js'
import { type ControlClient, connectControl } from '../proto/rpc.js'
import { CONTROL_DEADLINE_MS, forbidden, probeAgent } from './agent-probe.js'

/** Throws IO where no agent answers, PRIVILEGE where this user may not use it. */
export async function connectAgent(path: string): Promise<ControlClient> {
  const answer = await probeAgent(path)
  if (answer === 'forbidden') throw forbidden(path)
  if (answer === 'nobody') {
    throw new SluiceError('IO', `no agent answers at ${path}`, { hint: 'start it: `sluice agent`' })
  }
  return connectControl(path, CONTROL_DEADLINE_MS)
}

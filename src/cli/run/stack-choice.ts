/**
 * Whether a run uses the node's agent or brings its own parts. Guards that an agent that was asked for by name is never replaced by
 * something else, and that whoever can have neither is told how to get one.
 */
import { SluiceError } from '../../base/error.js'
import { forbidden, probeAgent } from '../agent-probe.js'

export interface AgentSocket {
  readonly path: string
  /** By flag, variable or file: then nothing else will do. */
  readonly isGiven: boolean
}

export interface StackWish {
  /** `--own` */
  readonly own: boolean
  readonly socket: AgentSocket
  readonly isRoot: boolean
}

/** Throws PRIVILEGE where neither can be had, IO where the agent that was asked for does not answer. */
export async function chooseStack({ own, socket, isRoot }: StackWish): Promise<'agent' | 'own'> {
  if (own) {
    if (isRoot) return 'own'
    throw new SluiceError('PRIVILEGE', 'run --own needs root to load its eBPF programs', { hint: 'run it with sudo' })
  }
  const answer = await probeAgent(socket.path)
  if (answer === 'listens') return 'agent'
  if (answer === 'forbidden') throw forbidden(socket.path)
  if (socket.isGiven) {
    throw new SluiceError('IO', `no agent answers at ${socket.path}`, { hint: 'start it: `sluice agent`' })
  }
  if (isRoot) return 'own'
  throw new SluiceError('PRIVILEGE', 'run needs root to load its eBPF programs, or an agent, and none runs here', {
    hint: 'run it with sudo, or have `sluice agent` started',
  })
}

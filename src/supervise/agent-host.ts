/**
 * The two things that an agent needs of the machine and Node can't do: a lock that ends with its process, and a word to the service
 * manager that started it. Guards that one machine has one agent. Not here: what an agent runs.
 */
import { messageOf, SluiceError } from '../base/error.js'
import { type Addon, loadAddon } from '../native/addon.js'

export interface AgentHost {
  /** Throws IO if another agent holds the lock. */
  lock(path: string): { release(): void }
  /** As sd_notify(3); does nothing where no service manager asked for it. Never throws. */
  notify(state: string): void
}

/** `notifySocket`: $NOTIFY_SOCKET, null where there is none. Throws NOT_BUILT. */
export function agentHost(notifySocket: string | null, onProblem: (problem: string) => void): AgentHost {
  const addon = load()
  return {
    lock(path) {
      const lock = addon.lockFile(path)
      if (lock !== null) return lock
      throw new SluiceError('IO', 'another agent runs on this machine', {
        hint: `it holds ${path}; stop it first, or use it`,
      })
    },
    notify(state) {
      if (notifySocket === null) return
      try {
        addon.sendDatagram(notifySocket, state)
      } catch (error) {
        onProblem(messageOf(error))
      }
    },
  }
}

function load(): Addon {
  try {
    return loadAddon()
  } catch (error) {
    throw new SluiceError('NOT_BUILT', messageOf(error), { cause: error })
  }
}

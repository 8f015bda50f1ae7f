/**
 * Whether an agent listens on a socket, and whether this user may use it. Guards nothing: the answer is old at once. Loads none of what a
 * connection takes.
 */
import { accessSync, constants } from 'node:fs'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { errnoCode, SluiceError } from '../base/error.js'

/** For an engine that is there to take a connection: a sandbox that forks as fast as it can takes its turns, and whoever asks wants to stop that. */
export const CONTROL_DEADLINE_MS = 20_000
const PROBE_DEADLINE_MS = 2_000
/** An agent starts an engine that died again after a moment, or after some seconds if it is not the first time. */
const BACK_DEADLINE_MS = 10_000
const BACK_POLL_MS = 50

export function forbidden(path: string): SluiceError {
  return new SluiceError('PRIVILEGE', `this user may not use the agent at ${path}`, {
    hint: "run it with sudo, or become a member of the agent's group (`usermod -aG sluice USER`, then log in again)",
  })
}

export async function probeAgent(path: string): Promise<'listens' | 'forbidden' | 'nobody'> {
  try {
    accessSync(path, constants.W_OK)
  } catch (error) {
    return errnoCode(error) === 'EACCES' ? 'forbidden' : 'nobody'
  }
  return new Promise((resolve) => {
    const socket = net.connect(path)
    const done = (answer: 'listens' | 'nobody') => {
      socket.destroy()
      resolve(answer)
    }
    // One that is too busy to accept is there.
    socket.setTimeout(PROBE_DEADLINE_MS, () => done('listens'))
    socket.once('connect', () => done('listens'))
    socket.once('error', () => done('nobody'))
  })
}

/** After its engine was lost: waits until something listens again. False if that takes too long. */
export async function agentIsBack(path: string): Promise<boolean> {
  const end = performance.now() + BACK_DEADLINE_MS
  while (performance.now() < end) {
    if ((await probeAgent(path)) === 'listens') return true
    await sleep(BACK_POLL_MS)
  }
  return false
}

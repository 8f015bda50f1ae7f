/**
 * The control socket of an agent, or of an engine alone: whose it is, and the remains of one that died. Guards that a dead socket is never
 * mistaken for a live one of somebody else. Not here: listening on it, which the engine does.
 */
import { lstatSync, unlinkSync } from 'node:fs'
import net from 'node:net'
import { dirname } from 'node:path'
import { errnoCode, messageOf, SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import { groupIdOf } from './system-user.js'

const CONNECT_DEADLINE_MS = 1_000

/** Who besides root may use it, by number; null for a group that is not there. */
export async function groupsOf({ group, adminGroup }: { group: string; adminGroup: string }, log: Log) {
  const [memberGid, adminGid] = await Promise.all([groupIdOf(group), groupIdOf(adminGroup)])
  if (memberGid === null) log.warn({ group }, 'there is no such group: the control socket is for root alone')
  if (adminGid === null) log.info({ group: adminGroup }, 'there is no such group: only root administers')
  return { memberGid, adminGid }
}

export function removeSocket(path: string): void {
  try {
    if (lstatSync(path).isSocket()) unlinkSync(path)
  } catch (error) {
    if (errnoCode(error) !== 'ENOENT') throw error
  }
}

/** Removes the socket of an agent that died. Throws IO if the path is something else, or somebody listens there. */
export async function checkSocket(path: string): Promise<void> {
  let isSocket: boolean
  try {
    isSocket = lstatSync(path).isSocket()
  } catch (error) {
    if (errnoCode(error) !== 'ENOENT') throw new SluiceError('IO', `${path}: ${messageOf(error)}`, { cause: error })
    const folder = lstatSync(dirname(path), { throwIfNoEntry: false })
    if (folder?.isDirectory()) return
    throw new SluiceError('IO', `the folder of the control socket ${path} is not there`, {
      hint: 'make it, or name another with --socket',
    })
  }
  const hint = 'name another socket with --socket'
  if (!isSocket) throw new SluiceError('IO', `${path} is there and is not a socket`, { hint })
  if (await isListening(path)) throw new SluiceError('IO', `another program listens on ${path}`, { hint })
  removeSocket(path)
}

/** Whoever does not answer in time is there, too. */
function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(path)
    const done = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(CONNECT_DEADLINE_MS, () => done(true))
    socket.once('connect', () => done(true))
    socket.once('error', (error) => done(errnoCode(error) !== 'ECONNREFUSED'))
  })
}

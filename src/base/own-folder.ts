/**
 * A folder for one role's user alone, made while we are root still. Guards that what a user put in its place is not followed: what is above it must
 * be root's alone to change (supervise/stack-parts.ts), so it stays what was looked at.
 */
import { chmodSync, chownSync, lstatSync, mkdirSync, readFileSync } from 'node:fs'
import { findUser } from './drop-privileges.js'
import { errnoCode, SluiceError } from './error.js'

const MODE = 0o700
const ROOT_UID = 0
const PASSWD = '/etc/passwd'

/** @param user whose it becomes; null: ours. Throws IO. */
export function makeOwnFolder(folder: string, user: string | null): void {
  try {
    mkdirSync(folder, { mode: MODE })
  } catch (error) {
    if (errnoCode(error) !== 'EEXIST') throw error
  }
  if (!lstatSync(folder).isDirectory()) throw new SluiceError('IO', `${folder} is no folder`)
  if (user === null || process.getuid?.() !== ROOT_UID) return
  const found = findUser(readFileSync(PASSWD, 'utf8'), user)
  chmodSync(folder, MODE)
  if (found !== null) chownSync(folder, found.uid, found.gid)
}

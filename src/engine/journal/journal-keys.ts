/**
 * The node's key for journals: made at the first start, root's alone, and its public half beside it for whoever verifies. Guards that a key
 * which others could read or replace is not used. Not here: what is signed.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { errnoCode, reasonOf, SluiceError } from '../../base/error.js'
import { keyIdOf } from '../../proto/journal/checkpoint.js'

export const PRIVATE_KEY_FILE = 'journal.key'
const OTHERS = 0o077
const KEY_BYTES_MAX = 4_096

export interface JournalKey {
  readonly privateKey: KeyObject
  readonly keyId: string
}

/** Made if there is none. Throws IO, or PRIVILEGE for one that is not ours alone. */
export function loadJournalKey(folder: string): JournalKey {
  const path = join(folder, PRIVATE_KEY_FILE)
  try {
    const privateKey = read(path) ?? make(folder, path)
    const publicKey = createPublicKey(privateKey)
    const keyId = keyIdOf(publicKey)
    publish(join(folder, `${keyId}.pub`), publicKey)
    return { privateKey, keyId }
  } catch (error) {
    if (error instanceof SluiceError) throw error
    throw new SluiceError('IO', `the journal's key ${path} can't be used: ${reasonOf(error)}`, { cause: error })
  }
}

function read(path: string): KeyObject | null {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return null
    throw error
  }
  try {
    const { mode, uid, size } = fstatSync(fd)
    if ((mode & OTHERS) !== 0 || uid !== process.geteuid?.() || size > KEY_BYTES_MAX) {
      throw new SluiceError(
        'PRIVILEGE',
        `the journal's key ${path} must be readable for its owner alone, and be ours`,
        {
          hint: 'if others may have read it, move it away: the next start makes a new one',
        },
      )
    }
    const key = createPrivateKey(readFileSync(fd))
    if (key.asymmetricKeyType === 'ed25519') return key
    throw new SluiceError('USAGE', `the journal's key ${path} is no Ed25519 key`)
  } finally {
    closeSync(fd)
  }
}

/** Two that start at once have one key in the end. */
function make(folder: string, path: string): KeyObject {
  const { privateKey } = generateKeyPairSync('ed25519')
  const own = join(folder, `.${process.pid}.key`)
  writeNew(own, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 0o600)
  try {
    linkSync(own, path)
    return privateKey
  } catch (error) {
    if (errnoCode(error) !== 'EEXIST') throw error
    const made = read(path)
    if (made !== null) return made
    throw error
  } finally {
    rmSync(own, { force: true })
  }
}

function publish(path: string, key: KeyObject): void {
  try {
    writeNew(path, key.export({ type: 'spki', format: 'pem' }).toString(), 0o644)
  } catch (error) {
    if (errnoCode(error) !== 'EEXIST') throw error
  }
}

function writeNew(path: string, text: string, mode: number): void {
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, mode)
  try {
    writeFileSync(fd, text)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

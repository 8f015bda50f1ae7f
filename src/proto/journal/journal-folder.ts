/**
 * Where a node's journals are: keys, one folder a session, and checkpoints for a witness. Guards that a folder of anybody's is read within bounds.
 * Not here: what is in a session's folder (segment-files.ts).
 */
import type { KeyObject } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { errnoCode, messageOf, reasonOf, SluiceError } from '../../base/error.js'
import { keyIdOf, parsePublicKey, parseWitnessLine, type SignedCheckpoint } from './checkpoint.js'
import { checkpointIn } from './checkpoint-line.js'
import { isSessionId } from './journal-format.js'
import type { Keys } from './signed-text.js'

export const KEYS_FOLDER = 'keys'
export const SESSIONS_FOLDER = 'sessions'
export const CHECKPOINTS_FOLDER = 'checkpoints'
export const INDEX_FOLDER = 'index'
export const CHECKPOINTS_FILE = 'checkpoints.jsonl'
/** In a session's folder: somebody reads it. */
export const REVIEW_FILE = 'review.jsonl'
const KEY_BYTES_MAX = 4_096
const KEYS_MAX = 1_024
export const WITNESS_BYTES_MAX = 256 * 1024 * 1024

/** Ids of the sessions of a journal, oldest first. Throws IO. */
export function sessionsOf(dir: string): string[] {
  const folder = join(dir, SESSIONS_FOLDER)
  try {
    return readdirSync(folder).filter(isSessionId).sort()
  } catch (error) {
    throw unreadable(folder, error)
  }
}

/** Folder and id of what was named: a session of this journal, or a folder of one that was brought from elsewhere. */
export function sessionFolder(dir: string, wanted: string): { folder: string; sessionId: string } {
  if (isSessionId(wanted)) return { folder: join(dir, SESSIONS_FOLDER, wanted), sessionId: wanted }
  const path = resolve(wanted)
  if (wanted.includes('/') && isSessionId(basename(path))) return { folder: path, sessionId: basename(path) }
  throw new SluiceError('USAGE', `'${wanted}' is neither the id of a session nor a folder that is named by one`, {
    hint: '`sluice sessions ls` shows ids; a folder keeps the name of its session',
  })
}

/** Of files, or of all `.pub` files in folders. Throws IO, or USAGE for one that is no key. */
export function readKeys(paths: readonly string[]): Keys {
  const keys = new Map<string, KeyObject>()
  for (const path of paths.flatMap(keyFiles).slice(0, KEYS_MAX)) {
    const pem = readBounded(path, KEY_BYTES_MAX).toString()
    try {
      const key = parsePublicKey(pem)
      keys.set(keyIdOf(key), key)
    } catch (error) {
      throw new SluiceError('USAGE', `${path}: ${messageOf(error)}`, {
        hint: `the public key is ${join(dirname(path), '<id>.pub')}`,
      })
    }
  }
  return keys
}

function keyFiles(path: string): string[] {
  try {
    return readdirSync(path)
      .filter((name) => name.endsWith('.pub'))
      .sort()
      .map((name) => join(path, name))
  } catch (error) {
    if (errnoCode(error) === 'ENOTDIR') return [path]
    throw unreadable(path, error)
  }
}

/** Checkpoints that were kept elsewhere: as our file has them, or among the events that a sink wrote. Throws IO, or PROTOCOL with the line that is neither. */
export function readWitness(path: string): SignedCheckpoint[] {
  const lines = readBounded(path, WITNESS_BYTES_MAX).toString().split('\n')
  return lines.flatMap((line, index) => {
    if (line.trim() === '') return []
    const signed = parseWitnessLine(line) ?? checkpointIn(line)
    if (signed !== null) return signed === 'another event' ? [] : [signed]
    throw new SluiceError('PROTOCOL', `${path}:${index + 1}: it is no checkpoint`)
  })
}

export function readBounded(path: string, bytesMax: number): Buffer {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    throw unreadable(path, error)
  }
  try {
    const { size } = fstatSync(fd)
    if (size <= bytesMax) return readFileSync(fd)
    throw new SluiceError('LIMIT', `${path} has ${size} bytes: more than the ${bytesMax} that are read`)
  } finally {
    closeSync(fd)
  }
}

function unreadable(path: string, error: unknown): SluiceError {
  const code = errnoCode(error)
  const hint = code === 'EACCES' ? 'root may read the journal' : code === 'ENOENT' ? 'name another with --dir' : null
  return new SluiceError('IO', `${path} can't be read: ${reasonOf(error)}`, {
    ...(hint === null ? {} : { hint }),
    cause: error,
  })
}

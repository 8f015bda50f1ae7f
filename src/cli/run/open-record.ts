/**
 * Opens the file of `--record` before anything is started. Guards against following a planted link, against opening with root's rights
 * what the user who called sudo may not, and against anything that is not a regular file. What it held is dropped.
 */
import { closeSync, constants, fstatSync, ftruncateSync, openSync } from 'node:fs'
import { errnoCode, messageOf, SluiceError } from '../../base/error.js'
import { asInvoker, type Identity } from './as-invoker.js'
import { type RecordFile, recordOn } from './record-file.js'

const MODE = 0o600
/**
 * Read too: room for the last line of a full disk is made by cutting whole lines. O_NONBLOCK: opening a FIFO must not hang; it is
 * refused afterwards.
 */
const FLAGS = constants.O_RDWR | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY

const OPEN_ERRORS: Readonly<Record<string, string>> = {
  ELOOP: 'is a symbolic link; name the file itself',
  ENOENT: 'no such directory',
  ENOTDIR: 'no such directory',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'is a directory',
  ENXIO: 'not a regular file',
  EROFS: 'is on a read-only file system',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  ENAMETOOLONG: 'the name is too long',
}

const OPEN_HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'make it first, or choose another place',
  EACCES: 'choose a place where you may write yourself: it is opened as the user who called sudo',
  EPERM: 'choose a place where you may write yourself: it is opened as the user who called sudo',
  EISDIR: 'name a file in it',
  EROFS: 'choose another place',
  ENOSPC: 'make room, or choose another place',
  EDQUOT: 'make room, or choose another place',
}

/**
 * Creates or takes over the file, as `invoker` (null: as who we are), so a file that is made here is theirs; one that was there keeps
 * its owner and mode. `path` is absolute. Throws IO with the path and the reason.
 */
export function openRecordFile(path: string, invoker: Identity | null): RecordFile {
  try {
    return recordOn({ path, fd: asInvoker(invoker, () => openEmpty(path)), invoker })
  } catch (error) {
    if (error instanceof SluiceError) throw error
    const code = errnoCode(error)
    const reason = code === null ? messageOf(error) : (OPEN_ERRORS[code] ?? `can't be opened (${code})`)
    const hint = code === null ? undefined : OPEN_HINTS[code]
    throw new SluiceError('IO', `--record ${path}: ${reason}`, {
      cause: error,
      ...(hint === undefined ? {} : { hint }),
    })
  }
}

function openEmpty(path: string): number {
  const fd = openOrCreate(path)
  try {
    if (!fstatSync(fd).isFile()) throw new SluiceError('IO', `--record ${path}: not a regular file`)
    ftruncateSync(fd, 0)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function openOrCreate(path: string): number {
  try {
    return openSync(path, FLAGS | constants.O_CREAT | constants.O_EXCL, MODE)
  } catch (error) {
    if (errnoCode(error) !== 'EEXIST') throw error
    return openSync(path, FLAGS)
  }
}

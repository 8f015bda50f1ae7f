/**
 * Who read a session, and whether somebody looks into it: lines beside its journal. Guards that a file of anybody's is read within bounds, and that
 * nothing is written through a link. Nothing here is signed: it says what people said, not what the session did.
 */
import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { errnoCode, reasonOf, SluiceError } from '../../base/error.js'
import { REVIEW_FILE } from './journal-folder.js'

/** More are not written, and not read. */
export const REVIEW_BYTES_MAX = 256 * 1024
export const REVIEW_NOTE_CHARS_MAX = 1_024
const FILE_MODE = 0o600

/** KEEP: it is kept until DONE, however old it gets. */
export const REVIEW_ACTS = ['READ', 'KEEP', 'DONE'] as const

export interface ReviewLine {
  readonly time: string
  readonly by: string
  readonly act: (typeof REVIEW_ACTS)[number]
  readonly note: string
}

/** What was written, oldest first; lines that are none are left out. */
export function readReviews(folder: string): ReviewLine[] {
  return fileText(join(folder, REVIEW_FILE)).split('\n').flatMap(parseLine)
}

/** Whether somebody looks into it and is not done. */
export function isUnderReview(folder: string): boolean {
  return readReviews(folder).findLast(({ act }) => act !== 'READ')?.act === 'KEEP'
}

/** Throws IO, or LIMIT where there are too many. */
export function addReview(folder: string, line: ReviewLine): void {
  const path = join(folder, REVIEW_FILE)
  const { O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants
  let fd: number | null = null
  try {
    fd = openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, FILE_MODE)
    const stat = fstatSync(fd)
    if (!stat.isFile() || stat.nlink !== 1) throw new SluiceError('IO', `${path} is no file of its own`)
    const text = `${JSON.stringify({ ...line, note: line.note.slice(0, REVIEW_NOTE_CHARS_MAX) })}\n`
    if (stat.size + text.length > REVIEW_BYTES_MAX) throw new SluiceError('LIMIT', `${path} is full`)
    writeSync(fd, text)
  } catch (error) {
    if (error instanceof SluiceError) throw error
    throw new SluiceError('IO', `${path} can't be written: ${reasonOf(error)}`, { cause: error })
  } finally {
    if (fd !== null) closeSync(fd)
  }
}

function fileText(path: string): string {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return ''
    throw new SluiceError('IO', `${path} can't be read: ${reasonOf(error)}`, { cause: error })
  }
  try {
    if (!fstatSync(fd).isFile()) return ''
    const bytes = Buffer.alloc(REVIEW_BYTES_MAX)
    return bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, 0))
  } finally {
    closeSync(fd)
  }
}

function parseLine(text: string): ReviewLine[] {
  let said: unknown
  try {
    said = JSON.parse(text)
  } catch {
    return []
  }
  if (typeof said !== 'object' || said === null) return []
  const field = (name: string) => {
    const value: unknown = Reflect.get(said, name)
    return typeof value === 'string' ? value.slice(0, REVIEW_NOTE_CHARS_MAX) : ''
  }
  const act = REVIEW_ACTS.find((known) => known === field('act'))
  return act === undefined ? [] : [{ time: field('time'), by: field('by'), act, note: field('note') }]
}

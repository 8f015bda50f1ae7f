/**
 * Lines of a file or of stdin, one by one. Guards memory: a line has a longest length, and nothing is read ahead of its reader.
 * What a line means is not its business.
 */
import { closeSync, openSync, readSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { SluiceError } from './error.js'

/** Far above the longest event (some 50 KiB of arguments, escaped). */
export const LINE_BYTES_MAX = 4 * 1024 * 1024
const CHUNK_BYTES = 64 * 1024
const BIG_CHUNK_BYTES = 256 * 1024
const STDIN = 0
/** How often the end of a followed file is looked at again. */
const FOLLOW_POLL_MS = 200
const NEWLINE = 0x0a

/** `text` null: a line that is longer than LINE_BYTES_MAX. `caughtUp`: all that was there at first has been read. */
export type ReadLine = { kind: 'line'; number: number; text: string | null } | { kind: 'caughtUp' }

export interface LineSource {
  /** `-` is stdin. */
  readonly file: string
  readonly follow: boolean
  /** Ends following. */
  readonly signal: AbortSignal
}

/** Throws IO if the file can't be opened or read. A last line without a line end is a line, unless the file is followed. */
export async function* readLines(source: LineSource): AsyncGenerator<ReadLine> {
  let pending: Buffer[] = []
  let pendingBytes = 0
  let number = 0
  const take = (end: Buffer): ReadLine => {
    number += 1
    const tooLong = pendingBytes + end.length > LINE_BYTES_MAX
    const text = tooLong ? null : Buffer.concat([...pending, end]).toString('utf8')
    pending = []
    pendingBytes = 0
    return { kind: 'line', number, text }
  }
  const chunks = source.file === '-' ? stdinChunks() : fileChunks(source)
  for await (const chunk of chunks) {
    if (chunk === null) {
      yield { kind: 'caughtUp' }
      continue
    }
    let from = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
      yield take(chunk.subarray(from, end))
      from = end + 1
    }
    const rest = chunk.subarray(from)
    pendingBytes += rest.length
    // Of a line that is too long only the length is kept.
    if (pendingBytes <= LINE_BYTES_MAX) pending.push(Buffer.from(rest))
  }
  if (pendingBytes > 0) yield take(Buffer.alloc(0))
}

/** The same for who has nothing else to do meanwhile: no waiting, only reading. Of a file, or of stdin, up to its end. Throws IO. */
export function* readLinesAtOnce(file: string): Generator<{ number: number; text: string | null }> {
  const fd = file === '-' ? STDIN : openNow(file)
  try {
    let pending: Buffer[] = []
    let pendingBytes = 0
    let number = 0
    // One for all: a line is a text of its own, and what is left of a chunk is copied.
    const room = Buffer.allocUnsafe(BIG_CHUNK_BYTES)
    for (let chunk = readSome(file, fd, room); chunk !== null; chunk = readSome(file, fd, room)) {
      let from = 0
      for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
        number += 1
        const isLong = pendingBytes + end - from > LINE_BYTES_MAX
        const bytes = pendingBytes === 0 ? chunk : Buffer.concat([...pending, chunk.subarray(from, end)])
        const text = pendingBytes === 0 ? bytes.toString('utf8', from, end) : bytes.toString('utf8')
        yield { number, text: isLong ? null : text }
        pending = []
        pendingBytes = 0
        from = end + 1
      }
      pendingBytes += chunk.length - from
      // Of a line that is too long only the length is kept.
      if (pendingBytes <= LINE_BYTES_MAX) pending.push(Buffer.from(chunk.subarray(from)))
      else pending = []
    }
    if (pendingBytes === 0) return
    yield { number: number + 1, text: pendingBytes > LINE_BYTES_MAX ? null : Buffer.concat(pending).toString('utf8') }
  } finally {
    if (fd !== STDIN) closeSync(fd)
  }
}

function openNow(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (error) {
    throw new SluiceError('IO', `${path}: ${reasonOf(error)}`, { cause: error })
  }
}

/** Null at the end. A pipe that somebody made non-blocking, and that is empty, is tried again. */
function readSome(path: string, fd: number, buffer: Buffer): Buffer | null {
  for (;;) {
    try {
      const bytes = readSync(fd, buffer, 0, buffer.length, null)
      return bytes === 0 ? null : buffer.subarray(0, bytes)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EOF') return null
      if (code !== 'EAGAIN') throw new SluiceError('IO', `${path}: ${reasonOf(error)}`, { cause: error })
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
    }
  }
}

async function* stdinChunks(): AsyncGenerator<Buffer | null> {
  for await (const chunk of process.stdin) yield chunk as Buffer
  yield null
}

/** Null once, at the first end of the file. */
async function* fileChunks({ file: path, follow, signal }: LineSource): AsyncGenerator<Buffer | null> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw new SluiceError('IO', `${path}: ${reasonOf(error)}`, { cause: error })
  })
  try {
    let position = 0
    let caughtUp = false
    while (!signal.aborted) {
      const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
      const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES, null)
      position += bytesRead
      if (bytesRead > 0) {
        yield buffer.subarray(0, bytesRead)
        continue
      }
      if (!caughtUp) yield null
      caughtUp = true
      if (!follow) return
      if ((await file.stat()).size < position) {
        throw new SluiceError('IO', `${path} was cut while it was followed`, {
          hint: 'start again to read the new record',
        })
      }
      await sleep(FOLLOW_POLL_MS, undefined, { signal }).catch(() => {})
    }
  } catch (error) {
    if (error instanceof SluiceError) throw error
    throw new SluiceError('IO', `${path}: ${reasonOf(error)}`, { cause: error })
  } finally {
    await file.close()
  }
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOENT') return 'no such file'
  if (code === 'EACCES') return 'permission denied'
  if (code === 'EISDIR') return 'is a directory'
  return message
}

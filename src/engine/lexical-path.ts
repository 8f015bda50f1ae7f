/**
 * Paths as the kernel side reports them, a directory and what was passed, put together by their text. Not here: asking the file
 * system; where a symlink is in the way the answer differs from the kernel's.
 */
import { posix } from 'node:path'

const NO_BYTES = new Uint8Array(0)

/** What a path names if no symlink is in the way. Relative only if nobody knows where it starts. */
export function lexicalPath(base: Uint8Array | null | undefined, path: Uint8Array | null | undefined): Uint8Array {
  const user = latin1(path)
  const start = latin1(base)
  if (user === '') return copyShort(base)
  return normalised(user.startsWith('/') || start === '' ? user : `${start}/${user}`)
}

/** For what goes to the client and is then forgotten: shares an allocation of a few KiB with others of its time. */
export function copyShort(bytes: Uint8Array | null | undefined): Uint8Array {
  return bytes === null || bytes === undefined ? NO_BYTES : Buffer.from(bytes)
}

function latin1(bytes: Uint8Array | null | undefined): string {
  return Buffer.from(bytes ?? NO_BYTES).toString('latin1')
}

function normalised(latin1: string): Uint8Array {
  const path = posix.normalize(latin1)
  // Two slashes at the start mean one, and a trailing one does not name another file.
  const trimmed = path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path
  return Buffer.from(trimmed, 'latin1')
}

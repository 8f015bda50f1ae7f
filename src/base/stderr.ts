/**
 * Writing to stderr without process.stderr. Guards the watched command: Node's stream objects switch a pipe to non-blocking for
 * everybody who shares it, and a program that inherits it then fails with EAGAIN. Not for stdout.
 */
import { writeSync } from 'node:fs'

const STDERR = 2
/** How often a full non-blocking stderr (someone else made it so) is tried again, and how long between. */
const WRITE_RETRIES_MAX = 200
const WRITE_RETRY_MS = 5

/** Writes all of `text`. A closed or stuck stderr loses it: there is nobody left to tell. */
export function writeStderr(text: string | Uint8Array): void {
  const bytes = Buffer.from(text)
  let offset = 0
  for (let tries = 0; offset < bytes.length && tries < WRITE_RETRIES_MAX; ) {
    try {
      offset += writeSync(STDERR, bytes, offset)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return
      tries += 1
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, WRITE_RETRY_MS)
    }
  }
}

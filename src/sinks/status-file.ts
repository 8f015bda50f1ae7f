/** How the sinks do, for the engine's numbers and `sluice sinks ls`: a file that is replaced as a whole. What can't be written is left out. */
import { renameSync, writeFileSync } from 'node:fs'
import { type SinkStatus, statusPath } from '../proto/spool/sinks-status.js'

const MODE = 0o600

export function writeStatus(folder: string, sinks: readonly SinkStatus[]): void {
  const path = statusPath(folder)
  try {
    writeFileSync(`${path}.new`, JSON.stringify({ time: new Date().toISOString(), pid: process.pid, sinks }), {
      mode: MODE,
    })
    renameSync(`${path}.new`, path)
  } catch {
    // Nothing hangs on it.
  }
}

/** The end of a listener of ours, by a deadline. */
import type net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Accepts no more, waits until all connections are closed, and closes those of `open` that are left at the deadline. */
export async function closeServer(
  server: net.Server,
  open: ReadonlySet<{ destroy(): unknown }>,
  deadlineMs: number,
): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  const late = new AbortController()
  await Promise.race([closed, sleep(deadlineMs, undefined, { signal: late.signal }).catch(() => {})])
  late.abort()
  for (const socket of open) socket.destroy()
  await Promise.race([closed, sleep(deadlineMs, undefined, { ref: false })])
}

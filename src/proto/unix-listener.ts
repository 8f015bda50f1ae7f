/**
 * A unix socket that we own: whoever connects is checked before a byte is read, and only then handed on.
 *
 * It guards the socket's mode from the first moment, the number of open connections, and that a check that throws refuses. It does
 * not guard the directory the socket is in: whoever may write there may replace it.
 */
import { chmodSync, chownSync } from 'node:fs'
import net from 'node:net'
import { errnoCode, messageOf, SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import { closeServer } from './close-server.js'

/** Open connections of one listener, a run's each; further ones are closed at once. */
export const CONNECTIONS_MAX = 2_304
/** sun_path of unix(7), less the terminating NUL. */
export const SOCKET_PATH_BYTES_MAX = 107

const REFUSALS_LOGGED_MAX = 10
const REFUSALS_WINDOW_MS = 60_000

/** The process at the other end, as the kernel told it for the moment it connected. */
export interface Caller {
  readonly pid: number
  readonly uid: number
  readonly gid: number
  /** Supplementary. */
  readonly groups: readonly number[]
}

/** Says who may talk to us; called once for each connection, before a byte of it is read. */
export type PeerCheck = (socket: net.Socket) => { allowed: true; caller: Caller } | { allowed: false; reason: string }

/** Asked besides, of those that the check lets in, where the answer takes its time: null, or why not. Not a byte is read before. */
export type PeerVetting = (caller: Caller) => Promise<string | null>

export interface UnixListener {
  /** Accepts no more; waits until all connections are closed, closes what is left at the deadline. Removes the socket. */
  close(deadlineMs: number): Promise<void>
}

/** `accept` gets paused sockets and who is at their other end. Throws IO when the path can't be listened on, LIMIT when it is too long. */
export async function listenUnix(options: {
  path: string
  /** Permission bits of the socket, such as 0o600. */
  mode: number
  /** Group of the socket; that of the process by default. */
  gid?: number
  check: PeerCheck
  vet?: PeerVetting
  log: Log
  accept(socket: net.Socket, caller: Caller): void
}): Promise<UnixListener> {
  const { path, mode, log, vet } = options
  checkSocketPath(path)
  const open = new Set<net.Socket>()
  const logRefusal = refusalLog(path, log)
  const server = net.createServer({ pauseOnConnect: true }, (socket) => {
    socket.on('error', (error) => log.debug({ path, error: error.message }, 'a connection broke'))
    const refuse = (reason: string) => {
      socket.destroy()
      logRefusal(reason)
    }
    const answer = checked(options.check, socket)
    if (!answer.allowed) {
      refuse(answer.reason)
      return
    }
    open.add(socket)
    socket.once('close', () => open.delete(socket))
    if (vet === undefined) {
      options.accept(socket, answer.caller)
      return
    }
    void vetted(vet, answer.caller).then((reason) => {
      if (socket.destroyed) return
      if (reason === null) options.accept(socket, answer.caller)
      else refuse(reason)
    })
  })
  server.maxConnections = CONNECTIONS_MAX
  server.on('drop', () => logRefusal(`more than ${CONNECTIONS_MAX} connections are open`))
  await listen(server, { path, mode, gid: options.gid ?? null })
  return {
    close: (deadlineMs) => closeServer(server, open, deadlineMs),
  }
}

/** A longer path would be cut off by the kernel's struct, not refused. */
export function checkSocketPath(path: string): void {
  const bytes = Buffer.byteLength(path)
  if (bytes <= SOCKET_PATH_BYTES_MAX) return
  throw new SluiceError('LIMIT', `the socket path ${path} has ${bytes} bytes; ${SOCKET_PATH_BYTES_MAX} are allowed`, {
    hint: 'use a shorter directory',
  })
}

async function listen(
  server: net.Server,
  { path, mode, gid }: { path: string; mode: number; gid: number | null },
): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      // bind(2) happens inside this call and takes the umask into account: at no time is the socket open to more than `mode` says.
      const before = process.umask(0o777 & ~mode)
      try {
        server.listen(path, () => resolve())
      } finally {
        process.umask(before)
      }
    })
    // Another owner clears no permission bits of a socket, but the order would be safe even so.
    if (gid !== null) chownSync(path, process.geteuid?.() ?? 0, gid)
    chmodSync(path, mode)
  } catch (error) {
    server.close()
    const inUse = errnoCode(error) === 'EADDRINUSE'
    throw new SluiceError('IO', `can't listen on ${path}: ${messageOf(error)}`, {
      ...(inUse ? { hint: 'if nothing listens there any more, remove the file' } : {}),
      cause: error,
    })
  }
}

/** What the check can't tell is refused. */
function checked(check: PeerCheck, socket: net.Socket): ReturnType<PeerCheck> {
  try {
    return check(socket)
  } catch (error) {
    return { allowed: false, reason: `the peer could not be checked: ${messageOf(error)}` }
  }
}

async function vetted(vet: PeerVetting, caller: Caller): Promise<string | null> {
  try {
    return await vet(caller)
  } catch (error) {
    return `the peer could not be checked: ${messageOf(error)}`
  }
}

/** Refused peers come as often as they like, lines about them don't: the number of those left out is in the next line. */
function refusalLog(path: string, log: Log): (reason: string) => void {
  let windowStart = Number.NEGATIVE_INFINITY
  let logged = 0
  let unlogged = 0
  return (reason) => {
    const now = performance.now()
    if (now - windowStart >= REFUSALS_WINDOW_MS) {
      windowStart = now
      logged = 0
    }
    if (logged === REFUSALS_LOGGED_MAX) {
      unlogged += 1
      return
    }
    log.debug({ path, reason, unlogged }, 'refused a connection')
    logged += 1
    unlogged = 0
  }
}

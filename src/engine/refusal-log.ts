/**
 * Writes down whom the engine refused: one line each at `error`, which is shown by default, because a refused caller is somebody who
 * tried. Guards that a caller in a loop can neither fill the log nor keep others out of it: what was left out is counted in the next line.
 * Not here: the decision.
 */
import type { Log } from '../base/log.js'
import type { RefusedRemote } from '../proto/rpc.js'

/** Of one sandbox, or one user outside of all. */
export const REFUSALS_LOGGED_MAX = 10
export const REFUSALS_WINDOW_MS = 60_000

export interface RefusedPeer {
  /** Null: the kernel did not tell. */
  readonly pid: number | null
  readonly uid: number | null
  /** cgroup of the sandbox it is in; null if it is in none. */
  readonly sandbox: string | null
  readonly reason: string
}

/** Callers that are told apart; what comes from more of them drops the oldest one's count. */
export const CALLERS_MAX = 256

interface Window {
  startMs: number
  logged: number
  unlogged: number
}

export class RefusalLog {
  private readonly log: Pick<Log, 'error'>
  private readonly nowMs: () => number
  private readonly windows = new Map<string, Window>()

  constructor(log: Pick<Log, 'error'>, nowMs: () => number = () => performance.now()) {
    this.log = log
    this.nowMs = nowMs
  }

  refused(socketPath: string, peer: RefusedPeer): void {
    this.write(socketPath, String(peer.sandbox ?? peer.uid), { ...peer })
  }

  /** All that show no certificate of ours share one count: addresses are cheap. */
  refusedRemote(listener: string, remote: RefusedRemote): void {
    this.write(listener, remote.names ?? '', { ...remote })
  }

  private write(path: string, who: string, peer: object): void {
    const window = this.windowOf(`${path} ${who}`)
    const now = this.nowMs()
    if (now - window.startMs >= REFUSALS_WINDOW_MS) {
      window.startMs = now
      window.logged = 0
    }
    if (window.logged === REFUSALS_LOGGED_MAX) {
      window.unlogged++
      return
    }
    this.log.error({ path, ...peer, unlogged: window.unlogged }, 'refused a caller')
    window.logged++
    window.unlogged = 0
  }

  /** Each sandbox has its own: none can use up the lines of another. */
  private windowOf(caller: string): Window {
    const known = this.windows.get(caller)
    if (known !== undefined) return known
    const [oldest] = this.windows.keys()
    if (this.windows.size >= CALLERS_MAX && oldest !== undefined) this.windows.delete(oldest)
    const window = { startMs: Number.NEGATIVE_INFINITY, logged: 0, unlogged: 0 }
    this.windows.set(caller, window)
    return window
  }
}

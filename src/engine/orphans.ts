/**
 * Runs whose client is gone: they go on under watch until nothing runs in them, and are ended then. Whether anything does is the kernel's
 * word, asked of the sensor, as an exit may have been lost. Guards that a run whose client did not come back to an engine that was
 * started again stays in the book, where it can be seen and ended, and that its cgroup goes with its last process.
 */
import type { Log } from '../base/log.js'
import type { IEvent } from '../proto/codec.js'
import type { ConnectedSensor } from './ingest.js'
import type { CommandDone } from './sensor-commands.js'
import { bookUnread, type UnreadSessionParts } from './unread-session.js'

const POLL_MS = 500

export interface Orphan {
  readonly sandboxId: string
  /** Nothing ran in it any more, and the sensor has taken it away. */
  ended(outcome: CommandDone): void
}

export interface OrphansOptions extends UnreadSessionParts {
  readonly log: Log
  readonly policies: { forget(sandboxId: string, cgroupId: bigint): Promise<void> | null }
  sensor(): ConnectedSensor | null
  tap(event: IEvent, ownerUid: number): void
}

export class Orphans {
  private readonly options: OrphansOptions
  private readonly orphans = new Set<Orphan>()
  /** The sensor is looking. */
  private readonly asked = new Set<Orphan>()
  private poll: NodeJS.Timeout | null = null

  constructor(options: OrphansOptions) {
    this.options = options
  }

  add(orphan: Orphan): void {
    this.orphans.add(orphan)
    this.poll ??= setInterval(() => this.look(), POLL_MS)
  }

  /** Safe for one that is not there. */
  remove(orphan: Orphan): void {
    this.orphans.delete(orphan)
    if (this.orphans.size > 0) return
    this.stop()
  }

  stop(): void {
    if (this.poll !== null) clearInterval(this.poll)
    this.poll = null
  }

  /** The session of an earlier engine whose client did not come back. False if there is no such session, or it is over. */
  takeUp(sessionId: string): boolean {
    const { pipeline, registry, policies, tap, sensor, log } = this.options
    const waiting = pipeline.reopenedSession(sessionId)
    if (waiting === null || waiting.isOver) return false
    const { ownerUid } = waiting
    const resumed = pipeline.resume(sessionId, null, (event) => tap(event, ownerUid))
    if (resumed === null) return false
    const { id, cgroupPath } = waiting.sandbox
    const sandboxId = id ?? ''
    registry.add(cgroupPath ?? '')
    const orphan: Orphan = { sandboxId, ended: ({ killed }) => booked.end(killed) }
    const degraded = [...(sensor()?.degraded ?? [])]
    const booked = bookUnread(this.options, { ...resumed, degraded, frozen: false, adopted: false }, () => {
      this.remove(orphan)
      return policies.forget(sandboxId, resumed.cgroupId)
    })
    this.add(orphan)
    log.info({ sandbox: sandboxId, session: sessionId }, 'the client of a run did not come back; its sandbox goes on')
    return true
  }

  private look(): void {
    const commands = this.options.sensor()?.commands
    if (commands === undefined) return
    for (const orphan of this.orphans) {
      if (this.asked.has(orphan)) continue
      this.asked.add(orphan)
      commands.endSandboxIfEmpty(orphan.sandboxId, (outcome) => {
        this.asked.delete(orphan)
        if (!outcome.ok || outcome.inUse || !this.orphans.has(orphan)) return
        this.remove(orphan)
        orphan.ended(outcome)
      })
    }
  }
}

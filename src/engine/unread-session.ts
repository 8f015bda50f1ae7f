/**
 * A session without a client of its own, in the book of sandboxes: an adopted cgroup's, or that of a run whose client is gone. Guards
 * that its end takes everything with it that was kept for it, once.
 */
import type { Pipeline } from './pipeline.js'
import type { BookedSandbox, SandboxBook } from './sandbox-book.js'
import type { SandboxRegistry } from './sandbox-registry.js'
import type { Session } from './session.js'

export interface UnreadSessionParts {
  readonly pipeline: Pipeline
  readonly registry: SandboxRegistry
  readonly book: SandboxBook
}

export interface UnreadSession {
  readonly cgroupId: bigint
  readonly session: Session
  readonly degraded: readonly string[]
  readonly frozen: boolean
  readonly adopted: boolean
}

/** @param onEnd called before the last event, which waits for what it gives back */
export function bookUnread(
  { pipeline, registry, book }: UnreadSessionParts,
  of: UnreadSession,
  onEnd: () => Promise<void> | null = () => null,
): BookedSandbox {
  const { cgroupId, session } = of
  const { sandbox, ownerUid } = session
  let isEnding = false
  const booked: BookedSandbox = {
    ...{ ...of, id: sandbox.id ?? '', sandbox, ownerUid },
    end(killed) {
      if (isEnding) return
      isEnding = true
      registry.remove(sandbox.cgroupPath ?? '')
      const over = () => {
        pipeline.close(cgroupId, session, { exitCode: 0, signal: 0, killed })
        pipeline.drop(cgroupId, session)
        book.remove(booked)
      }
      const telling = onEnd()
      if (telling === null) over()
      else void telling.then(over)
    },
  }
  book.add(booked)
  return booked
}

/**
 * The client's end of one run: start, events, end. Guards against an engine that goes away or goes silent: nothing here rejects once
 * the session has started, and every wait is bounded. It does not know what is done with the events, nor how an engine that died is
 * replaced (resumed-stream.ts).
 */
import { SluiceError } from '../../base/error.js'
import type { IRunStarted } from '../../proto/codec.js'
import type { ChildStatus } from '../exit-code.js'
import { withDeadline } from './deadline.js'
import { ResumedStream, type StreamParts, type StreamProblem } from './resumed-stream.js'

/** From the start request to the answer: a cgroup is made, the launcher is moved and tagged. */
const START_DEADLINE_MS = 15_000
/**
 * After the end request: without a message for this long, and altogether. Longer than the engine itself waits for the sensor to end the
 * sandbox (20 s), as its word on what is missing is better than ours.
 */
export const DRAIN_IDLE_MS = 25_000
const DRAIN_TOTAL_MS = 120_000

export interface RunSession {
  /** Rejects with a SluiceError if the engine refuses, ends or does not answer in time. */
  started(): Promise<IRunStarted>
  /** Resolves when the stream is over, however: null, or what makes the record incomplete, in one sentence. Never rejects. */
  readonly over: Promise<StreamProblem | null>
  /** Tells the engine that the command is over and waits for the last event. Never rejects. */
  finish(status: ChildStatus): Promise<StreamProblem | null>
}

export function openSession(parts: StreamParts): RunSession {
  let onStarted: (started: IRunStarted) => void = () => {}
  const started = new Promise<IRunStarted>((resolve) => {
    onStarted = resolve
  })
  const stream = new ResumedStream(parts, (session) => onStarted(session))
  const { over } = stream
  return {
    over,
    started() {
      const ended = over.then((problem): never => {
        throw new SluiceError('PROTOCOL', `the session did not start: ${problem?.cause ?? 'the engine ended it'}`)
      })
      return withDeadline(Promise.race([started, ended]), START_DEADLINE_MS, () => {
        throw new SluiceError('PROTOCOL', `the session did not start within ${START_DEADLINE_MS / 1000} s`)
      })
    },
    async finish(status) {
      const startedAt = performance.now()
      stream.end({ exitCode: status.code, signal: status.signal })
      for (;;) {
        const now = performance.now()
        const left = Math.min(stream.lastMessageAt + DRAIN_IDLE_MS, startedAt + DRAIN_TOTAL_MS) - now
        if (left <= 0) {
          stream.cancel()
          return { cause: 'the engine did not deliver the last events in time', lost: true }
        }
        const outcome = await withDeadline<StreamProblem | null | 'late'>(over, left, () => 'late')
        if (outcome !== 'late') return outcome
      }
    },
  }
}

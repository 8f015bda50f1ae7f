/**
 * One run from the waiting launcher to the last event. Guards the order that the record's completeness rests on: the session is
 * started before the command, ended after it, and drained before anything is taken down; and that whatever fails on our side, the
 * command goes on and its exit code is kept. Parts are handed in; taking them down is the caller's.
 */
import type { IRunStart } from '../../proto/codec.js'
import type { RunCall } from '../../proto/rpc.js'
import { type ChildStatus, EXIT_OWN_FAILURE } from '../exit-code.js'
import { withDeadline } from './deadline.js'
import type { EventConsumer } from './event-consumer.js'
import { ENDED_EARLY } from './launch-message.js'
import type { Launched, LaunchFailure } from './launcher.js'
import type { StreamProblem } from './resumed-stream.js'
import { openSession } from './session.js'
import type { SignalRelay } from './signals.js'

/** A session that does not start because the launcher is gone: how long until we hear of that ourselves. */
const EXIT_NEWS_MS = 500
/** A launcher that ends before its time without a word, even one that says 0, is not the command's end. */
const OWN_FAILURE: ChildStatus = { code: EXIT_OWN_FAILURE, signal: 0 }

export interface WatchedRun {
  readonly call: RunCall
  /** A call to the engine in the place of one that died; null if there is none. */
  reconnect(): Promise<RunCall | null>
  readonly start: IRunStart
  readonly launched: Launched
  readonly consumer: EventConsumer
  readonly signals: SignalRelay
  /** Tells the user at once; one line without a line end. */
  say(line: string): void
}

export type WatchedOutcome =
  /** The command was started, or failed to be (`failure`). `problem`: why events are missing. */
  | { kind: 'ended'; status: ChildStatus; failure: LaunchFailure | null; problem: StreamProblem | null }
  /** A signal ended the run before the command was started. */
  | { kind: 'stopped'; signal: number }

/** Throws a SluiceError if the session does not start; then the command never ran. */
export async function watchRun(run: WatchedRun): Promise<WatchedOutcome> {
  const { launched, signals, consumer } = run
  const session = openSession({
    ...{ call: run.call, start: run.start, reconnect: () => run.reconnect() },
    consume: (events) => consumer.consume(events),
  })
  const exited = launched.exited.then(() => 'exited' as const)
  const started = session.started().then((session) => {
    consumer.begin(session)
    return 'started' as const
  })
  const first = await Promise.race([
    // The engine may be the first to notice that there is no launcher; its refusal is then not what to tell.
    started.catch((error: unknown) =>
      withDeadline<'exited'>(exited, EXIT_NEWS_MS, () => {
        throw error
      }),
    ),
    signals.stop.then(() => 'stopped' as const),
    exited,
  ])
  if (first === 'stopped' || signals.stopRequested() !== 0) return { kind: 'stopped', signal: signals.stopRequested() }
  if (first === 'started') {
    signals.attach((name) => launched.signal(name))
    launched.release()
  }
  let ending = false
  void session.over.then((problem) => {
    if (first === 'started' && !ending && problem !== null)
      run.say(`sluice: ${problem.cause}; the command goes on unwatched`)
  })
  const status = await launched.exited
  ending = true
  signals.detach()
  const said = await launched.failure
  const problem = await session.finish(status)
  if (first === 'started') return { kind: 'ended', status, failure: said, problem }
  // Nothing ran, so nothing is missing of it; a session that did begin is in the record nevertheless.
  const failure = said ?? { stage: ENDED_EARLY, errno: 0, end: status }
  const isOurs = said === null && status.signal === 0
  return { kind: 'ended', status: isOurs ? OWN_FAILURE : status, failure, problem: null }
}

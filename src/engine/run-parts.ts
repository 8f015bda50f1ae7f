/** What every run of an engine works with, handed in by its main. */
import type { Log } from '../base/log.js'
import type { ICompiledPolicy, IEvent } from '../proto/codec.js'
import type { Caller, RunServerCall } from '../proto/rpc.js'
import type { EventSink } from './event-stream.js'
import type { ConnectedSensor } from './ingest.js'
import type { LauncherCheck } from './launcher-check.js'
import type { Orphans } from './orphans.js'
import type { Pipeline } from './pipeline.js'
import type { PolicyDesk } from './policy-desk.js'
import type { PolicyKeeper } from './policy-keeper.js'
import type { RunInput } from './run-input.js'
import type { BookedSandbox, SandboxBook } from './sandbox-book.js'
import type { SandboxRegistry } from './sandbox-registry.js'
import type { Session } from './session.js'

export interface RunParts {
  readonly pipeline: Pipeline
  readonly registry: SandboxRegistry
  readonly book: SandboxBook
  readonly log: Log
  /** The sensor that is connected now. */
  sensor(): ConnectedSensor | null
  /** A reader has more, or a session began or ended. */
  progressed(how: 'seen' | 'sessions'): void
  openSink(call: RunServerCall): EventSink
  /** Every event of every session, besides its own reader. */
  tap(event: IEvent, ownerUid: number): void
  readonly checkLauncher: LauncherCheck
  /** Null, or why this caller is not served now. */
  vet(caller: Caller): Promise<string | null>
  readonly policies: PolicyDesk
  readonly keeper: PolicyKeeper
  /** Whom the record names as the command's user. */
  userOf(caller: Caller, claimed: string): string
  /** A sandbox whose client is gone goes on under watch, until nothing runs in it; null: only its watching ends. */
  readonly orphans: Orphans | null
}

export type PlannedRun = RunInput & { readonly sessionId: string }

export type PolicedRun = PlannedRun & { readonly policy: ICompiledPolicy; readonly origin: Uint8Array }

/** One whose session has begun. */
export interface OpenedRun {
  readonly sandboxId: string
  readonly cgroupId: bigint
  readonly cgroupPath: string
  readonly session: Session
  readonly booked: BookedSandbox
}

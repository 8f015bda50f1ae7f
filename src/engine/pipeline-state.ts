/** Where a pipeline stands: what an engine that is started again goes on with. */
import type { LedgerState } from './loss-ledger.js'
import type { SandboxLossState } from './sandbox-losses.js'
import type { GapReport, SessionState } from './session.js'
import type { PositionState } from './stream-position.js'

/** A gap that waits for its place among the events. */
export interface PendingGap {
  /** CLOCK_BOOTTIME, for order */
  readonly timeNs: number
  readonly sandbox: number
  readonly gap: GapReport
}

/** All that another engine needs to go on without a hole. Of the process tree only what comes again is known to it. */
export interface PipelineState {
  readonly position: PositionState
  readonly losses: LedgerState
  readonly sandboxLosses: SandboxLossState
  readonly gaps: readonly PendingGap[]
  /** By the cgroup id of the sandbox's root. */
  readonly sessions: ReadonlyMap<number, SessionState>
}

/** What comes of a command to the sensor: every one has exactly one outcome (sensor-commands.ts). */

import type { ILimits } from '../proto/codec.js'

/** What the sensor says it did; of the fields only those count that the command gives. */
export interface CommandDone {
  readonly ok: true
  readonly cgroupId: bigint
  readonly cgroupPath: string
  readonly killed: number
  /** Found running in an adopted sandbox. */
  readonly processes: number
  /** What those hold that makes watching them worth less. */
  readonly degraded: readonly string[]
  /** To which the process of `whoIs` belongs; empty: to none. */
  readonly sandboxId: string
  /** Of an applied policy: what events call it. */
  readonly generation: number
  /** Something runs in the sandbox that was to be ended only if nothing does: it was not. */
  readonly inUse: boolean
  /** Of a throttled sandbox: what holds, as read back from the kernel; null: nothing. */
  readonly limits?: ILimits | null
}

export interface CommandFailed {
  readonly ok: false
  readonly problem: string
  /** The sensor has no policy of that name: it has to be sent whole. */
  readonly unknownContent?: boolean
}

export type CommandOutcome = CommandDone | CommandFailed

export type Done = (outcome: CommandOutcome) => void

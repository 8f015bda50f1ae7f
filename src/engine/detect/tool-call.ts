/** One thing the agent had done: what it is to detectors, while it runs and when it is over. */
import type { EventTime } from './fact.js'

/** By the program that the harness started (docs/detection.md). */
export type CallClass = 'shell' | 'inline-code' | 'program' | 'mcp'

export interface ToolCall {
  /** Of the exec that began it. */
  readonly uid: string
  /** In order of their beginning, from 1. */
  readonly number: number
  readonly startMs: number
  readonly startTime: EventTime
  endTime: EventTime
  class: CallClass
  /** As it would be typed; for a shell with -c what it was given. */
  command: string
  readonly cwd: string
  /** Programs that it started, the first included. */
  processes: number
  /** Of its first process; null while it runs. */
  exit: { readonly code: number; readonly signal: number } | null
  /** Paths that were changed, bounded; none any more when the fact after its end comes. */
  changed: ReadonlySet<string>
  /** What it tried to reach, likewise. */
  hosts: ReadonlySet<string>
  /** Changed paths and hosts that had no room. */
  unlisted: number
}

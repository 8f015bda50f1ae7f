/** What a detector found, and what it is given. A detector has no clock and does nothing: it looks, and says. */
import type { Command } from './command.js'
import type { Fact } from './fact.js'
import type { Learned } from './history.js'
import type { ToolCall } from './tool-call.js'
import type { Lineage } from './tool-calls.js'

export type Severity = 'info' | 'low' | 'medium' | 'high'

export interface Finding {
  readonly detector: string
  readonly severity: Severity
  readonly title: string
  /** One sentence with what was measured. */
  readonly reason: string
  /** Uids of the events that prove it, a bounded number. */
  readonly evidence: readonly string[]
  readonly measured: number
  readonly threshold: number
  /** What is usual, where that is known. */
  readonly baseline: number | null
  /** That it was measured over, where that is a fixed time. */
  readonly windowMs?: number
}

export interface CallInput {
  readonly call: ToolCall
  readonly command: Command
}

/** Of one session. Each gives back what it found in just this. */
export interface Detector {
  fact?(fact: Fact, call: ToolCall | null, lineage: Lineage): readonly Finding[]
  began?(input: CallInput): readonly Finding[]
  ended?(input: CallInput): readonly Finding[]
  /** How much had no room. */
  shed?(): number
  /** Of the session, for the identity's next ones. */
  learned?(): Partial<Learned>
}

export const EVIDENCE_MAX = 16
export const NONE: readonly Finding[] = Object.freeze([])

/** The latest ones, which show it best. */
export function evidenceOf(uids: readonly string[]): string[] {
  return uids.slice(-EVIDENCE_MAX)
}

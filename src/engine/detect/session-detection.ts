/**
 * One session as detection sees it: facts in, calls and findings out, in the order in which they come of each fact. Guards that a detector sees
 * a call before what it does, and its end after that. The detectors themselves are files of their own.
 */
import type { Commands } from './command.js'
import type { Fact } from './fact.js'
import { type CallInput, type Detector, type Finding, NONE } from './finding.js'
import type { Learned } from './history.js'
import type { ToolCall } from './tool-call.js'
import { ToolCalls, type ToolCallsState } from './tool-calls.js'

export interface Derived {
  /** The call that the fact belongs to. */
  readonly call: ToolCall | null
  readonly ended: readonly ToolCall[]
  readonly findings: readonly Finding[]
}

/** What was forgotten because it had no room. */
export interface Shed {
  /** Processes and calls that went on. */
  readonly processes: number
  /** Characters of commands. */
  readonly characters: number
  /** What detectors had met. */
  readonly met: number
}

/** Detectors that are out have nothing to say. */
const NOTHING_LEARNED: Learned = { items: [], lookBack: 0, settling: 0, volume: {}, windowMs: 0 }

export class SessionDetection {
  private readonly calls: ToolCalls
  private readonly commands: Commands
  private readonly detectors: readonly Detector[]
  private readonly onFact: readonly Detector[]

  /** @param goOn calls of a session that is under way; what detectors had noticed of it is not known any more */
  constructor(options: { commands: Commands; detectors: readonly Detector[]; goOn?: ToolCallsState | null }) {
    this.calls = new ToolCalls(options.goOn)
    this.commands = options.commands
    this.detectors = options.detectors
    this.onFact = options.detectors.filter((detector) => detector.fact !== undefined)
  }

  get state(): ToolCallsState {
    return this.calls.state
  }

  take(fact: Fact): Derived {
    const { call, began, ended, lineage } = this.calls.take(fact)
    let findings: Finding[] | null = null
    if (began !== null) {
      const input = this.input(began)
      for (const detector of this.detectors) findings = joined(findings, detector.began?.(input))
    }
    for (const detector of this.onFact) findings = joined(findings, detector.fact?.(fact, call, lineage))
    for (const over of ended) {
      const input = this.input(over)
      for (const detector of this.detectors) findings = joined(findings, detector.ended?.(input))
    }
    return { call, ended, findings: findings ?? NONE }
  }

  get shed(): Shed {
    const met = this.detectors.reduce((sum, detector) => sum + (detector.shed?.() ?? 0), 0)
    return { processes: this.calls.forgotten, characters: this.calls.cut, met }
  }

  /** When the session is over. */
  learned(): Learned {
    const parts = this.detectors.map((detector) => detector.learned?.() ?? {})
    return Object.assign({}, NOTHING_LEARNED, ...parts) as Learned
  }

  private input(call: ToolCall): CallInput {
    return { call, command: this.commands.of(call) }
  }
}

function joined(findings: Finding[] | null, more: readonly Finding[] | undefined): Finding[] | null {
  if (more === undefined || more.length === 0) return findings
  return findings === null ? [...more] : [...findings, ...more]
}

/** `exec_storm`: one command line is executed over and over inside one tool call, as `while true; do curl …` does. Told when it begins, and again while it goes on. */
import { clipped, Latest, Sliding, Telling } from './bounded.js'
import type { Fact } from './fact.js'
import { type Detector, evidenceOf, type Finding, NONE } from './finding.js'
import { hash53 } from './hash.js'
import type { ToolCall } from './tool-call.js'
import { commandOf } from './tool-calls.js'

export interface ExecStormThresholds {
  readonly execs: number
  readonly windowMs: number
}

export const EXEC_STORM_DEFAULTS: ExecStormThresholds = Object.freeze({ execs: 50, windowMs: 10_000 })
/** Lines that are watched at once; of a call with more different ones the oldest are forgotten. */
const LINES_MAX = 16
/** To half a second. */
const PARTS = 20
const RUNS_MAX = 20
const SAID_CHARS_MAX = 80

interface Line {
  readonly runs: Sliding
  readonly telling: Telling
}

export class ExecStormDetector implements Detector {
  private readonly limits: ExecStormThresholds
  private readonly lines = new Map<number, Line>()
  private readonly latest = new Latest<{ key: number; uid: string }>(RUNS_MAX)

  constructor(limits: Partial<ExecStormThresholds> = {}) {
    this.limits = { ...EXEC_STORM_DEFAULTS, ...limits }
  }

  fact(fact: Fact, call: ToolCall | null): readonly Finding[] {
    if (fact.kind !== 'exec' || fact.process === null || call === null) return NONE
    const { execs, windowMs } = this.limits
    const command = commandOf(fact.process)
    const key = hash53(`${call.number} ${command}`)
    const line = this.lines.get(key) ?? { runs: new Sliding(windowMs, PARTS), telling: new Telling(windowMs) }
    this.lines.delete(key)
    this.lines.set(key, line)
    if (this.lines.size > LINES_MAX) this.forgetOldest()
    this.latest.push({ key, uid: fact.uid })
    const measured = line.runs.add(fact.timeMs, 1)
    if (!line.telling.tells(measured >= execs, fact.timeMs)) return NONE
    const uids = this.latest.all().flatMap((run) => (run.key === key ? [run.uid] : []))
    return [
      {
        ...{ detector: 'exec_storm', severity: 'medium', title: 'One command in a storm' },
        reason: `"${clipped(command, SAID_CHARS_MAX)}" was executed ${measured} times within ${windowMs / 1000} s by one tool call`,
        ...{ evidence: evidenceOf(uids), measured, threshold: execs, baseline: null },
      },
    ]
  }

  private forgetOldest(): void {
    const [oldest] = this.lines.keys()
    if (oldest !== undefined) this.lines.delete(oldest)
  }
}

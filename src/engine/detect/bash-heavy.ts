/**
 * `bash_heavy`: how much of what the agent does it does by shells and inline code. A fact to know, no fault: told once when the share is
 * reached, and again only after it was left.
 */
import { Latest } from './bounded.js'
import { type CallInput, type Detector, EVIDENCE_MAX, type Finding, NONE } from './finding.js'
import type { CallClass } from './tool-call.js'

export interface BashHeavyThresholds {
  readonly share: number
  readonly minCalls: number
}

export const BASH_HEAVY_DEFAULTS: BashHeavyThresholds = Object.freeze({ share: 0.9, minCalls: 20 })
const RECENT = 50
const COUNTED: ReadonlySet<CallClass> = new Set<CallClass>(['shell', 'inline-code'])

export class BashHeavyDetector implements Detector {
  private readonly limits: BashHeavyThresholds
  private calls = 0
  private heavy = 0
  /** Whether each of them counts. */
  private readonly recent = new Latest<boolean>(RECENT)
  private readonly uids = new Latest<string>(EVIDENCE_MAX)
  private isAbove = false

  constructor(limits: Partial<BashHeavyThresholds> = {}) {
    this.limits = { ...BASH_HEAVY_DEFAULTS, ...limits }
  }

  began({ call }: CallInput): readonly Finding[] {
    const counts = COUNTED.has(call.class)
    this.calls += 1
    this.recent.push(counts)
    if (counts) {
      this.heavy += 1
      this.uids.push(call.uid)
    }
    const share = this.heavy / this.calls
    const was = this.isAbove
    this.isAbove = this.calls >= this.limits.minCalls && share >= this.limits.share
    return this.isAbove && !was ? [this.finding(share)] : NONE
  }

  private finding(share: number): Finding {
    const recent = this.recent.all()
    const latest = recent.filter((counts) => counts).length / recent.length
    const percent = (value: number) => `${Math.round(value * 100)} %`
    return {
      ...{ detector: 'bash_heavy', severity: 'low', title: 'Mostly shells and inline code' },
      reason: `${percent(share)} of ${this.calls} tool calls, by the processes they started, and ${percent(latest)} of the last ${recent.length} were shells or inline code`,
      evidence: this.uids.all(),
      ...{ measured: share, threshold: this.limits.share, baseline: null },
    }
  }
}

/**
 * `retry_storm`: the agent keeps trying what the policy refuses: one target again and again, or many. Told once a target, and of many once a
 * minute.
 */
import { clipped, Latest, Sliding } from './bounded.js'
import type { Fact } from './fact.js'
import { type Detector, evidenceOf, type Finding, NONE } from './finding.js'
import { hash53 } from './hash.js'

export interface RetryStormThresholds {
  readonly oneTarget: number
  readonly all: number
  readonly windowMs: number
}

export const RETRY_STORM_DEFAULTS: RetryStormThresholds = Object.freeze({ oneTarget: 5, all: 20, windowMs: 60_000 })
const TARGETS_MAX = 40
/** To two seconds of the usual minute. */
const PARTS = 30
const RECENT_MAX = 20
const TARGET_CHARS_MAX = 200

export class RetryStormDetector implements Detector {
  private readonly limits: RetryStormThresholds
  /** How often each was tried. */
  private readonly targets = new Map<number, number>()
  private readonly recent = new Latest<{ key: number; uid: string }>(RECENT_MAX)
  private readonly all: Sliding
  private quietUntilMs = Number.NEGATIVE_INFINITY
  private forgotten = 0

  constructor(limits: Partial<RetryStormThresholds> = {}) {
    this.limits = { ...RETRY_STORM_DEFAULTS, ...limits }
    this.all = new Sliding(this.limits.windowMs, PARTS)
  }

  shed(): number {
    return this.forgotten
  }

  fact(fact: Fact): readonly Finding[] {
    if ((fact.kind !== 'attempt' && fact.kind !== 'name') || !fact.denied) return NONE
    const target = fact.kind === 'name' ? fact.name : fact.target
    const count = fact.kind === 'attempt' ? fact.count : 1
    const key = hash53(target)
    this.recent.push({ key, uid: fact.uid })
    const all = this.all.add(fact.timeMs, count)
    const one = this.ofOne({ target, key, count })
    return one.length > 0 ? one : this.ofAll(fact.timeMs, all)
  }

  private ofOne({ target, key, count }: { target: string; key: number; count: number }): readonly Finding[] {
    const { oneTarget } = this.limits
    const before = this.targets.get(key) ?? 0
    const measured = before + count
    this.targets.set(key, measured)
    if (this.targets.size > TARGETS_MAX) this.forgetOldest()
    if (before >= oneTarget || measured < oneTarget) return NONE
    return [
      this.finding({
        reason: `${clipped(target, TARGET_CHARS_MAX)} was tried ${measured} times though the policy refuses it`,
        ...{ evidence: this.uids((denied) => denied.key === key), measured, threshold: oneTarget },
      }),
    ]
  }

  private ofAll(timeMs: number, measured: number): readonly Finding[] {
    const { all, windowMs } = this.limits
    if (measured < all || timeMs < this.quietUntilMs) return NONE
    this.quietUntilMs = timeMs + windowMs
    return [
      this.finding({
        reason: `the policy refused ${measured} attempts within ${windowMs / 1000} s`,
        ...{ evidence: this.uids(() => true), measured, threshold: all },
      }),
    ]
  }

  private uids(isPart: (denied: { key: number; uid: string }) => boolean): string[] {
    return evidenceOf(this.recent.all().flatMap((denied) => (isPart(denied) ? [denied.uid] : [])))
  }

  private finding(of: Pick<Finding, 'reason' | 'evidence' | 'measured' | 'threshold'>): Finding {
    return {
      ...{ detector: 'retry_storm', severity: 'medium', title: 'Trying what is refused' },
      ...of,
      baseline: null,
    }
  }

  private forgetOldest(): void {
    const [oldest] = this.targets.keys()
    if (oldest === undefined) return
    this.forgotten += 1
    this.targets.delete(oldest)
  }
}

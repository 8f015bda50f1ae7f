/**
 * `volume`: more than is usual. At once where connections come in a burst that no work of an agent needs; and where one count per window stays
 * above the session's own average for some windows, or creeps up. Guards that a session is measured by itself only when there is enough of
 * it, and that little is never much.
 */
import { Latest, Sliding, Telling } from './bounded.js'
import type { Fact } from './fact.js'
import { type CallInput, type Detector, EVIDENCE_MAX, type Finding, NONE } from './finding.js'
import { COUNTED, type Counted, type History, LEAST, type Learned, type Usual } from './history.js'
import type { ToolCall } from './tool-call.js'

export interface VolumeThresholds {
  /** Connections within `burstMs`. */
  readonly burst: number
  readonly burstMs: number
  readonly windowMs: number
  /** Robust deviations above the average. */
  readonly deviations: number
  /** For so many windows in a row. */
  readonly windows: number
  /** Tool calls a minute, whatever is usual. */
  readonly callsPerMinute: number
  /** Sessions of the identity before what they had is what is usual. */
  readonly minSessions: number
}

export const VOLUME_DEFAULTS: VolumeThresholds = Object.freeze({
  ...{ burst: 300, burstMs: 4_000, windowMs: 10_000, deviations: 6, windows: 3, callsPerMinute: 60, minSessions: 5 },
})

/** Windows that make an average. */
const LEARNING_WINDOWS = 12
const WEIGHT = 0.1
const LONG_WEIGHT = 0.02
/** Mean difference of two normal values to their standard deviation. */
const STEP_TO_SIGMA = 1 / 1.128
/** As much as so many windows far above. */
const CREEP_WINDOWS = 4
/** Mean absolute deviation to standard deviation of a normal distribution. */
const MAD_TO_SIGMA = 1.4826
/** An idle hour is no hour of windows. */
const IDLE_WINDOWS_MAX = 360
const MINUTE_MS = 60_000
/** To a second, and to a tenth of one. */
const MINUTE_PARTS = 60
const BURST_PARTS = 40

/**
 * One count: its running average and how far it strays from that (Roberts 1959, EWMA), and what it has crept up by since long ago (Page 1954,
 * CUSUM), in deviations that a trend does not widen: those from one window to the next.
 */
class Baseline {
  private windows = 0
  private mean = 0
  private deviation = 0
  private above = 0
  private longMean = 0
  private step = 0
  private last = 0
  private crept = 0
  /** Of this session alone. */
  private own: Usual = NOTHING_YET

  /** `usual`: of earlier sessions. */
  constructor(usual: Usual | undefined) {
    if (usual === undefined || usual.windows < LEARNING_WINDOWS) return
    this.windows = LEARNING_WINDOWS
    this.mean = usual.mean
    this.longMean = usual.mean
    this.deviation = usual.deviation
    this.step = usual.deviation
  }

  /** In this session, without what was far off. */
  get usual(): Usual {
    return this.own
  }

  /** @returns the average that `count` has been above for long enough, or null */
  take(count: number, { deviations, windows }: VolumeThresholds, least: number): number | null {
    const isKnown = this.windows >= LEARNING_WINDOWS && count >= least
    const isHigh = isKnown && count > this.mean + deviations * Math.max(1, MAD_TO_SIGMA * this.deviation)
    this.above = isHigh ? this.above + 1 : 0
    const creep = (count - this.longMean) / Math.max(1, Math.sqrt(this.longMean), STEP_TO_SIGMA * this.step)
    this.crept = isKnown ? Math.max(0, this.crept + Math.min(creep, deviations) - deviations / 2) : 0
    const crept = this.crept > deviations * CREEP_WINDOWS
    const baseline = crept ? this.longMean : this.mean
    if (crept) this.crept = 0
    // What is far off does not become usual.
    if (!isHigh) this.learn(count)
    return crept || this.above === windows ? baseline : null
  }

  private learn(count: number): void {
    this.windows += 1
    const weight = Math.max(WEIGHT, 1 / this.windows)
    const longWeight = Math.max(LONG_WEIGHT, 1 / this.windows)
    this.deviation += weight * (Math.abs(count - this.mean) - this.deviation)
    this.mean += weight * (count - this.mean)
    if (this.windows > 1) this.step += weight * (Math.abs(count - this.last) - this.step)
    this.longMean += longWeight * (count - this.longMean)
    this.last = count
    this.own = withOne(this.own, count)
  }
}

const NOTHING_YET: Usual = Object.freeze({ mean: 0, deviation: 0, windows: 0 })

function withOne({ mean, deviation, windows }: Usual, count: number): Usual {
  const weight = 1 / (windows + 1)
  const strays = windows === 0 ? 0 : Math.abs(count - mean)
  return {
    mean: mean + weight * (count - mean),
    deviation: deviation + weight * (strays - deviation),
    windows: windows + 1,
  }
}

export class VolumeDetector implements Detector {
  private readonly limits: VolumeThresholds
  /** Of the identity, that what is usual is known from; 0: from this one alone. */
  private readonly sessions: number
  private readonly baselines: Readonly<Record<Counted, Baseline>>
  private counts = NO_COUNTS()
  private readonly uids = new Latest<string>(EVIDENCE_MAX)
  private windowEndMs = 0
  private readonly burst: Sliding
  private readonly burstUids = new Latest<string>(EVIDENCE_MAX)
  private readonly burstTelling: Telling
  private readonly minute = new Sliding(MINUTE_MS, MINUTE_PARTS)
  private readonly minuteUids = new Latest<string>(EVIDENCE_MAX)
  private readonly minuteTelling = new Telling(MINUTE_MS)

  /** `history` null: nothing is kept of this identity. */
  constructor(limits: Partial<VolumeThresholds> = {}, history: History | null = null) {
    this.limits = { ...VOLUME_DEFAULTS, ...limits }
    const isSettled = history !== null && history.sessions >= this.limits.minSessions
    const usual = isSettled ? history.usual(this.limits.windowMs) : {}
    this.sessions = Object.keys(usual).length > 0 && history !== null ? history.sessions : 0
    this.burst = new Sliding(this.limits.burstMs, BURST_PARTS)
    this.burstTelling = new Telling(this.limits.burstMs)
    const { calls, execs, connects, names, bytes } = usual
    this.baselines = {
      ...{ calls: new Baseline(calls), execs: new Baseline(execs), connects: new Baseline(connects) },
      ...{ names: new Baseline(names), bytes: new Baseline(bytes) },
    }
  }

  fact(fact: Fact, _: ToolCall | null): readonly Finding[] {
    const counted = countedIn(fact)
    if (counted === null) return NONE
    const count = fact.kind === 'attempt' ? fact.count : fact.kind === 'closed' ? fact.bytes : 1
    const found = this.count(counted, count, fact)
    return counted === 'connects' && !isLocal(fact) ? [...found, ...this.inBurst(fact, count)] : found
  }

  began({ call }: CallInput): readonly Finding[] {
    const at = { timeMs: call.startMs, uid: call.uid }
    return [...this.count('calls', 1, at), ...this.perMinute(at)]
  }

  learned(): Pick<Learned, 'volume' | 'windowMs'> {
    const volume = Object.fromEntries(COUNTED.map((counted) => [counted, this.baselines[counted].usual]))
    return { volume, windowMs: this.limits.windowMs }
  }

  private count(counted: Counted, count: number, { timeMs, uid }: { timeMs: number; uid: string }): readonly Finding[] {
    const found = this.closeWindows(timeMs)
    this.counts[counted] += count
    this.uids.push(uid)
    return found
  }

  private closeWindows(timeMs: number): readonly Finding[] {
    const { windowMs } = this.limits
    if (this.windowEndMs === 0) this.windowEndMs = timeMs + windowMs
    const findings: Finding[] = []
    for (let closed = 0; timeMs >= this.windowEndMs; closed += 1) {
      if (closed > IDLE_WINDOWS_MAX) this.windowEndMs = timeMs
      for (const counted of COUNTED) {
        const count = this.counts[counted]
        const baseline = this.baselines[counted].take(count, this.limits, LEAST[counted])
        if (baseline !== null) findings.push(this.sustained(counted, count, baseline))
      }
      this.counts = NO_COUNTS()
      this.windowEndMs += windowMs
    }
    return findings
  }

  private sustained(counted: Counted, measured: number, baseline: number): Finding {
    const seconds = this.limits.windowMs / 1000
    const what = counted === 'calls' ? 'tool-call volume' : `volume of ${counted}`
    const { sessions } = this
    const known = sessions === 0 ? 'of this session' : `of this agent, from ${sessions} earlier sessions`
    return {
      ...{ detector: 'volume', severity: 'medium', title: 'More than is usual', evidence: this.uids.all() },
      reason: `anomalous ${what}: observed ${measured}, baseline ${baseline.toFixed(1)} (${known}), window ${seconds} s, and not for the first time`,
      ...{ measured, threshold: LEAST[counted], baseline, windowMs: this.limits.windowMs },
    }
  }

  private inBurst({ timeMs, uid }: Fact, count: number): readonly Finding[] {
    const { burst, burstMs } = this.limits
    this.burstUids.push(uid)
    const measured = this.burst.add(timeMs, count)
    if (!this.burstTelling.tells(measured >= burst, timeMs)) return NONE
    return [
      {
        ...{ detector: 'volume', severity: 'medium', title: 'A burst of connections' },
        reason: `${measured} connections within ${burstMs / 1000} s`,
        ...{ evidence: this.burstUids.all(), measured, threshold: burst, baseline: null, windowMs: burstMs },
      },
    ]
  }

  private perMinute({ timeMs, uid }: { timeMs: number; uid: string }): readonly Finding[] {
    const { callsPerMinute } = this.limits
    this.minuteUids.push(uid)
    const measured = this.minute.add(timeMs, 1)
    if (!this.minuteTelling.tells(measured > callsPerMinute, timeMs)) return NONE
    return [
      {
        ...{ detector: 'volume', severity: 'medium', title: 'More tool calls than an agent makes' },
        reason: `${measured} tool calls within a minute`,
        ...{
          evidence: this.minuteUids.all(),
          measured,
          threshold: callsPerMinute,
          baseline: null,
          windowMs: MINUTE_MS,
        },
      },
    ]
  }
}

const NO_COUNTS = (): Record<Counted, number> => ({ calls: 0, execs: 0, connects: 0, names: 0, bytes: 0 })

function countedIn({ kind }: Fact): Counted | null {
  if (kind === 'exec') return 'execs'
  if (kind === 'attempt') return 'connects'
  if (kind === 'name') return 'names'
  return kind === 'closed' ? 'bytes' : null
}

/** Unix sockets lead nowhere else. */
function isLocal(fact: Fact): boolean {
  return fact.kind === 'attempt' && fact.target.startsWith('unix ')
}

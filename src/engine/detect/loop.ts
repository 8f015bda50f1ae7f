/**
 * `loop`: the agent does the same again though nothing has changed: one call, a cycle of calls, or calls that differ by a word; or one thing
 * that fails the same way over and over. Calls that our own policy refused are `retry_storm`'s. Guards that an edit in between ends
 * every streak. One finding a streak, and another one when it is twice as long.
 */
import { type Sketch, similarity } from './alike.js'
import { Latest } from './bounded.js'
import type { Fact } from './fact.js'
import {
  type CallInput,
  type Detector,
  EVIDENCE_MAX,
  evidenceOf,
  type Finding,
  NONE,
  type Severity,
} from './finding.js'
import { hash32, hash53 } from './hash.js'
import type { ToolCall } from './tool-call.js'

export interface LoopThresholds {
  /** The same call so often in a window. */
  readonly repeats: number
  readonly window: number
  /** A cycle so often. */
  readonly cycles: number
  readonly period: number
  readonly similar: number
  /** Share of words that two calls have in common. */
  readonly similarity: number
  readonly failures: number
}

export const LOOP_DEFAULTS: LoopThresholds = Object.freeze({
  ...{ repeats: 5, window: 30, cycles: 4, period: 8, similar: 8, similarity: 0.85, failures: 8 },
})

/** What is kept of a call. */
interface Seen {
  readonly number: number
  readonly uid: string
  readonly key: number
  readonly verb: string
  readonly sketch: Sketch
  denied: boolean
  /** What it changed in the workspace, by number. */
  changed: readonly number[]
  /** It changed more than is kept. */
  changedMore: boolean
}

/** That were told of. */
const STREAKS_MAX = 16
/** Of each call. */
const CHANGED_MAX = 16
const NOTHING_CHANGED: readonly number[] = Object.freeze([])

type Rule = 'repeat' | 'cycle' | 'similar' | 'failing'

export class LoopDetector implements Detector {
  private readonly limits: LoopThresholds
  private workspace = ''
  /** Latest last. */
  private readonly seen: Seen[] = []
  /** The latest call when the workspace was changed by no call, or by one that had been overtaken. */
  private changedAfter = 0
  /** How long a streak is, longer than the window, and was when it was told; by rule and what it is of. Of too many the oldest is forgotten. */
  private readonly streaks = new Map<number, { length: number; told: number }>()
  private failing = { verb: '', code: 0, count: 0 }
  private readonly failed = new Latest<string>(EVIDENCE_MAX)

  constructor(limits: Partial<LoopThresholds> = {}) {
    this.limits = { ...LOOP_DEFAULTS, ...limits }
  }

  fact(fact: Fact, call: ToolCall | null): readonly Finding[] {
    if (fact.kind === 'started') this.workspace = fact.workdir
    else if (fact.kind === 'mutation') this.changed(fact.paths, call)
    else if ((fact.kind === 'attempt' || fact.kind === 'name') && fact.denied) {
      const seen = this.of(call)
      if (seen !== undefined) seen.denied = true
    }
    return NONE
  }

  began({ call, command: { key, verb, sketch, said } }: CallInput): readonly Finding[] {
    const { number, uid } = call
    const own = { number, uid, key, verb, sketch, denied: false, changed: NOTHING_CHANGED, changedMore: false }
    this.seen.push(own)
    if (this.seen.length > this.limits.window) this.seen.shift()
    const repeats = this.streakOf(
      'repeat',
      this.quiet((one) => one.key === key),
      { key, said, threshold: this.limits.repeats },
    )
    if (repeats.length > 0) return repeats
    const cycle = this.cycle(said)
    return cycle.length > 0 ? cycle : this.alike(own, said)
  }

  ended({ call }: CallInput): readonly Finding[] {
    const seen = this.of(call)
    const { exit } = call
    if (seen === undefined) return NONE
    const { failing } = this
    const code = exit?.code ?? 0
    const failed = exit !== null && (code !== 0 || exit.signal !== 0) && !seen.denied
    if (!failed) this.failing = { verb: '', code: 0, count: 0 }
    else if (failing.count > 0 && failing.verb === seen.verb && failing.code === code) failing.count += 1
    else this.failing = { verb: seen.verb, code, count: 1 }
    if (!failed) return NONE
    this.failed.push(seen.uid)
    const { count } = this.failing
    const uids = this.failed.all().slice(-count)
    const of = {
      key: hash53(seen.verb),
      said: `${code} ${seen.verb}`,
      threshold: this.limits.failures,
      measured: count,
    }
    return this.streakOf(
      'failing',
      uids.map((uid) => ({ ...seen, uid })),
      of,
    )
  }

  /** Edits are alike, too: where words differ any change counts. Those that are the same are told already. */
  private alike({ sketch, verb }: Seen, said: string): readonly Finding[] {
    const alike = this.after((one) => this.breaks(one, [])).filter(
      (one) => similarity(one.sketch, sketch) >= this.limits.similarity,
    )
    const isMore = new Set(alike.map((one) => one.key)).size > 1
    return isMore ? this.streakOf('similar', alike, { key: hash53(verb), said, threshold: this.limits.similar }) : NONE
  }

  private of(call: ToolCall | null): Seen | undefined {
    return call === null ? undefined : this.seen.findLast((one) => one.number === call.number)
  }

  private changed(paths: readonly string[], call: ToolCall | null): void {
    const inside = paths.filter((path) => this.isInside(path))
    if (inside.length === 0) return
    const seen = this.of(call)
    for (const path of seen === undefined ? [] : inside) noteChange(seen as Seen, hash32(path))
    const latest = this.seen.at(-1)?.number ?? 0
    if (call === null || call.number !== latest) this.changedAfter = latest
  }

  /** Calls behind the last one that made a difference. */
  private after(breaks: (seen: Seen) => boolean): Seen[] {
    const first = this.seen.findLastIndex((one) => one.number <= this.changedAfter || breaks(one))
    return this.seen.slice(first + 1).filter(({ denied }) => !denied)
  }

  /** A call that is made anew and writes the same as before makes no difference, nor does it to the calls around it. */
  private breaksRounds(seen: Seen): boolean {
    const same = this.seen.filter(({ key }) => key === seen.key)
    return this.breaks(seen, same.length > 1 ? [...same, seen] : [])
  }

  /** Calls of the kind that `isOwn` says, the current one last, between which nothing else has changed the workspace. */
  private quiet(isOwn: (seen: Seen) => boolean): Seen[] {
    const own = this.seen.filter(isOwn)
    const after = new Set(this.after((one) => this.breaks(one, own)))
    return own.filter((one) => after.has(one))
  }

  /** What a call writes every time it runs is its output, or a cache: no change for its own kind. */
  private breaks({ number, changed, changedMore }: Seen, own: readonly Seen[]): boolean {
    if (changedMore || changed.length === 0) return changedMore
    const others = own.slice(0, -1)
    if (!others.some((one) => one.number === number)) return own.at(-1)?.number !== number
    return !changed.every((path) => others.every((one) => one.changed.includes(path)))
  }

  private isInside(path: string): boolean {
    return this.workspace === '' || path === this.workspace || path.startsWith(`${this.workspace}/`)
  }

  /** The shortest cycle that the latest calls end with, which changed nothing but what each round changes. */
  private cycle(said: string): readonly Finding[] {
    const streak = this.after((one) => this.breaksRounds(one))
    const { cycles, period: longest } = this.limits
    for (let period = 2; period <= longest; period += 1) {
      const length = cyclicTail(streak, period)
      if (length < period * cycles) continue
      const rounds = Math.floor(length / period)
      const round = streak.slice(-period).map(({ key }) => key)
      const key = round.sort((a, b) => a - b).reduce((all, each) => hash53(`${all} ${each}`), 0)
      const of = { key, said, threshold: cycles, measured: rounds, period }
      return this.streakOf('cycle', streak.slice(-length), of)
    }
    return NONE
  }

  private streakOf(
    rule: Rule,
    calls: readonly Seen[],
    of: { key: number; said: string; threshold: number; measured?: number; period?: number },
  ): readonly Finding[] {
    const { key, said, threshold, measured: seen = calls.length, period = 1 } = of
    const streak = hash53(`${rule} ${key}`)
    const known = this.streaks.get(streak)
    this.streaks.delete(streak)
    if (calls.length === 0 || seen < threshold) return NONE
    const length = known === undefined ? seen : Math.max(seen, known.length + 1 / period)
    const measured = Math.floor(length)
    const isTold = known === undefined || measured >= 2 * known.told
    this.streaks.set(streak, { length, told: isTold ? measured : known.told })
    const [oldest] = this.streaks.keys()
    if (this.streaks.size > STREAKS_MAX && oldest !== undefined) this.streaks.delete(oldest)
    if (!isTold) return NONE
    const severity: Severity = measured >= 2 * threshold ? 'high' : 'medium'
    return [
      {
        ...{ detector: 'loop', severity, title: TITLES[rule], reason: REASONS[rule](measured, said, period) },
        ...{ evidence: evidenceOf(calls.map(({ uid }) => uid)), measured, threshold, baseline: null },
      },
    ]
  }
}

const TITLES: Readonly<Record<Rule, string>> = {
  repeat: 'The same call again and again',
  cycle: 'The same few calls in turns',
  similar: 'Nearly the same call again and again',
  failing: 'The same thing fails again and again',
}

const UNCHANGED = 'and nothing in the workspace changed in between'
const REASONS: Readonly<Record<Rule, (measured: number, said: string, period: number) => string>> = {
  repeat: (times, said) => `"${said}" was run ${times} times, ${UNCHANGED}`,
  cycle: (times, said, period) => `${period} calls, one of them "${said}", were repeated ${times} times, ${UNCHANGED}`,
  similar: (times, said) => `${times} calls hardly differ from "${said}", ${UNCHANGED}`,
  failing: (times, said) => {
    const [code = '', ...verb] = said.split(' ')
    return `"${verb.join(' ')}" failed ${times} times running with exit code ${code}`
  },
}

function noteChange(seen: Seen, path: number): void {
  if (seen.changed.includes(path)) return
  if (seen.changed.length >= CHANGED_MAX) seen.changedMore = true
  else seen.changed = [...seen.changed, path]
}

/** How many of the latest calls repeat with this period; a cycle of one call alone is a repeat. */
function cyclicTail(calls: readonly Seen[], period: number): number {
  const end = calls.length
  let length = Math.min(period, end)
  while (end - length - 1 >= 0 && calls[end - length - 1]?.key === calls[end - length - 1 + period]?.key) length += 1
  const keys = new Set(calls.slice(-period).map(({ key }) => key))
  return keys.size < 2 ? 0 : length
}

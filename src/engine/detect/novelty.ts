/**
 * `novelty`: what an identity uses that it did not use in its last sessions: hosts, programs, places where it writes. Gathered over sessions and
 * told as a list, once a week, at the end of one: a drift to look at, no alarm. Silent until enough sessions were seen.
 */
import { clipped } from './bounded.js'
import type { Fact } from './fact.js'
import { type Detector, type Finding, NONE } from './finding.js'
import { type History, ITEM_KINDS, type Item, type ItemKind, type Learned } from './history.js'
import { ReachedHosts } from './reached-hosts.js'

export interface NoveltyThresholds {
  /** Those of the identity that are looked back at. */
  readonly sessions: number
  readonly minSessions: number
  /** From one list to the next. */
  readonly everyMs: number
}

const WEEK_MS = 7 * 24 * 3_600_000
export const NOVELTY_DEFAULTS: NoveltyThresholds = Object.freeze({ sessions: 20, minSessions: 5, everyMs: WEEK_MS })
/** Of each kind, in one session. */
const ITEMS_MAX = 32
const NAME_CHARS_MAX = 80
const LISTED_MAX = 10
const PATH_LEVELS = 3

export class NoveltyDetector implements Detector {
  private readonly limits: NoveltyThresholds
  private readonly history: History | null
  private readonly hosts = new ReachedHosts()
  private readonly used: Readonly<Record<ItemKind, Set<string>>> = {
    host: new Set(),
    binary: new Set(),
    path: new Set(),
  }
  private workdir = ''
  private lastUid = ''
  private unlisted = 0

  /** `history` null: nothing is kept of this identity. */
  constructor(history: History | null, limits: Partial<NoveltyThresholds> = {}) {
    this.history = history
    this.limits = { ...NOVELTY_DEFAULTS, ...limits }
  }

  shed(): number {
    return this.unlisted
  }

  fact(fact: Fact): readonly Finding[] {
    if (fact.kind === 'started') this.workdir = fact.workdir
    if (fact.kind === 'ended') return this.drift(fact)
    if (this.history === null) return NONE
    if (fact.kind === 'exec' && fact.process !== null) this.note('binary', fact.process.exe, fact.uid)
    else if (fact.kind === 'mutation') for (const path of fact.paths) this.note('path', this.classOf(path), fact.uid)
    else if (fact.kind === 'attempt' || fact.kind === 'name') {
      const host = this.hosts.newIn(fact)
      if (host !== null) this.note('host', host, fact.uid)
    }
    return NONE
  }

  learned(): Pick<Learned, 'items' | 'lookBack' | 'settling'> {
    return { items: this.items(), lookBack: this.limits.sessions, settling: this.limits.minSessions }
  }

  private items(): Item[] {
    return ITEM_KINDS.flatMap((kind) => [...this.used[kind]].map((name): Item => ({ kind, name })))
  }

  private note(kind: ItemKind, name: string, uid: string): void {
    const used = this.used[kind]
    const item = clipped(name, NAME_CHARS_MAX)
    if (item === '' || used.has(item)) return
    if (used.size >= ITEMS_MAX) this.unlisted += 1
    else {
      used.add(item)
      this.lastUid = uid
    }
  }

  /** The same in every workspace. */
  private classOf(path: string): string {
    const { workdir } = this
    const isInside = workdir !== '' && path.startsWith(`${workdir}/`)
    const own = isInside ? `$WORKDIR${path.slice(workdir.length)}` : path
    const parts = own.split('/', PATH_LEVELS + 2)
    return parts.slice(0, Math.min(parts.length - 1, isInside ? 2 : PATH_LEVELS + 1)).join('/')
  }

  private drift({ timeMs, uid }: Fact): readonly Finding[] {
    const { history, limits } = this
    if (history === null || history.sessions < limits.minSessions) return NONE
    const since = history.driftSinceMs ?? timeMs
    if (timeMs - since < limits.everyMs) return NONE
    const drift = [...history.drift, ...history.news(this.items(), limits.sessions)]
    if (drift.length === 0) return NONE
    const listed = drift.slice(0, LISTED_MAX).map(({ kind, name }) => `${kind} ${name}`)
    const more = drift.length > listed.length ? ` and ${drift.length - listed.length} more` : ''
    return [
      {
        ...{ detector: 'novelty', severity: 'info', title: 'What this agent has not used before' },
        reason: `new since ${new Date(since).toISOString().slice(0, 10)}: ${listed.join(', ')}${more}`,
        evidence: this.lastUid === '' ? [uid] : [this.lastUid],
        ...{ measured: drift.length, threshold: 1, baseline: history.sessions },
      },
    ]
  }
}

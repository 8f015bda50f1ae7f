/**
 * The alerts of a node, made of its events: detections of one detector in one session are one alert with a count, what was done about it is a part of it,
 * and it is over when the session is, or when nothing more was found for a while and nothing is held because of it. Guards that no detection goes without
 * an alert, however many there are, that the same event counts once, and that what is kept is bounded. It has no clock. Not here: who is told, and how.
 */
import { type EventJson, eventKind, type ResponseJson } from '../../proto/event-json.js'
import { textToUnixNs } from '../../proto/time-text.js'
import { SINK_SEVERITIES, type SinkSeverity } from '../../schema/sink-settings.js'
import type { Alert, AlertPace } from './alert.js'

const NS_PER_MS = 1_000_000n
const ALERTS_MAX = 1_000
const EVIDENCE_MAX = 16
/** Of detections, by which responses are found, and what comes again is known. */
const UIDS_MAX = 64
const TEXT_MAX = 2_000
const MANY = 'many'

/** Nothing; that there was more of the same; what a person should know at once. */
type News = 'none' | 'more' | 'now'

/** Also as it is kept on disk. */
export interface Kept {
  alert: Alert
  /** Of the latest detection, by our clock. */
  seenMs: number
  uids: readonly string[]
  news: News
  /** By our clock; null: not yet. */
  firstToldMs: number | null
  toldMs: number | null
  /** Why there can't be more of it. */
  ended: { readonly atMs: number; readonly why: string } | null
}

export interface AlertBookOptions {
  readonly minSeverity: SinkSeverity
  /** Without another detection it is over after so long. */
  readonly quietMs: number
}

export class AlertBook {
  private readonly options: AlertBookOptions
  private readonly all = new Map<string, Kept>()
  private bootId = ''
  /** Whether it is another than when this was last set to false. */
  isChanged = false

  /** @param before as `kept` was */
  constructor(options: AlertBookOptions, before: readonly Kept[] = []) {
    this.options = options
    for (const each of before) this.all.set(keyOf(each.alert), each)
  }

  get kept(): Kept[] {
    return [...this.all.values()]
  }

  /** @returns whether it said anything */
  take(event: EventJson, nowMs: number): boolean {
    this.endOtherBoots(event)
    switch (eventKind(event)) {
      case 'detection':
        return this.found(event as Found, nowMs)
      case 'response':
        return this.responded((event as EventJson & { response: ResponseJson }).response)
      case 'sandboxEnded':
        return this.end(({ alert }) => alert.sessionId === event.sessionId, event, 'its session ended')
      default:
        return false
    }
  }

  /** One that somebody wants to be told of, whether it was or not. */
  again(event: EventJson, nowMs: number): void {
    this.take(event, nowMs)
    const each = this.kept.find(({ uids }) => uids.includes(event.uid))
    if (each !== undefined) this.change(each, {}, 'now')
  }

  /** What is over now. */
  tick(nowMs: number, { openMinMs }: AlertPace): void {
    for (const each of this.all.values()) {
      // A clock that went back would keep it for as long as that.
      each.seenMs = Math.min(each.seenMs, nowMs)
      if (each.toldMs !== null) each.toldMs = Math.min(each.toldMs, nowMs)
      if (each.firstToldMs !== null) each.firstToldMs = Math.min(each.firstToldMs, nowMs)
      const { alert, firstToldMs } = each
      // Whoever was never told of it would not be told of it any more.
      if (alert.resolved !== null || firstToldMs === null || nowMs - firstToldMs < openMinMs) continue
      const isQuiet = nowMs - each.seenMs >= this.options.quietMs && !alert.done.some((done) => isHeld(done, nowMs))
      const over = each.ended ?? (isQuiet ? { atMs: nowMs, why: 'nothing more was found' } : null)
      if (over === null) continue
      this.change(each, { resolved: { ...over, atMs: Math.max(over.atMs, alert.firstMs) } }, 'now')
    }
  }

  /** Whom to tell of, the most severe first, then the oldest. */
  due(nowMs: number, { updateMs, resendMs }: AlertPace): Alert[] {
    const isDue = ({ news, toldMs }: Kept) =>
      toldMs === null ||
      news === 'now' ||
      (news === 'more' && nowMs - toldMs >= updateMs) ||
      (resendMs !== null && nowMs - toldMs >= resendMs)
    const found = this.kept.filter(isDue).map(({ alert }) => alert)
    return found.sort((a, b) => rank(b.severity) - rank(a.severity) || a.firstMs - b.firstMs)
  }

  /** @param alert as it was told */
  told(alert: Alert, nowMs: number): void {
    const each = this.all.get(keyOf(alert))
    if (each === undefined) return
    this.isChanged = true
    each.toldMs = nowMs
    each.firstToldMs ??= nowMs
    if (each.alert === alert) each.news = 'none'
    if (each.alert.resolved !== null && each.alert === alert) this.all.delete(keyOf(alert))
  }

  private found(event: Found, nowMs: number): boolean {
    const severity = SINK_SEVERITIES.find((known) => known === event.detection.severity) ?? 'INFO'
    if (rank(severity) < rank(this.options.minSeverity)) return false
    const fresh = newAlert(event, severity)
    const each = this.all.get(keyOf(fresh))
    if (each !== undefined && each.alert.resolved === null) {
      if (each.uids.includes(event.uid)) return true
      this.more(each, fresh, nowMs)
    } else if (each !== undefined || this.hasRoom()) this.begin(each, fresh, nowMs)
    else this.oneOfMany(fresh, nowMs)
    return true
  }

  /** @param before over, and nobody was told: they are told of the new one, as which it goes on */
  private begin(before: Kept | undefined, fresh: Alert, nowMs: number): void {
    this.isChanged = true
    this.all.set(keyOf(fresh), {
      ...{ alert: fresh, seenMs: nowMs, uids: [fresh.id], news: 'now', ended: null },
      ...{ firstToldMs: before?.firstToldMs ?? null, toldMs: before?.toldMs ?? null },
    })
  }

  private more(each: Kept, fresh: Alert, nowMs: number): void {
    const { alert } = each
    each.seenMs = nowMs
    each.uids = [...each.uids, fresh.id].slice(-UIDS_MAX)
    const changes = {
      ...{ count: alert.count + 1, detection: fresh.detection, lastMs: Math.max(alert.lastMs, fresh.lastMs) },
      evidence: [...new Set([...alert.evidence, ...fresh.evidence])].slice(-EVIDENCE_MAX),
    }
    this.change(each, changes, each.news === 'now' ? 'now' : 'more')
  }

  private responded(response: ResponseJson): boolean {
    const each = this.kept.find(({ uids, alert }) => alert.resolved === null && isOf(response, uids, alert))
    if (each === undefined) return false
    const others = each.alert.done.filter(({ action }) => action !== response.action)
    const done = { ...response, observed: response.observed.slice(0, TEXT_MAX) }
    // That it is asked for is told with whether it took.
    const news = response.state === 'REQUESTED' ? each.news : 'now'
    this.change(each, { done: [...others, done] }, news)
    return true
  }

  /** A node that was started anew has none of the sessions that it had. */
  private endOtherBoots(event: EventJson): void {
    const { bootId } = event.node
    if (bootId === '' || bootId === this.bootId) return
    this.bootId = bootId
    this.end(({ alert }) => alert.node.bootId !== bootId, event, 'the machine was started anew')
  }

  private end(isOver: (each: Kept) => boolean, event: EventJson, why: string): boolean {
    let some = false
    for (const each of this.all.values()) {
      if (each.ended !== null || !isOver(each)) continue
      each.ended = { atMs: msOf(event), why }
      this.isChanged = true
      some = true
    }
    return some
  }

  /** Those that were told go first: the least severe one, the oldest of them. */
  private hasRoom(): boolean {
    if (this.all.size < ALERTS_MAX) return true
    const least = this.kept
      .filter(({ news, toldMs }) => news === 'none' && toldMs !== null)
      .reduce<Kept | null>((found, each) => (found !== null && !isLess(each, found) ? found : each), null)
    return least !== null && this.all.delete(keyOf(least.alert))
  }

  /** Nobody could be told of so many one by one. */
  private oneOfMany(fresh: Alert, nowMs: number): void {
    const nowhere = { sandbox: { id: '', name: '', agent: '', task: '' }, sessionId: '' }
    const title = 'More detections than there is room for alerts'
    const reason = `besides ${ALERTS_MAX} alerts that nobody was told of yet; the latest: ${fresh.detection.reason}`
    const detection = { ...fresh.detection, detector: MANY, title, reason: reason.slice(0, TEXT_MAX) }
    const many = { ...fresh, ...nowhere, detection }
    const each = this.all.get(keyOf(many))
    if (each?.uids.includes(fresh.id)) return
    if (each === undefined) this.begin(undefined, many, nowMs)
    else this.more(each, many, nowMs)
  }

  private change(each: Kept, changes: Partial<Alert>, news: News): void {
    each.alert = { ...each.alert, ...changes }
    each.news = news
    this.isChanged = true
  }
}

type Found = Extract<EventJson, { detection: unknown }>

function newAlert(event: Found, severity: SinkSeverity): Alert {
  const { evidence, ...detection } = event.detection
  const { id, name, agent, task } = event.sandbox
  const atMs = msOf(event)
  return {
    ...{ id: event.uid, severity, node: event.node, sandbox: { id, name, agent, task }, sessionId: event.sessionId },
    detection: { ...detection, reason: detection.reason.slice(0, TEXT_MAX), title: detection.title.slice(0, TEXT_MAX) },
    ...{ count: 1, firstMs: atMs, lastMs: atMs, evidence: evidence.slice(-EVIDENCE_MAX), done: [], resolved: null },
  }
}

/** What is told of it never changes in these. */
function keyOf({ node, sandbox, sessionId, detection, severity }: Alert): string {
  return JSON.stringify([node.name, sandbox.id, sessionId, detection.detector, severity])
}

function isOf(response: ResponseJson, uids: readonly string[], alert: Alert): boolean {
  return uids.includes(response.trigger) || alert.done.some(({ trigger }) => trigger === response.trigger)
}

function isHeld({ state, until }: ResponseJson, nowMs: number): boolean {
  return state === 'APPLIED' && (until === null || Number(textToUnixNs(until) / NS_PER_MS) > nowMs)
}

function isLess(a: Kept, b: Kept): boolean {
  const by = rank(a.alert.severity) - rank(b.alert.severity)
  return by < 0 || (by === 0 && a.seenMs < b.seenMs)
}

function rank(severity: SinkSeverity): number {
  return SINK_SEVERITIES.indexOf(severity)
}

function msOf({ time }: EventJson): number {
  return Number(textToUnixNs(time) / NS_PER_MS)
}

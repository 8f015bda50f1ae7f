/**
 * One receiver of alerts: what is in the spool becomes alerts, and the receiver is told of what is new. Guards that no detection is forgotten before
 * the receiver knows of it, or it is on disk; that a receiver which is down is told everything when it is back, each alert once with its count; and that it is
 * never asked more often than it likes. Not here: what an alert is (alert-book.ts), and how it travels (the transports).
 */
import { setImmediate as turn } from 'node:timers/promises'
import { reasonOf } from '../../base/error.js'
import type { Log } from '../../base/log.js'
import type { EventJson, EventKind } from '../../proto/event-json.js'
import type { AlertSettings } from '../../schema/sink-settings.js'
import type { Cursors } from '../cursors.js'
import type { DeadLetters } from '../dead-letters.js'
import { type SinkCounts, SinkHealth } from '../sink-health.js'
import { SinkWork } from '../sink-work.js'
import type { Place, SpoolReader } from '../spool-reader.js'
import type { SpooledEvent } from '../spooled-event.js'
import { type Alert, type AlertOutcome, type AlertTransport, QUIET_SECONDS } from './alert.js'
import { AlertBook, type Kept } from './alert-book.js'
import { AlertState } from './alert-state.js'

const POLL_MS = 100
/** One write for all that came meanwhile. */
const SAVE_MS = 500
/** Between two of those it also tells, and the other sinks of the process have their turn. */
const READS_MAX = 4
/** The others say nothing to alerts, and are most. */
const OF_ALERTS: ReadonlySet<EventKind> = new Set(['detection', 'response', 'sandboxEnded', 'sandboxStarted'])

export interface AlertSinkParts {
  readonly name: string
  readonly settings: AlertSettings
  /** Of the spool. */
  readonly folder: string
  readonly reader: SpoolReader
  readonly cursors: Cursors
  readonly dead: DeadLetters
  readonly transport: AlertTransport
  readonly log: Log
  /** Of the first wait after a failure. */
  readonly retryMinMs?: number
  random?(): number
}

export class AlertSink {
  readonly name: string
  private readonly parts: AlertSinkParts
  private readonly health: SinkHealth
  private readonly book: AlertBook
  private readonly state: AlertState
  private readonly work = new SinkWork()
  private place: Place | null
  /** That the disk knows of. */
  private saved: Place | null
  private savedAtMs = 0
  private notBeforeMs = 0
  private unwritten = false

  constructor(parts: AlertSinkParts) {
    this.parts = parts
    this.name = parts.name
    this.health = new SinkHealth(parts)
    this.state = new AlertState(parts.folder, parts.name)
    const before = this.state.read(parts.log)
    this.book = bookFor(parts.settings, before.alerts)
    this.place = furthest(parts.cursors.of(parts.name), before.place)
    this.saved = this.place
  }

  get counts(): SinkCounts {
    return this.health.counts
  }

  get position(): number {
    return this.place?.position ?? 0
  }

  start(): void {
    this.work.start(() => this.run())
  }

  /** What is in the spool is still told of once, until `deadline` is aborted. */
  async stop(deadline: AbortSignal): Promise<void> {
    await this.work.finish(deadline)
    this.save()
    await this.parts.transport.close()
  }

  private async run(): Promise<void> {
    while (!this.work.isGivenUp) {
      let hasRead = false
      try {
        hasRead = this.readSome() || this.readAgain()
        this.book.tick(Date.now(), this.parts.transport.pace)
        if (performance.now() - this.savedAtMs >= SAVE_MS) this.save()
        if (performance.now() >= this.notBeforeMs) await this.tell()
      } catch (error) {
        this.later({ reason: reasonOf(error), afterMs: 0 })
      }
      if (hasRead) {
        await turn()
        continue
      }
      const isWaiting = this.counts.isFailing || this.due().length === 0
      if (this.work.isFinishing && isWaiting) return
      await this.work.wait(POLL_MS)
    }
  }

  /** Reading goes on while a receiver is down: what is of one alert is one. */
  private readSome(): boolean {
    let reads = 0
    for (; reads < READS_MAX && !this.work.isGivenUp; reads++) {
      const read = this.parts.reader.read(this.place)
      if (read === null) break
      for (const event of read.events) this.take(event)
      this.place = read.next
    }
    return reads > 0
  }

  /** What was refused, and somebody wants to be told again. */
  private readAgain(): boolean {
    const wanted = this.parts.dead.wanted()
    if (wanted === null) return false
    for (const { event } of wanted) this.book.again(event, Date.now())
    this.save()
    if (!this.unwritten) this.parts.dead.done()
    return !this.unwritten
  }

  private take(event: SpooledEvent): void {
    if (!OF_ALERTS.has(event.kind) || !this.book.take(event.json, Date.now())) this.counts.filtered++
  }

  private due(): Alert[] {
    return this.book.due(Date.now(), this.parts.transport.pace)
  }

  private async tell(): Promise<void> {
    const due = this.due().slice(0, this.parts.transport.pace.alertsMax)
    if (due.length === 0) return
    const outcome = await this.attempt(due)
    if (outcome.state === 'taken') this.took(due)
    else if (outcome.state === 'later') this.later(outcome)
    else await this.oneByOne(due, outcome.reason)
  }

  /** One of them is refused, and the others are not to suffer for it. */
  private async oneByOne(alerts: readonly Alert[], reason: string): Promise<void> {
    for (const alert of alerts) {
      const outcome: AlertOutcome =
        alerts.length === 1 ? { state: 'refused', reason } : await this.attemptInTime([alert])
      if (outcome.state === 'later') return this.later(outcome)
      if (outcome.state === 'refused') this.putAside(alert, outcome.reason)
      else this.took([alert])
    }
  }

  private async attemptInTime(alerts: readonly Alert[]): Promise<AlertOutcome> {
    await this.work.wait(this.parts.transport.pace.gapMs)
    return this.attempt(alerts)
  }

  private async attempt(alerts: readonly Alert[]): Promise<AlertOutcome> {
    try {
      return await this.parts.transport.send(alerts, this.work.signal)
    } catch (error) {
      return { state: 'later', reason: reasonOf(error), afterMs: 0 }
    }
  }

  private took(alerts: readonly Alert[]): void {
    for (const alert of alerts) this.book.told(alert, Date.now())
    this.counts.delivered += alerts.length
    this.health.well()
    this.notBeforeMs = performance.now() + this.parts.transport.pace.gapMs
  }

  private later({ reason, afterMs }: { reason: string; afterMs: number }): void {
    if (this.work.isGivenUp) return
    this.notBeforeMs = performance.now() + this.health.failed(reason, afterMs)
  }

  private putAside(alert: Alert, reason: string): void {
    const left = this.parts.dead.add([{ event: asEvent(alert), reason }], new Date())
    this.counts.dead++
    this.parts.log.error(
      { sink: this.name, alert: alert.id, detector: alert.detection.detector, left, reason },
      'a receiver refused an alert for good',
    )
    this.book.told(alert, Date.now())
    this.notBeforeMs = performance.now() + this.parts.transport.pace.gapMs
  }

  /** The spool may forget what these alerts were made of when they are on disk, not before. */
  private save(): void {
    this.savedAtMs = performance.now()
    const { place, book } = this
    try {
      if (book.isChanged) this.state.write(place, book.kept)
      book.isChanged = false
      if (place !== null && place !== this.saved) this.parts.cursors.save(this.name, place)
      this.saved = place
      this.unwritten = false
    } catch (error) {
      const told = { sink: this.name, error: reasonOf(error) }
      if (!this.unwritten)
        this.parts.log.error(told, 'the alerts of a sink can not be saved; the spool keeps their events')
      this.unwritten = true
    }
  }
}

export function bookFor(
  { minSeverity = 'MEDIUM', quietSeconds = QUIET_SECONDS }: AlertSettings,
  before: readonly Kept[] = [],
) {
  return new AlertBook({ minSeverity, quietMs: quietSeconds * 1_000 }, before)
}

/** What was saved of the alerts may be ahead of the cursor, which is saved behind it. */
function furthest(cursor: Place | null, alerts: Place | null): Place | null {
  if (cursor === null) return alerts
  return alerts !== null && alerts.spoolId === cursor.spoolId && alerts.position > cursor.position ? alerts : cursor
}

/** Its latest detection, as it can be told of again. */
function asEvent({ id, firstMs, node, sandbox, sessionId, detection, evidence }: Alert): EventJson {
  return {
    ...{
      schema: 1,
      source: 'sinks',
      node,
      uid: id,
      time: new Date(firstMs).toISOString().replace('Z', '000000Z'),
      seq: '0',
    },
    ...{ sandbox: { ...sandbox, cgroupId: '0', cgroupPath: '', labels: {} }, sessionId, toolCallId: '' },
    detection: { ...detection, evidence: [...evidence] },
  }
}

/**
 * One sink: what is in the spool goes to one receiver, batch by batch, in order, and its place moves on when the receiver has it. Guards that nothing
 * is given up while it may still arrive, that a receiver which fails or stalls is asked again ever more slowly and holds up nobody else, and
 * that what it will never take is put aside with the reason. Not here: how a batch travels (the transports).
 */
import { setImmediate as turn } from 'node:timers/promises'
import { reasonOf } from '../base/error.js'
import type { Log } from '../base/log.js'
import type { EventSinkSettings } from '../schema/sink-settings.js'
import type { Cursors } from './cursors.js'
import type { DeadLetters } from './dead-letters.js'
import type { Renderer } from './render.js'
import { type SinkCounts, SinkHealth } from './sink-health.js'
import { SinkWork } from './sink-work.js'
import type { Place, SpoolReader } from './spool-reader.js'
import type { Item, Outcome, Transport } from './transport.js'
import type { Underway } from './underway.js'

const POLL_MS = 100
const BATCH = { events: 500, kiB: 1_024, seconds: 1 }
const REASON_CHARS_MAX = 500

export interface SinkParts {
  readonly name: string
  readonly settings: EventSinkSettings
  readonly reader: SpoolReader
  readonly cursors: Cursors
  readonly dead: DeadLetters
  readonly underway: Underway
  readonly renderer: Renderer
  readonly transport: Transport
  readonly log: Log
  /** Of the first wait after a failure. */
  readonly retryMinMs?: number
  random?(): number
}

interface Batch {
  readonly items: readonly Item[]
  readonly place: Place | null
}

export class Sink {
  readonly name: string
  private readonly parts: SinkParts
  private readonly health: SinkHealth
  private readonly work = new SinkWork()
  private readonly limits: { events: number; bytes: number; ms: number }
  private place: Place | null

  constructor(parts: SinkParts) {
    this.parts = parts
    this.name = parts.name
    this.health = new SinkHealth(parts)
    const batch = { ...BATCH, ...parts.settings.batch }
    this.limits = {
      events: batch.events ?? BATCH.events,
      bytes: (batch.kiB ?? BATCH.kiB) * 1_024,
      ms: (batch.seconds ?? BATCH.seconds) * 1_000,
    }
    this.place = parts.cursors.of(parts.name)
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

  /** What is in the spool still goes out, until `deadline` is aborted. */
  async stop(deadline: AbortSignal): Promise<void> {
    await this.work.finish(deadline)
    await this.parts.transport.close()
  }

  private async run(): Promise<void> {
    while (!this.work.isGivenUp) {
      try {
        const again = this.wantedAgain()
        for (const items of again ?? []) if (!(await this.deliver(items))) return
        if (again !== null) this.parts.dead.done()
        const batch = await this.nextBatch()
        if (!(await this.deliver(batch.items))) return
        // Also where we are to stop by now: what arrived need not come again.
        this.moveTo(batch.place)
        // Also where nothing was for it: the other sinks of the process have their turn.
        await turn()
        if (batch.place !== null) continue
      } catch (error) {
        if (this.work.isGivenUp) return
        await this.work.wait(this.health.failed(reasonOf(error)))
        continue
      }
      if (this.work.isFinishing) return
      await this.work.wait(POLL_MS)
    }
  }

  /** Where the receiver knows batches: the one that was begun, if it may not have arrived. */
  private async nextBatch(): Promise<Batch> {
    const { underway, transport } = this.parts
    if (transport.isKnownAgain !== true) return this.gather(null)
    const batch = await this.gather(underway.read())
    // One that was cut short by the end is not sent.
    if (batch.place !== null && batch.items.length > 0 && !this.work.isGivenUp) underway.write(batch.place)
    return batch
  }

  private moveTo(place: Place | null): void {
    if (place === null) return
    this.place = place
    this.parts.cursors.save(this.name, place)
  }

  /** `place` null: there is nothing. @param begun where a batch ends that was begun before; it may be behind us */
  private async gather(begun: Place | null): Promise<Batch> {
    const items: Item[] = []
    let place: Place | null = null
    let bytes = 0
    const startedMs = performance.now()
    const end = this.endOf(begun)
    while (items.length < this.limits.events && bytes < this.limits.bytes && !this.work.isGivenUp) {
      if (end !== null && place !== null && place.position >= end) break
      const read = this.parts.reader.read(place ?? this.place)
      if (read === null) {
        if (items.length === 0 || this.work.isFinishing || performance.now() - startedMs >= this.limits.ms) break
        await this.work.wait(Math.min(POLL_MS, this.limits.ms))
        continue
      }
      let taken = 0
      const first = read.next.position - read.events.length
      for (const event of read.events) {
        if (read.isWhole && first + taken === end) break
        if (read.isWhole && (items.length >= this.limits.events || bytes >= this.limits.bytes)) break
        taken++
        const item = this.parts.renderer.item(event)
        if (item === null) this.counts.filtered++
        else {
          items.push(item)
          bytes += item.text.length
        }
      }
      const { spoolId, position } = read.next
      place = { spoolId, position: position - (read.events.length - taken) }
      // A sink that takes little of much goes through it in steps.
      if (items.length === 0) break
    }
    return { items, place }
  }

  /** Null: that batch has arrived, or was of another spool. */
  private endOf(begun: Place | null): number | null {
    if (begun === null || begun.position <= this.position) return null
    return this.place === null || this.place.spoolId === begun.spoolId ? begun.position : null
  }

  private wantedAgain(): Item[][] | null {
    const wanted = this.parts.dead.wanted()
    if (wanted === null) return null
    const items = wanted.map(({ event }) => this.parts.renderer.rendered(event))
    const batches: Item[][] = []
    for (let at = 0; at < items.length; at += this.limits.events) batches.push(items.slice(at, at + this.limits.events))
    return batches
  }

  /** True when all of them have arrived or are put aside; false: we are to stop before that. */
  private async deliver(items: readonly Item[]): Promise<boolean> {
    let left = items
    while (left.length > 0) {
      if (this.work.isGivenUp) return false
      const outcome = await this.attempt(left)
      const { retry = [], dead = [], unnamed } = outcome
      if (this.work.isGivenUp && retry.length > 0) return false
      this.putAside(dead)
      this.counts.delivered += left.length - retry.length - dead.length - this.lost(unnamed)
      left = retry
      if (outcome.split === true && retry.length > 1) {
        const middle = Math.ceil(retry.length / 2)
        return (await this.deliver(retry.slice(0, middle))) && this.deliver(retry.slice(middle))
      }
      if (retry.length === 0) this.health.well()
      else await this.work.wait(this.health.failed(outcome.reason ?? 'the receiver did not take it', outcome.afterMs))
    }
    return true
  }

  private async attempt(items: readonly Item[]): Promise<Outcome> {
    try {
      return await this.parts.transport.send(items, this.work.signal)
    } catch (error) {
      return { retry: items, reason: reasonOf(error) }
    }
  }

  /** How many. They are counted, and that is all that is known of them. */
  private lost({ count, reason }: NonNullable<Outcome['unnamed']> = { count: 0, reason: '' }): number {
    this.counts.dead += count
    if (count > 0) {
      const told = reason.slice(0, REASON_CHARS_MAX)
      this.parts.log.error(
        { sink: this.name, count, reason: told },
        'a receiver refused events for good and says not which',
      )
    }
    return count
  }

  private putAside(dead: readonly { item: Item; reason: string }[]): void {
    if (dead.length === 0) return
    const { log } = this.parts
    const letters = dead.map(({ item, reason }) => ({ event: item.event, reason: reason.slice(0, REASON_CHARS_MAX) }))
    const left = this.parts.dead.add(letters, new Date())
    this.counts.dead += dead.length
    log.error(
      { sink: this.name, count: dead.length, left, reason: letters[0]?.reason },
      'a receiver refused events for good',
    )
  }
}

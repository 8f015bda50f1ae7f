/**
 * Out of the rings: reads both in passes, wraps what the addon encoded into batches and hands them on. No event is decoded here.
 *
 * When the engine can't keep up, `push` says so and reading stops: the rings absorb, then the kernel counts what it drops. What is
 * underway has a limit, and where it is kept is the outbox's business. Guards that the engine can always acknowledge enough of it for
 * reading to go on: it holds what is younger than the watermark, so every pass sends one, however it ended, and one ring is never read
 * further ahead of the other than the limit has room for.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Addon, Drained, RingReader } from '../native/addon.js'
import { ABI } from '../native/generated/abi.js'
import { BATCH_HEAD_BYTES, batchRequestInPlace, encodeBatchRequest, fromBigInt, type Long } from '../proto/codec.js'
import type { KernelSide } from './kernel-side.js'
import type { LossReader } from './losses.js'
import { type BatchFrame, KINDS_MAX } from './spool-record.js'

/** gRPC costs the same for a message whatever it carries; so many opens of ordinary paths come close to BATCH_BYTES. */
export const EVENTS_PER_BATCH = 1024
export const BATCH_BYTES = 256 * 1024
/** Batches of one ring in one pass; then the event loop gets its turn. Both rings' together fit what the engine holds to sort. */
const BATCHES_PER_PASS = 32
/**
 * Of the priority ring, what is read while the bulk ring was read less far. The engine can acknowledge no batch behind the first of
 * these before all that is older is out of the bulk ring too: both together fit what may be unacknowledged.
 */
export const AHEAD_BYTES_MAX = 4 * 1024 * 1024
/** Frames kept for the next batches: no more than may be unacknowledged at once when they are full. */
const SPARE_FRAMES_MAX = 64
/** A batch waits for its acknowledgement in its frame, or, if it is no larger than this, in a copy of its own size. */
const COPIED_BYTES_MAX = 64 * 1024
const NO_EVENTS = new Uint8Array(0)
const KIND_CGROUP = ABI.enums.SL_KIND_CGROUP
const NO_KINDS = new Uint32Array(KINDS_MAX)
const nothing = () => {}
/** A ring that was not looked at may hold something. */
const UNREAD: Readonly<RingPass> = { events: 0, bytes: 0, more: true }
/** Reading the counters costs a system call and a walk over all CPUs. */
const LOSS_INTERVAL_MS = 100

export interface UplinkOptions {
  addon: Addon
  kernel: KernelSide
  losses: LossReader
  /** The number of the next batch. */
  nextBatchSeq(): number
  readonly bootToUnixNs: bigint
  /** Keeps the frame until `done` is called. False = taken, but full: call `resume` when there is room again. */
  push(frame: BatchFrame, done: () => void): boolean
  flushMs: { priority: number; bulk: number }
  /** Called when the rings told that a cgroup was made or removed, before the watermark that says so. */
  cgroupsChanged?(): void
  /** Called when the rings told of something. */
  told?(): void
}

/** A frame to be: room for the header, then the events. One allocation, two views. */
interface FrameBuffer {
  readonly whole: Buffer
  readonly events: Buffer
}

interface PassResult {
  /** `more`: a ring held more than one pass takes. */
  outcome: 'more' | 'some' | 'none' | 'blocked'
  /** CLOCK_BOOTTIME in ns: what happened before it has been read. */
  reachedNs: bigint
}

/** One ring, and how far it was read. */
interface RingSide {
  readonly ring: RingReader
  /** As of the last batch, by kind. */
  taken: readonly number[]
  /** CLOCK_BOOTTIME in ns: what happened before is out of it. */
  reachedNs: bigint
}

/** What came of reading one ring. */
interface RingPass {
  events: number
  bytes: number
  more: boolean
}

export class Uplink {
  readonly #options: UplinkOptions
  /** Frames that are sent and can be filled again. */
  readonly #spare: FrameBuffer[] = []
  readonly #priority: RingSide
  readonly #bulk: RingSide
  /** Read of the priority ring since the bulk ring was read as far. */
  #aheadBytes = 0
  readonly #eventBytes: number
  readonly #bootToUnixNs: Long
  #blocked = false
  #stopped = false
  #unsettled = false
  #cgroupChanges = 0
  #timer: NodeJS.Timeout | null = null
  #immediate: NodeJS.Immediate | null = null
  #timerAt = Number.POSITIVE_INFINITY
  #lossesReadAt = Number.NEGATIVE_INFINITY
  #waiters: (() => void)[] = []

  constructor(options: UplinkOptions) {
    this.#options = options
    this.#eventBytes = Math.max(BATCH_BYTES, options.addon.maxEncodedEvent)
    this.#bootToUnixNs = fromBigInt(options.bootToUnixNs)
    this.#priority = { ring: options.kernel.priority, taken: [], reachedNs: 0n }
    this.#bulk = { ring: options.kernel.bulk, taken: [], reachedNs: 0n }
  }

  /** The first batch of a sensor: where the counters stand before it reads anything. */
  introduce(): void {
    this.#sendEnd({ watermarkNs: 0n, reportLosses: true })
    this.#unsettled = true
  }

  start(): void {
    this.#schedule(0)
  }

  /**
   * Sends facts of one kind, which no ring held, each as a whole `events` field of a batch, before anything that is read from now on. More than the
   * engine can take at once waits in memory: callers send what a cgroup's processes come to.
   */
  sendFacts(kind: number, facts: readonly Uint8Array[]): void {
    for (let at = 0; at < facts.length; ) {
      const batch: Uint8Array[] = []
      let size = 0
      while (at < facts.length && batch.length < EVENTS_PER_BATCH && size < BATCH_BYTES) {
        const fact = facts[at++] ?? NO_EVENTS
        batch.push(fact)
        size += fact.length
      }
      const { seq, header } = this.#next()
      const kinds = new Uint32Array(KINDS_MAX)
      kinds[kind] = batch.length
      const bytes = encodeBatchRequest({ ...header, eventCount: batch.length }, Buffer.concat(batch))
      this.#push({ seq, bytes, kinds }, nothing)
    }
    // A watermark has to follow them.
    this.#unsettled = true
    this.#schedule(0)
  }

  /** There is room again after a `push` that returned false. */
  resume(): void {
    this.#blocked = false
    const waiters = this.#waiters
    this.#waiters = []
    for (const wake of waiters) wake()
    this.#schedule(0)
  }

  /**
   * Reads all that happened before now, waiting for room as long as it takes; then reports the losses. What goes on happening
   * meanwhile does not hold it up.
   */
  async drainToEnd(): Promise<void> {
    const untilNs = this.#options.addon.bootTimeNs()
    while (!this.#stopped) {
      const { outcome, reachedNs } = this.#pass({ reportLosses: true })
      if (outcome !== 'blocked' && reachedNs >= untilNs) return
      if (outcome === 'blocked') await new Promise<void>((wake) => this.#waiters.push(wake))
      else await nextTurn()
    }
  }

  stop(): void {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    if (this.#immediate !== null) clearImmediate(this.#immediate)
    this.#options.kernel.priority.disarm()
    this.#options.kernel.bulk.disarm()
    for (const wake of this.#waiters) wake()
    this.#waiters = []
  }

  #armAll(): void {
    const { kernel, flushMs } = this.#options
    kernel.priority.arm(() => this.#schedule(flushMs.priority))
    kernel.bulk.arm(() => this.#schedule(flushMs.bulk))
  }

  /** One timer; an earlier need moves it forward. */
  #schedule(delayMs: number): void {
    if (this.#stopped || this.#blocked) return
    const at = performance.now() + delayMs
    if (this.#timer !== null) {
      if (this.#timerAt <= at) return
      clearTimeout(this.#timer)
    }
    this.#timerAt = at
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#turn()
    }, delayMs)
  }

  #turn(): void {
    const { kernel, flushMs } = this.#options
    const { outcome } = this.#pass({ reportLosses: performance.now() - this.#lossesReadAt >= LOSS_INTERVAL_MS })
    if (outcome === 'blocked') return
    if (outcome === 'none') {
      this.#armAll()
      return
    }
    if (outcome === 'more') {
      this.#immediate = setImmediate(() => this.#turn())
      return
    }
    // While events come, the next pass is due anyway; only what can't wait for it is woken for.
    kernel.priority.arm(() => this.#schedule(flushMs.priority))
    this.#schedule(flushMs.bulk)
  }

  /**
   * One turn of reading both rings, priority first. The batch that ends it carries the watermark: the time up to which both were read.
   * Records in a ring are in order of time, but for those of other CPUs in the same instant.
   */
  #pass({ reportLosses }: { reportLosses: boolean }): PassResult {
    const [priority, bulk] = [this.#priority, this.#bulk]
    if (this.#blocked) return { outcome: 'blocked', reachedNs: 0n }
    const beganNs = this.#options.addon.bootTimeNs()
    const first = this.#aheadBytes < AHEAD_BYTES_MAX ? this.#drainRing(priority, beganNs) : UNREAD
    const passes = [first, this.#blocked ? UNREAD : this.#drainRing(bulk, beganNs)]
    this.#aheadBytes = bulk.reachedNs < priority.reachedNs ? this.#aheadBytes + first.bytes : 0
    const events = passes.reduce((sum, pass) => sum + pass.events, 0)
    const reachedNs = bulk.reachedNs < priority.reachedNs ? bulk.reachedNs : priority.reachedNs
    if (events > 0) this.#tellOfCgroups()
    if (events > 0) this.#options.told?.()
    if (events > 0 || this.#unsettled || reportLosses) {
      this.#sendEnd({ watermarkNs: reachedNs, reportLosses })
      this.#unsettled = events > 0
    }
    if (this.#blocked) return { outcome: 'blocked', reachedNs }
    if (passes.some((pass) => pass.more)) return { outcome: 'more', reachedNs }
    return { outcome: events > 0 ? 'some' : 'none', reachedNs }
  }

  #tellOfCgroups(): void {
    const { kernel, cgroupsChanged } = this.#options
    if (cgroupsChanged === undefined) return
    const changes = [kernel.priority, kernel.bulk].reduce((sum, ring) => sum + (ring.taken()[KIND_CGROUP] ?? 0), 0)
    if (changes === this.#cgroupChanges) return
    this.#cgroupChanges = changes
    cgroupsChanged()
  }

  #drainRing(side: RingSide, nowNs: bigint): RingPass {
    const pass: RingPass = { events: 0, bytes: 0, more: true }
    for (let batch = 0; batch < BATCHES_PER_PASS && pass.more && !this.#blocked; batch += 1) {
      const frame = this.#spare.pop() ?? this.#newFrame()
      const drained = side.ring.drain(frame.events, EVENTS_PER_BATCH)
      pass.events += drained.events
      pass.bytes += drained.bytes
      pass.more = drained.more
      if (drained.lastTimeNs > side.reachedNs) side.reachedNs = drained.lastTimeNs
      if (drained.events > 0) this.#sendEvents(drained, frame, takenSince(side))
      else this.#recycle(frame)
    }
    if (!pass.more) side.reachedNs = nowNs
    return pass
  }

  #sendEvents(drained: Drained, frame: FrameBuffer, kinds: Uint32Array): void {
    const { seq, header } = this.#next()
    const bytes = batchRequestInPlace({ ...header, eventCount: drained.events }, frame.whole, drained.bytes)
    if (bytes.length > COPIED_BYTES_MAX) {
      this.#push({ seq, bytes, kinds }, () => this.#recycle(frame))
      return
    }
    this.#push({ seq, bytes: Buffer.from(bytes), kinds }, nothing)
    this.#recycle(frame)
  }

  /** The batch that ends a pass, or more where one can't take all losses. It has no events. */
  #sendEnd({ watermarkNs, reportLosses }: { watermarkNs: bigint; reportLosses: boolean }): void {
    if (reportLosses) this.#lossesReadAt = performance.now()
    const report = reportLosses ? this.#options.losses.changed() : {}
    const { seq, header } = this.#next()
    const bytes = encodeBatchRequest({ ...header, watermarkNs: fromBigInt(watermarkNs), ...report }, NO_EVENTS)
    this.#push({ seq, bytes, kinds: NO_KINDS }, nothing)
  }

  #push(frame: BatchFrame, done: () => void): void {
    if (!this.#options.push(frame, done)) this.#blocked = true
  }

  #next(): { seq: number; header: { batchSeq: Long; bootToUnixNs: Long } } {
    const seq = this.#options.nextBatchSeq()
    return { seq, header: { batchSeq: fromBigInt(BigInt(seq)), bootToUnixNs: this.#bootToUnixNs } }
  }

  #newFrame(): FrameBuffer {
    const whole = Buffer.allocUnsafeSlow(BATCH_HEAD_BYTES + this.#eventBytes)
    return { whole, events: whole.subarray(BATCH_HEAD_BYTES) }
  }

  #recycle(frame: FrameBuffer): void {
    if (this.#spare.length < SPARE_FRAMES_MAX) this.#spare.push(frame)
  }
}

/** By kind, what was taken out of the ring since the last time this was asked. */
function takenSince(side: RingSide): Uint32Array {
  const before = side.taken
  const now = side.ring.taken()
  side.taken = now
  return Uint32Array.from({ length: KINDS_MAX }, (_, kind) => (now[kind] ?? 0) - (before[kind] ?? 0))
}

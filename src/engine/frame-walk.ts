/**
 * Reads what a sensor sent without decoding it: which message it is, a batch's few header fields, and where each event lies (kind,
 * time and sandbox are its first fields). Guards against frames that lie about their lengths: nothing throws, a broken frame
 * comes back as `malformed`, or as a batch that tells how much of it could not be read. Not here: decoding one event.
 */

/** One event of a batch, still encoded: where it lies. Whoever keeps it keeps the whole frame alive. */
export class EventSlice {
  readonly kind: number
  /** CLOCK_BOOTTIME, for order only: exact up to 2^53 (104 days), then rounded. The event itself has it exactly. */
  readonly timeNs: number
  /** cgroup id of the sandbox's root, exact */
  readonly sandbox: number
  /** How many calls it tells of; set by who reads it. */
  happened = 1
  private readonly frame: Uint8Array
  private readonly start: number
  private readonly end: number

  constructor(kind: number, timeNs: number, sandbox: number, frame: Uint8Array, start: number, end: number) {
    this.kind = kind
    this.timeNs = timeNs
    this.sandbox = sandbox
    this.frame = frame
    this.start = start
    this.end = end
  }

  /** A view. Made when asked for: most of what a walk costs would be this. */
  get bytes(): Uint8Array {
    return this.frame.subarray(this.start, this.end)
  }
}

/** Cumulative since the sensor's start. Of the node, but for what is counted for a sandbox. */
export interface KindCounters {
  readonly kind: number
  readonly attempted: bigint
  readonly dropped: bigint
  readonly missed: bigint
  /** Read from the rings, by this sensor and those before it with the same counters. */
  readonly taken: bigint
  /** By so much `taken` can be too small. */
  readonly takenMoreAtMost: bigint
}

/** Cumulative too: what of one sandbox was dropped. */
export interface SandboxCounters {
  /** cgroup id of the sandbox's root, exact */
  readonly sandbox: number
  readonly kind: number
  readonly dropped: bigint
}

export interface WalkedBatch {
  readonly batchSeq: bigint
  readonly bootToUnixNs: bigint
  readonly watermarkNs: bigint
  readonly losses: readonly KindCounters[]
  /** Of a batch with losses: whose counters they are. Empty: not said. */
  readonly counters: string
  readonly sandboxLosses: readonly SandboxCounters[]
  readonly events: readonly EventSlice[]
  /** An encoded DroppedBatches; null for a batch that stands for itself. */
  readonly dropped: Uint8Array | null
  /** Events that the frame should hold and that could not be read; at least so many if not `unreadableExact`. */
  readonly unreadable: number
  readonly unreadableExact: boolean
}

export type Frame =
  | { readonly kind: 'hello'; readonly body: Uint8Array }
  | { readonly kind: 'result'; readonly body: Uint8Array }
  | { readonly kind: 'announced'; readonly body: Uint8Array }
  /** The body is the id of a sandbox. */
  | { readonly kind: 'gone'; readonly body: Uint8Array }
  | { readonly kind: 'running'; readonly body: Uint8Array }
  | { readonly kind: 'heldPolicy'; readonly body: Uint8Array }
  | { readonly kind: 'batch'; readonly batch: WalkedBatch }
  | { readonly kind: 'malformed'; readonly reason: string }

const WIRE_VARINT = 0
const WIRE_FIXED64 = 1
const WIRE_BYTES = 2
const WIRE_FIXED32 = 5
const VARINT_BYTES_MAX = 10
/** Above it a number is no longer exact. */
const SANDBOX_MAX = BigInt(Number.MAX_SAFE_INTEGER)

/** The first bytes of fields, as the sensor's addon writes them. */
const TAG_EVENTS = 0x7a
const TAG_KIND = 0x08
const TAG_TIME = 0x11
const TAG_CPU_SEQ = 0x18
const TAG_SANDBOX = 0x20
const TAG_HAPPENED = 0x70
/** 49 bits: a number takes them all exactly. */
const SHORT_VARINT_BYTES = 7
/** Kind, time and two short numbers are 27 bytes at most; a shorter event goes the slow way. */
const USUAL_BYTES_MIN = 32

/** A position in a message. The first thing that does not fit sets `broken`; everything read after that is 0. */
class Cursor {
  readonly view: DataView
  pos: number
  readonly end: number
  broken = false
  field = 0
  wire = 0
  /** Of the last `bytes`. */
  start = 0

  constructor(view: DataView, pos: number, end: number) {
    this.view = view
    this.pos = pos
    this.end = end
  }

  /** Moves to the next field; false at the end or when broken. */
  next(): boolean {
    if (this.broken || this.pos >= this.end) return false
    const tag = this.small()
    this.field = tag >>> 3
    this.wire = tag & 7
    if (this.field === 0) this.broken = true
    return !this.broken
  }

  /** A varint that must fit 32 bits. */
  small(): number {
    const value = this.big()
    if (value <= 0xffffffffn) return Number(value)
    this.broken = true
    return 0
  }

  big(): bigint {
    let low = 0
    for (let i = 0; i < 4; i++) {
      if (this.pos >= this.end) return this.fail()
      const byte = this.view.getUint8(this.pos++)
      low |= (byte & 0x7f) << (7 * i)
      if (byte < 0x80) return BigInt(low)
    }
    let value = BigInt(low)
    for (let i = 4; i < VARINT_BYTES_MAX; i++) {
      if (this.pos >= this.end) return this.fail()
      const byte = this.view.getUint8(this.pos++)
      if (i === VARINT_BYTES_MAX - 1 && byte > 1) return this.fail()
      value |= BigInt(byte & 0x7f) << BigInt(7 * i)
      if (byte < 0x80) return value
    }
    return this.fail()
  }

  fixed64(): bigint {
    if (this.end - this.pos < 8) return this.fail()
    this.pos += 8
    return this.view.getBigUint64(this.pos - 8, true)
  }

  /** Length-delimited: `start` is its first byte, `pos` the one after it. */
  bytes(): void {
    const length = this.small()
    this.start = this.pos
    if (this.broken || length > this.end - this.pos) this.fail()
    else this.pos += length
  }

  /** A known field must have its own wire type. */
  expect(wire: number): boolean {
    if (this.wire !== wire) this.broken = true
    return !this.broken
  }

  /** Steps over a field that this version does not know. */
  skip(): void {
    switch (this.wire) {
      case WIRE_VARINT:
        this.big()
        return
      case WIRE_FIXED64:
        this.fixed64()
        return
      case WIRE_BYTES:
        this.bytes()
        return
      case WIRE_FIXED32:
        if (this.end - this.pos < 4) this.fail()
        else this.pos += 4
        return
      default:
        this.fail()
    }
  }

  private fail(): bigint {
    this.broken = true
    return 0n
  }
}

const REQUEST_BATCH = 2
/** Of those that are not read any further here. */
const REQUEST_KINDS = ['', 'hello', '', 'result', 'announced', 'gone', 'running', 'heldPolicy'] as const

/** @param raw the bytes of one ConnectRequest */
export function walkFrame(raw: Uint8Array): Frame {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength)
  const cursor = new Cursor(view, 0, raw.byteLength)
  let frame: Frame | null = null
  let batch: BatchReader | null = null
  while (cursor.next()) {
    if (cursor.field >= REQUEST_KINDS.length) {
      cursor.skip()
      continue
    }
    if (!cursor.expect(WIRE_BYTES)) break
    const field = cursor.field
    cursor.bytes()
    if (cursor.broken) {
      // The batch is cut: read what is there, the rest is counted.
      if (field === REQUEST_BATCH && frame === null) {
        batch ??= new BatchReader(raw, view)
        batch.read(cursor.start, cursor.end)
      }
      break
    }
    if (field === REQUEST_BATCH) {
      if (frame !== null) return { kind: 'malformed', reason: 'two kinds of message in one frame' }
      batch ??= new BatchReader(raw, view)
      batch.read(cursor.start, cursor.pos)
      continue
    }
    if (frame !== null || batch !== null) return { kind: 'malformed', reason: 'two messages in one frame' }
    const kind = REQUEST_KINDS[field]
    if (kind !== undefined && kind !== '') frame = { kind, body: raw.subarray(cursor.start, cursor.pos) }
  }
  if (batch !== null) return { kind: 'batch', batch: batch.finish(cursor.broken) }
  if (cursor.broken)
    return { kind: 'malformed', reason: 'the frame ends inside a field or has a field of the wrong type' }
  return frame ?? { kind: 'malformed', reason: 'the frame holds no message that this engine knows' }
}

/** Collects an EventBatch, which may come in several pieces laid end to end. */
class BatchReader {
  private readonly raw: Uint8Array
  private readonly view: DataView
  private batchSeq = 0n
  private bootToUnixNs = 0n
  private watermarkNs = 0n
  private eventCount = 0
  private dropped: Uint8Array | null = null
  private counters = ''
  private readonly losses: KindCounters[] = []
  private readonly sandboxLosses: SandboxCounters[] = []
  private readonly events: EventSlice[] = []
  private broken = false

  constructor(raw: Uint8Array, view: DataView) {
    this.raw = raw
    this.view = view
  }

  read(start: number, end: number): void {
    const cursor = new Cursor(this.view, start, end)
    do {
      cursor.pos = this.usualEvents(cursor.pos, end)
      if (!cursor.next()) break
      this.field(cursor)
    } while (!cursor.broken)
    if (cursor.broken) this.broken = true
  }

  /**
   * Reads events from `pos` on as long as they look as the sensor's addon writes them, and returns where that ends. It accepts nothing
   * and reads nothing that `field` would not; what it does not recognise is left for that.
   */
  private usualEvents(pos: number, end: number): number {
    const { raw, view, events } = this
    let at = pos
    // With so many bytes left, tag and length need no check of their own.
    while (end - at >= USUAL_BYTES_MIN && raw[at] === TAG_EVENTS) {
      let start = at + 2
      let length = raw[at + 1] ?? 0
      if (length >= 0x80) {
        const high = raw[start++] ?? 0
        if (high >= 0x80) return at
        length = (length & 0x7f) | (high << 7)
      }
      if (length < USUAL_BYTES_MIN || length > end - start) return at
      const event = peekUsual(raw, view, start, start + length)
      if (event === null) return at
      events.push(event)
      at = start + length
    }
    return at
  }

  finish(cut: boolean): WalkedBatch {
    const missing = Math.max(0, this.eventCount - this.events.length)
    const broken = this.broken || cut
    return {
      batchSeq: this.batchSeq,
      bootToUnixNs: this.bootToUnixNs,
      watermarkNs: this.watermarkNs,
      losses: this.losses,
      counters: this.counters,
      sandboxLosses: this.sandboxLosses,
      events: this.events,
      dropped: this.dropped,
      unreadable: broken ? Math.max(1, missing) : missing,
      unreadableExact: !broken || missing > 0,
    }
  }

  private field(cursor: Cursor): void {
    switch (cursor.field) {
      case 1:
        if (cursor.expect(WIRE_VARINT)) this.batchSeq = cursor.big()
        return
      case 2:
        if (cursor.expect(WIRE_FIXED64)) this.bootToUnixNs = cursor.fixed64()
        return
      case 3:
        if (cursor.expect(WIRE_FIXED64)) this.watermarkNs = cursor.fixed64()
        return
      case 4:
        if (cursor.expect(WIRE_VARINT)) this.eventCount = cursor.small()
        return
      case 5:
        if (cursor.expect(WIRE_BYTES)) this.loss(cursor)
        return
      case 6:
        if (!cursor.expect(WIRE_BYTES)) return
        cursor.bytes()
        this.dropped = cursor.broken ? null : this.raw.subarray(cursor.start, cursor.pos)
        return
      case 7:
        if (!cursor.expect(WIRE_BYTES)) return
        cursor.bytes()
        if (!cursor.broken) this.counters = Buffer.from(this.raw.subarray(cursor.start, cursor.pos)).toString('latin1')
        return
      case 15:
        if (cursor.expect(WIRE_BYTES)) this.event(cursor)
        return
      default:
        cursor.skip()
    }
  }

  private loss(outer: Cursor): void {
    outer.bytes()
    if (outer.broken) return
    const cursor = new Cursor(this.view, outer.start, outer.pos)
    const values = [0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n]
    while (cursor.next()) {
      if (cursor.field >= values.length) cursor.skip()
      else if (cursor.expect(WIRE_VARINT)) values[cursor.field] = cursor.big()
    }
    const [, kind = 0n, attempted = 0n, dropped = 0n, missed = 0n, taken = 0n, , sandbox = 0n, takenMoreAtMost = 0n] =
      values
    if (cursor.broken || kind > 0xffffffffn || sandbox > SANDBOX_MAX) this.broken = true
    else if (sandbox > 0n) this.sandboxLosses.push({ sandbox: Number(sandbox), kind: Number(kind), dropped })
    else this.losses.push({ kind: Number(kind), attempted, dropped, missed, taken, takenMoreAtMost })
  }

  private event(outer: Cursor): void {
    outer.bytes()
    if (outer.broken) return
    const event = peekEvent(this.raw, this.view, outer.start, outer.pos)
    // Only this event is lost: the ones after it are still where the lengths say.
    if (event === null) this.broken = true
    else this.events.push(event)
  }
}

/** The three fields that decide where an event goes. Null if it is broken before they were found, or if one is missing or too big. */
function peekEvent(raw: Uint8Array, view: DataView, start: number, end: number): EventSlice | null {
  const cursor = new Cursor(view, start, end)
  let kind = 0
  let timeNs = 0n
  let sandbox = 0n
  while ((kind === 0 || timeNs === 0n || sandbox === 0n) && cursor.next()) {
    if (cursor.field === 1 && cursor.expect(WIRE_VARINT)) kind = cursor.small()
    else if (cursor.field === 2 && cursor.expect(WIRE_FIXED64)) timeNs = cursor.fixed64()
    else if (cursor.field === 4 && cursor.expect(WIRE_VARINT)) sandbox = cursor.big()
    else if (!cursor.broken) cursor.skip()
  }
  if (cursor.broken || kind === 0 || timeNs === 0n || sandbox === 0n || sandbox > SANDBOX_MAX) return null
  const event = new EventSlice(kind, Number(timeNs), Number(sandbox), raw, start, end)
  if (raw[cursor.pos] === TAG_HAPPENED && cursor.next()) event.happened = Math.max(1, cursor.small())
  return cursor.broken ? null : event
}

/** As `peekEvent`, for at least USUAL_BYTES_MIN bytes that begin with kind, time, cpu_seq and sandbox; null if they don't. */
function peekUsual(raw: Uint8Array, view: DataView, start: number, end: number): EventSlice | null {
  const kind = raw[start + 1] ?? 0
  if (raw[start] !== TAG_KIND || kind === 0 || kind >= 0x80 || raw[start + 2] !== TAG_TIME) return null
  const timeNs = view.getUint32(start + 7, true) * 2 ** 32 + view.getUint32(start + 3, true)
  if (timeNs === 0) return null
  let at = start + 11
  if (raw[at] === TAG_CPU_SEQ) {
    const last = at + SHORT_VARINT_BYTES
    do at++
    while ((raw[at] ?? 0) >= 0x80 && at < last)
    if ((raw[at] ?? 0) >= 0x80) return null
    at++
  }
  if (raw[at] !== TAG_SANDBOX) return null
  let sandbox = 0
  for (let i = 0, factor = 1; i < SHORT_VARINT_BYTES; i++, factor *= 0x80) {
    const byte = raw[++at] ?? 0
    sandbox += (byte & 0x7f) * factor
    // What repeats something goes the slow way.
    if (byte < 0x80) {
      const isUsual = sandbox !== 0 && raw[at + 1] !== TAG_HAPPENED
      return isUsual ? new EventSlice(kind, timeNs, sandbox, raw, start, end) : null
    }
  }
  return null
}

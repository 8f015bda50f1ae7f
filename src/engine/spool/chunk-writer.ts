/**
 * Events gathered for the spool: in chunks of one class each, numbered by position. Guards that order is kept and that memory is bounded whatever
 * the disk does: what there is no room for is left out by whole chunks, telemetry first, and told as such. Not here: the file.
 */
import type { IEvent } from '../../proto/codec.js'
import { EventEncoder } from '../../proto/event-encoder.js'
import {
  CHUNK_BYTES_MAX,
  CHUNK_EVENTS_MAX,
  CHUNK_OWN_BYTES,
  type ChunkPart,
  countPart,
  joinParts,
} from '../../proto/spool/spool-form.js'

/** A chunk that was left out tells of so many sessions; of more its count alone is known. */
export const PARTS_MAX = 64

export interface Chunk {
  readonly first: number
  readonly count: number
  readonly reserved: boolean
  readonly unixMs: number
  readonly bytes: number
  readonly parts: readonly ChunkPart[]
  readonly body: Buffer
}

/** Events that are not in the spool, in their place. */
export interface Shed {
  readonly first: number
  readonly count: number
  readonly cause: string
  readonly parts: readonly ChunkPart[]
}

/** What a security team must not miss because of what else there is: it has a share of its own. */
export function isReserved(event: IEvent): boolean {
  return Boolean(
    event.detection ??
      event.response ??
      event.quarantine ??
      event.policyChanged ??
      event.sandboxStarted ??
      event.sandboxEnded ??
      event.checkpoint ??
      event.gap,
  )
}

export class ChunkWriter {
  private readonly encoder = new EventEncoder()
  private readonly nowMs: () => number
  private parts = new Map<string, ChunkPart>()
  private reserved = false
  private closed: Chunk[] = []
  private left: Shed[] = []
  private closedBytes = 0
  /** The position of the next event. */
  next: number

  constructor(next: number, nowMs: () => number) {
    this.next = next
    this.nowMs = nowMs
  }

  get bytes(): number {
    return this.closedBytes + this.encoder.bytes
  }

  /** Since it was last emptied. */
  get isEmpty(): boolean {
    return this.encoder.count === 0 && this.closed.length === 0 && this.left.length === 0
  }

  /** Whatever is before this position is on disk. */
  get unwritten(): number {
    return Math.min(this.next, this.closed[0]?.first ?? this.next, this.left[0]?.first ?? this.next)
  }

  get openEvents(): number {
    return this.encoder.count
  }

  append(event: IEvent): void {
    const reserved = isReserved(event)
    const { encoder } = this
    if (encoder.count > 0 && reserved !== this.reserved) this.close()
    this.reserved = reserved
    encoder.append(event)
    countPart(this.parts, event)
    if (encoder.count >= CHUNK_EVENTS_MAX || encoder.bytes >= CHUNK_BYTES_MAX) this.close()
  }

  /** Leaves so many places empty. */
  skip(count: number): void {
    this.close()
    this.next += count
  }

  /** All that is to be written; it stays here until `written`. */
  take(): { chunks: readonly Chunk[]; shed: readonly Shed[]; next: number } {
    this.close()
    return { chunks: this.closed, shed: this.left, next: this.next }
  }

  written(): void {
    this.closed = []
    this.left = []
    this.closedBytes = 0
  }

  /** Leaves out the oldest until no more than `bytesMax` are kept; how many events. */
  leaveOut(bytesMax: number, cause: string): number {
    let count = 0
    while (this.closedBytes > bytesMax && this.closed.length > 0) {
      const telemetry = this.closed.findIndex((chunk) => !chunk.reserved)
      const [chunk] = this.closed.splice(Math.max(telemetry, 0), 1)
      if (chunk === undefined) break
      this.closedBytes -= chunk.bytes
      count += chunk.count
      this.leave({ ...chunk, cause })
    }
    return count
  }

  /** One of many neighbours is as long as all of them. */
  private leave({ first, count, cause, parts }: Shed): void {
    const last = this.left.at(-1)
    const joined =
      last?.cause === cause && last.first + last.count === first ? joinParts(last.parts, parts, PARTS_MAX) : null
    if (last === undefined || joined === null) this.left.push({ first, count, cause, parts })
    else this.left[this.left.length - 1] = { first: last.first, count: last.count + count, cause, parts: joined }
    // Of those that are not told the sinks find the place empty, and how long it is.
    if (this.left.length > CHUNK_EVENTS_MAX) this.left.shift()
  }

  private close(): void {
    const { encoder } = this
    const { count } = encoder
    if (count === 0) return
    const body = encoder.take()
    const chunk: Chunk = {
      ...{ first: this.next, count, reserved: this.reserved, unixMs: this.nowMs(), body },
      ...{ bytes: body.length + CHUNK_OWN_BYTES, parts: [...this.parts.values()] },
    }
    this.closed.push(chunk)
    this.closedBytes += chunk.bytes
    this.next += count
    this.parts = new Map()
  }
}

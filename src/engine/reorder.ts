/**
 * Puts what comes from two rings and many CPUs into the order in which it happened. An item is held until the watermark says that
 * nothing older can still be in a ring. Bounded: at the limit the oldest go out early. An item that comes after a younger one
 * went out is late: it goes out at once and is counted. Not here: what an item is.
 */

/** How far behind the watermark a CPU may still be writing a record. */
export const SLACK_NS = 1_000_000
/** Items held at once. A batch has at most some hundreds; more than this means that watermarks stopped coming. */
export const REORDER_ITEMS_MAX = 65_536

export interface Timed {
  /** CLOCK_BOOTTIME; only its order counts */
  readonly timeNs: number
  /** cgroup id of the sandbox's root */
  readonly sandbox: number
}

export class Reorder<T extends Timed> {
  /** Sorted by time, equal times in order of arrival, but for `unsorted` items at the end. */
  private held: T[] = []
  private unsorted = false
  private released = 0
  private readonly emit: (item: T) => void
  private readonly itemsMax: number
  /** Items that came after a younger one had gone out. */
  late = 0
  /** Items that went out before their watermark because the bound was hit. */
  early = 0

  constructor(emit: (item: T) => void, options: { itemsMax?: number } = {}) {
    this.emit = emit
    this.itemsMax = options.itemsMax ?? REORDER_ITEMS_MAX
  }

  get size(): number {
    return this.held.length
  }

  /** Time of the last item that went out. */
  get releasedNs(): number {
    return this.released
  }

  /** Goes on where another one was: what is older than this has gone out. */
  goOnFrom(releasedNs: number): void {
    this.released = releasedNs
  }

  items(): readonly T[] {
    return this.held
  }

  add(item: T): void {
    if (item.timeNs < this.released) {
      this.late++
      this.emit(item)
      return
    }
    const last = this.held[this.held.length - 1]
    if (last !== undefined && item.timeNs < last.timeNs) this.unsorted = true
    this.held.push(item)
    if (this.held.length > this.itemsMax) this.makeRoom()
  }

  /** Emits everything that is older than the watermark less the slack. */
  watermark(watermarkNs: number): void {
    const until = watermarkNs - SLACK_NS
    this.sort()
    let count = 0
    for (const item of this.held) {
      if (item.timeNs > until) break
      count++
    }
    this.release(count)
  }

  /** Emits all that is held of one sandbox, in order; the others stay. */
  flush(sandbox: number): void {
    this.sort()
    const mine = this.held.filter((item) => item.sandbox === sandbox)
    this.held = this.held.filter((item) => item.sandbox !== sandbox)
    for (const item of mine) this.emit(item)
  }

  flushAll(): void {
    this.sort()
    this.release(this.held.length)
  }

  /** Half at a time, so that a stream without watermarks is not sorted once an item. */
  private makeRoom(): void {
    this.sort()
    const count = Math.ceil(this.held.length / 2)
    this.early += count
    this.release(count)
  }

  private release(count: number): void {
    if (count === 0) return
    const out = this.held.splice(0, count)
    this.released = out[out.length - 1]?.timeNs ?? this.released
    for (const item of out) this.emit(item)
  }

  private sort(): void {
    if (!this.unsorted) return
    this.held.sort((a, b) => a.timeNs - b.timeNs)
    this.unsorted = false
  }
}

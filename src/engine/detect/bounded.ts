/**
 * What detectors remember, each of a size that is fixed: the latest of many, how many came in a while, which were met already. Guards that no
 * session makes them grow, and that what they forgot is counted.
 */
import { hash53 } from './hash.js'

/** Cut where it is too long, and then with a mark. */
export function clipped(text: string, charsMax: number, mark = '…'): string {
  return text.length <= charsMax ? text : `${copied(text.slice(0, charsMax))}${mark}`
}

/** Its own characters, not a view into the long text that it is a part of. */
export function copied(text: string): string {
  return Array.from({ length: text.length }, (_, at) => text[at]).join('')
}

/** The latest, in order. */
export class Latest<T> {
  private readonly items: T[] = []
  private readonly max: number
  private next = 0

  constructor(max: number) {
    this.max = max
  }

  push(item: T): void {
    if (this.items.length < this.max) this.items.push(item)
    else this.items[this.next] = item
    this.next = (this.next + 1) % this.max
  }

  /** Oldest first. */
  all(): T[] {
    if (this.items.length < this.max) return [...this.items]
    return [...this.items.slice(this.next), ...this.items.slice(0, this.next)]
  }
}

/** How much came in the last while, to a part of it: what is older than `windowMs` less one part may be left out. */
export class Sliding {
  private readonly parts: number[]
  private readonly partMs: number
  private startMs = Number.NEGATIVE_INFINITY
  /** Parts since `startMs`, up to the current one. */
  private at = 0
  private sum = 0

  constructor(windowMs: number, parts: number) {
    this.parts = Array<number>(parts).fill(0)
    this.partMs = windowMs / parts
  }

  /** What came in the window that ends with this. Times that go back count as now. */
  add(timeMs: number, count: number): number {
    const { length } = this.parts
    const part = Math.floor((timeMs - this.startMs) / this.partMs)
    if (part - this.at >= length || !Number.isFinite(part)) this.restart(timeMs)
    else {
      for (; this.at < part; this.at += 1) {
        const oldest = (this.at + 1) % length
        this.sum -= this.parts[oldest] ?? 0
        this.parts[oldest] = 0
      }
    }
    this.parts[this.at % length] = (this.parts[this.at % length] ?? 0) + count
    this.sum += count
    return this.sum
  }

  /** Nothing of what came before counts any more: the window begins with this. */
  private restart(timeMs: number): void {
    this.parts.fill(0)
    this.startMs = timeMs
    this.at = 0
    this.sum = 0
  }
}

/** Whether to tell of what is or is not: when it begins, and while it goes on in ever longer times, so that whoever answers can do more. */
export class Telling {
  private readonly firstMs: number
  private waitMs = 0
  private nextMs = 0

  /** @param firstMs how long it goes on before it is told again; then twice that, and so on */
  constructor(firstMs: number) {
    this.firstMs = firstMs
  }

  tells(is: boolean, timeMs: number): boolean {
    if (!is) this.waitMs = 0
    if (!is || (this.waitMs > 0 && timeMs < this.nextMs)) return false
    this.waitMs = this.waitMs === 0 ? this.firstMs : this.waitMs * 2
    this.nextMs = timeMs + this.waitMs
    return true
  }
}

/** Texts that were met; of too many the oldest is forgotten. */
export class Met {
  private readonly hashes: number[] = []
  private readonly max: number
  private next = 0
  /** That had no room. */
  forgotten = 0

  constructor(max: number) {
    this.max = max
  }

  has(text: string): boolean {
    return this.hashes.includes(hash53(text))
  }

  /** @returns whether it is new */
  add(text: string): boolean {
    const hash = hash53(text)
    if (this.hashes.includes(hash)) return false
    if (this.hashes.length < this.max) {
      this.hashes.push(hash)
      return true
    }
    this.forgotten += 1
    this.hashes[this.next] = hash
    this.next = (this.next + 1) % this.max
    return true
  }
}

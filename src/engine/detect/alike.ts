/**
 * How alike two commands are, by their words: a short sketch of each is enough. Of few words it has all of them, and the answer is exact; of many
 * the ones with the smallest numbers, which are as good as a sample of both that was drawn at once (Broder 1997, bottom-k).
 */
import { hash32 } from './hash.js'

const WORDS_MAX = 64

export interface Sketch {
  /** Ascending; the same word twice is two. */
  readonly words: readonly number[]
  /** Of the whole command. */
  readonly count: number
}

export function sketchOf(words: readonly string[]): Sketch {
  const times = new Map<string, number>()
  const numbers = words.map((word) => {
    const time = times.get(word) ?? 0
    times.set(word, time + 1)
    return hash32(time === 0 ? word : `${time} ${word}`)
  })
  return { words: numbers.sort((a, b) => a - b).slice(0, WORDS_MAX), count: numbers.length }
}

/** What they share, twice, of all (Dice's coefficient over multisets). */
export function similarity(a: Sketch, b: Sketch): number {
  if (a.count === 0 || b.count === 0) return 0
  // Even if the shorter one is all in the longer one.
  if (4 * Math.min(a.count, b.count) < a.count + b.count) return 0
  const isWhole = a.count <= WORDS_MAX && b.count <= WORDS_MAX
  const { shared, all } = meet(a.words, b.words, isWhole ? Number.POSITIVE_INFINITY : WORDS_MAX)
  if (isWhole) return (2 * shared) / (a.count + b.count)
  const jaccard = shared / all
  return (2 * jaccard) / (1 + jaccard)
}

/** Of the smallest `max` of both together. */
function meet(a: readonly number[], b: readonly number[], max: number): { shared: number; all: number } {
  let [atA, atB, shared, all] = [0, 0, 0, 0]
  for (; all < max && (atA < a.length || atB < b.length); all += 1) {
    const left = a[atA] ?? Number.POSITIVE_INFINITY
    const right = b[atB] ?? Number.POSITIVE_INFINITY
    if (left === right) shared += 1
    if (left <= right) atA += 1
    if (right <= left) atB += 1
  }
  return { shared, all }
}

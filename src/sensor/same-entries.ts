/**
 * How many entries two lists on the wire begin and end with alike, found by comparing bytes and not entries. Guards that what counts as the same
 * is the same bytes, in entries that begin and end at the same places. Pure.
 */
import type { NetPlaces } from '../proto/policy-bytes.js'

/** Of the one in front, and at the end: entries that are the same in both, together never more than either has. */
export function sameEntries(a: NetPlaces, b: NetPlaces): { first: number; last: number } {
  const counts = Math.min(countOf(a), countOf(b))
  const first = sameInFront(a, b, counts)
  return { first, last: sameAtEnd(a, b, counts - first) }
}

function sameInFront(a: NetPlaces, b: NetPlaces, most: number): number {
  const [fromA, fromB] = [startOf(a, 0), startOf(b, 0)]
  // Of the same bytes behind an entry of the same length all entries are the same.
  if (endOf(a, 0) - fromA !== endOf(b, 0) - fromB) return 0
  return mostOf(most, (count) => isEqual(a, fromA, b, fromB, endOf(a, count - 1) - fromA))
}

function sameAtEnd(a: NetPlaces, b: NetPlaces, most: number): number {
  const [endA, endB] = [endOf(a, countOf(a) - 1), endOf(b, countOf(b) - 1)]
  const isSame = (count: number) => {
    const [firstA, firstB] = [countOf(a) - count, countOf(b) - count]
    const [fromA, fromB] = [startOf(a, firstA), startOf(b, firstB)]
    const areApart = endA - fromA !== endB - fromB || endOf(a, firstA) - fromA !== endOf(b, firstB) - fromB
    return !areApart && isEqual(a, fromA, b, fromB, endA - fromA)
  }
  return mostOf(most, isSame)
}

/** The largest count up to `most` for which it holds, as it does for all that are smaller. */
function mostOf(most: number, holds: (count: number) => boolean): number {
  let [low, high] = [0, most]
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (holds(middle)) low = middle
    else high = middle - 1
  }
  return low
}

function isEqual(a: NetPlaces, fromA: number, b: NetPlaces, fromB: number, bytes: number): boolean {
  if (fromB + bytes > b.bytes.length) return false
  return a.bytes.compare(b.bytes, fromB, fromB + bytes, fromA, fromA + bytes) === 0
}

function countOf({ places }: NetPlaces): number {
  return places.length / 2
}

function startOf({ places }: NetPlaces, index: number): number {
  return places[2 * index] ?? 0
}

function endOf({ places }: NetPlaces, index: number): number {
  return places[2 * index + 1] ?? 0
}

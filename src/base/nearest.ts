/** What somebody who mistyped a word may have meant. Guards nothing; a suggestion is never acted on. */

/** Letters that may differ. */
const DISTANCE_MAX = 2

/** The candidate that is most like `wanted`, or begins with it; null if none comes near. */
export function nearestOf(wanted: string, candidates: readonly string[]): string | null {
  const ranked = candidates
    .filter((name) => name !== '')
    .map((name) => ({ name, distance: wanted !== '' && name.startsWith(wanted) ? 0 : distanceOf(wanted, name) }))
    .filter(({ distance }) => distance <= DISTANCE_MAX)
    .sort((a, b) => a.distance - b.distance)
  return ranked[0]?.name ?? null
}

/** Levenshtein's, given up early where the lengths alone are too far apart. */
function distanceOf(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > DISTANCE_MAX) return Number.POSITIVE_INFINITY
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++) {
      const change = (row[j] ?? 0) + (a[i] === b[j] ? 0 : 1)
      next.push(Math.min(change, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? Number.POSITIVE_INFINITY
}

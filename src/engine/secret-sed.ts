/**
 * Finds the substitutions of sed and perl in a text (s/pattern/replacement/), so that a pattern about a secret is not taken for the
 * secret. Not here: what becomes of the two halves.
 */

export interface Substitution {
  readonly start: number
  readonly delimiter: string
  /** Position of the delimiter between pattern and replacement. */
  readonly middle: number
  /** Position of the delimiter that ends it. */
  readonly end: number
}

/**
 * In order of position. Each search ends at a later delimiter, or there are fewer than three left in the text: that bounds how
 * often a search can fail for each of the delimiters.
 */
export function substitutions(text: string): Substitution[] {
  const found: Substitution[] = []
  const begin = /(?:^|[\s"';{}])s([/|#@,])/g
  for (let hit = begin.exec(text); hit !== null; hit = begin.exec(text)) {
    const delimiter = hit[1] ?? ''
    const start = begin.lastIndex
    const middle = unescapedIndexOf(text, delimiter, start)
    const end = middle < 0 ? -1 : unescapedIndexOf(text, delimiter, middle + 1)
    if (end < 0) continue
    found.push({ start, delimiter, middle, end })
    begin.lastIndex = end
  }
  return found
}

/** @param lastFirst those behind `at` are taken off: `at` must not go back from call to call */
export function substitutionAt(lastFirst: Substitution[], at: number): Substitution | null {
  let next = lastFirst.at(-1)
  while (next !== undefined && next.end < at) {
    lastFirst.pop()
    next = lastFirst.at(-1)
  }
  return next !== undefined && next.start <= at ? next : null
}

export function unescapedIndexOf(text: string, delimiter: string, from: number): number {
  let at = text.indexOf(delimiter, from)
  while (at > 0 && text[at - 1] === '\\') at = text.indexOf(delimiter, at + 1)
  return at
}

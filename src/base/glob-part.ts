/** One part of a path against a pattern in which * means any piece of a part, none included. Pure, and linear in the part's length. */

/** Without a regular expression: a pattern with many stars would take its time. */
export function matchesPart(pattern: string, part: string): boolean {
  const [head = '', ...rest] = pattern.split('*')
  const tail = rest.pop()
  if (tail === undefined) return part === pattern
  if (!part.startsWith(head) || !part.endsWith(tail) || part.length < head.length + tail.length) return false
  let from = head.length
  for (const piece of rest) {
    const at = part.indexOf(piece, from)
    if (at < 0) return false
    from = at + piece.length
  }
  return from + tail.length <= part.length
}

/**
 * Who says what happened: `source` of an event. Guards that both ends of a run mean the same by a fact: what the kernel told, or what was read from it,
 * which comes in the same order however often it is read. Not here: the hooks' names.
 */

/** Of what is derived, told by others than the kernel, or said of the record itself. */
const OTHERS: ReadonlySet<string> = new Set(['engine', 'gateway', 'cli'])

/** Of events that are no facts a client says by uid which it has: so many, the latest. */
export const OTHERS_MAX = 4_096

export function isFactOf(source: string): boolean {
  return !OTHERS.has(source)
}

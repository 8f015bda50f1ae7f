/**
 * Which of the cgroups that are found are held at once, before there is a policy for them: those that a watched pattern and an enforced policy
 * of the node both mean for certain, by their names alone, as that is all that the kernel side looks at. Guards that none is held that is not
 * both; that one is not held which could be costs it no more than the moments until its policy is there. Pure.
 */
import { matchesPart } from '../base/glob-part.js'
import { ABI } from '../native/generated/abi.js'
import type { WatchPattern } from './watch-patterns.js'

/** What the engine says that its enforced policies select, of sandboxes that somebody else made. */
export interface SelectedCgroups {
  /** A policy is for all of them. */
  readonly all: boolean
  /** Patterns of paths. */
  readonly cgroups: readonly string[]
}

/** Names of cgroups; of one name, if `isOne`, else whatever is in between. */
export interface HeldNames {
  readonly head: string
  readonly tail: string
  readonly isOne: boolean
}

const ANY = '*'

/** Right below the cgroup root we make cgroups ourselves, as for the proof that ours are let through: nothing is held there. */
export function heldNames(pattern: WatchPattern, folder: string, selected: SelectedCgroups): HeldNames | null {
  const above = partsOf(folder)
  const last = pattern.parts.at(-1)
  if (above.length === 0 || last === undefined) return null
  if (selected.all) return namesOf(last)
  const found = selected.cgroups.map((text) => lastOfBoth(pattern.parts, above, partsOf(text)))
  return found.reduce<HeldNames | null>((best, text) => wider(best, text === null ? null : namesOf(text)), null)
}

/** Of two the one that means more, where that shows. */
export function wider(a: HeldNames | null, b: HeldNames | null): HeldNames | null {
  if (a === null || b === null) return a ?? b
  return isAny(b) ? b : a
}

/** What the last part must be like for both; null: that can't be told. */
function lastOfBoth(watched: readonly string[], above: readonly string[], selected: readonly string[]): string | null {
  if (selected.length !== watched.length) return null
  const isAlike = watched.slice(0, -1).every((_, index) => {
    const known = above[index]
    return known === undefined ? selected[index] === ANY : matchesPart(selected[index] ?? '', known)
  })
  const [a, b] = [watched.at(-1) ?? '', selected.at(-1) ?? '']
  if (!isAlike) return null
  // A star of the one that the other matches is in the place of one of its own stars: then it means all of it.
  if (matchesPart(b, a)) return a
  return matchesPart(a, b) ? b : null
}

/** Null: a name of which the kernel side can't tell. */
function namesOf(part: string): HeldNames | null {
  const [head = '', ...rest] = part.split(ANY)
  if (rest.slice(0, -1).some((piece) => piece !== '')) return null
  const names = { head, tail: rest.at(-1) ?? '', isOne: rest.length === 0 }
  const fits = [names.head, names.tail].every((end) => Buffer.byteLength(end) < ABI.limits.SL_WATCH_NAME_MAX)
  return fits ? names : null
}

function isAny({ head, tail, isOne }: HeldNames): boolean {
  return head === '' && tail === '' && !isOne
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '')
}

/**
 * Patterns of cgroup paths below the cgroup v2 root: one part a level, `*` for any part or piece of one, as in /user.slice/agents-*.
 * There is no `**`: a pattern that could mean any depth would make a sandbox of whatever is in between. Pure, but for listing folders.
 */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../base/error.js'
import { matchesPart } from '../base/glob-part.js'

/** Folders that one look at one pattern visits. */
const FOLDERS_MAX = 16_384

export interface WatchPattern {
  readonly text: string
  readonly parts: readonly string[]
}

/** A folder that is there. */
export interface FoundFolder {
  readonly path: string
  readonly cgroupId: bigint
}

export interface Expansion {
  readonly matches: readonly FoundFolder[]
  /** More folders than are visited. */
  readonly cut: boolean
}

/** @throws SluiceError USAGE, with the pattern and what is wrong with it. */
export function parsePattern(text: string): WatchPattern {
  const refuse = (why: string) => new SluiceError('USAGE', `the pattern '${text}' for cgroups to watch ${why}`)
  if (!text.startsWith('/')) throw refuse('must begin with a slash: it is below the cgroup v2 root')
  const parts = text.slice(1).replace(/\/$/, '').split('/')
  if (parts.some((part) => part.includes('**'))) throw refuse('has **; write a * for each level')
  if (parts.some((part) => part === '' || part === '.' || part === '..')) throw refuse('has an empty part or dots')
  return { text, parts }
}

/** The folders that match. `visit` is called with each one on the way, before it is listed. */
export function expand(root: string, pattern: WatchPattern, visit: (folder: FoundFolder) => void): Expansion {
  let level: FoundFolder[] = [folderAt(root, '')].filter((folder) => folder !== null)
  let visited = 0
  let cut = false
  for (const part of pattern.parts) {
    const next: FoundFolder[] = []
    for (const folder of level) {
      if (++visited > FOLDERS_MAX) {
        cut = true
        break
      }
      visit(folder)
      for (const name of namesMatching(join(root, folder.path), part)) {
        const below = folderAt(root, `${folder.path}/${name}`)
        if (below !== null) next.push(below)
      }
    }
    level = next
  }
  return { matches: level, cut }
}

/**
 * How many levels below the folder a match is, if those in between may be of any name; the last part need not be. Null if they may not, and
 * for a folder that is not on the way to a match.
 */
export function levelsBelow({ parts }: WatchPattern, folder: string): number | null {
  const above = folder.split('/').filter((part) => part !== '')
  if (above.length >= parts.length || !above.every((part, index) => matchesPart(parts[index] ?? '', part))) return null
  return parts.slice(above.length, -1).every((part) => part === '*') ? parts.length - above.length : null
}

function namesMatching(folder: string, part: string): string[] {
  if (!part.includes('*')) return [part]
  try {
    const entries = readdirSync(folder, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory() && matchesPart(part, entry.name)).map(({ name }) => name)
  } catch {
    return [] // removed meanwhile
  }
}

function folderAt(root: string, path: string): FoundFolder | null {
  const stat = statSync(join(root, path), { bigint: true, throwIfNoEntry: false })
  return stat?.isDirectory() ? { path, cgroupId: stat.ino } : null
}

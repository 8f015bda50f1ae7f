/**
 * Which sandboxes a policy of the node is for: by its `select`, as the launcher's labels and the cgroup's path say. Guards that one which selects by
 * what nobody knows here (pods) is for none, and that labels of the sandbox's own making do not exist. Pure.
 */
import { matchesPart } from '../../base/glob-part.js'
import type { PolicyFile } from './schema.js'

export interface SelectTarget {
  /** Of the launcher, or of who added it. */
  readonly labels: Readonly<Record<string, string>>
  /** Below the cgroup v2 root. */
  readonly cgroupPath: string
  /** Whether `run` started it. */
  readonly isRun: boolean
}

/** Without `select`: what `run` starts. */
export function selects(select: PolicyFile['select'], { labels, cgroupPath, isRun }: SelectTarget): boolean {
  if (select === undefined) return isRun
  const { labels: wanted = {}, cgroup, namespace, sandboxTemplate, pod } = select
  if (namespace !== undefined || sandboxTemplate !== undefined || pod !== undefined) return false
  if (Object.entries(wanted).some(([key, value]) => !Object.hasOwn(labels, key) || labels[key] !== value)) return false
  return cgroup === undefined || matchesPath(cgroup, cgroupPath)
}

/** Of sandboxes that somebody else made, and that nobody gave labels: null if it is for none, '' for all, else for those of the pattern. */
export function selectsFound(select: PolicyFile['select']): string | null {
  if (select === undefined) return null
  const { labels = {}, cgroup = '', namespace, sandboxTemplate, pod } = select
  const isKnown = namespace === undefined && sandboxTemplate === undefined && pod === undefined
  return isKnown && Object.keys(labels).length === 0 ? cgroup : null
}

/** A part a level, * for any part or piece of one. */
function matchesPath(pattern: string, path: string): boolean {
  const [wanted, found] = [levels(pattern), levels(path)]
  return wanted.length === found.length && wanted.every((part, index) => matchesPart(part, found[index] ?? ''))
}

function levels(path: string): string[] {
  return path.split('/').filter((part) => part !== '')
}

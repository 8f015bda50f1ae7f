/**
 * Settings that were removed, until it is known whether that was all, or their whole repository or home went: who clears away what obeyed them
 * has tampered with nothing. Guards that who only waits, or removes too many, is told all the same.
 */
import { clipped } from './bounded.js'
import { type Fact, processEnd } from './fact.js'
import { hash53 } from './hash.js'
import type { Tampering } from './tampering.js'

/** What is removed by one that goes on: later than this its folder does not explain it. */
const WAIT_MS = 60_000
const WAITING_MAX = 16
const TEXT_CHARS_MAX = 200

export interface Removal {
  readonly uid: string
  readonly path: string
  readonly program: string
  readonly tampering: Tampering
  /** Of the path, which may be longer than what is kept of it. */
  readonly key: string
}

export function keyOf(path: string): string {
  return hash53(path).toString(36)
}

interface Waiting extends Removal {
  readonly folder: string
  readonly process: string
  readonly untilMs: number
}

export class ConfigRemovals {
  private waiting: readonly Waiting[] = []

  /** @returns those that have to wait no more, as there is no room for all */
  add(removed: { fact: Fact; path: string; program: string; tampering: Tampering }): readonly Removal[] {
    const { fact, path, program, tampering } = removed
    const waiting: Waiting = {
      ...{ uid: fact.uid, path: clipped(path, TEXT_CHARS_MAX), program: clipped(program, TEXT_CHARS_MAX), tampering },
      ...{ key: keyOf(path), folder: keyOf(folderOf(path)), process: processKey(fact) },
      untilMs: fact.timeMs + WAIT_MS,
    }
    const all = [...this.waiting.filter(({ key }) => key !== waiting.key), waiting]
    this.waiting = all.slice(-WAITING_MAX)
    return all.slice(0, -WAITING_MAX)
  }

  /** @returns those which nothing explains any more */
  take(fact: Fact): readonly Removal[] {
    if (this.waiting.length === 0) return []
    if (fact.kind === 'mutation' && fact.how === 'RMDIR') this.forgive(fact.paths)
    const over = this.waiting.filter((each) => isOver(each, fact))
    if (over.length > 0) this.waiting = this.waiting.filter((each) => !over.includes(each))
    return over
  }

  private forgive(paths: readonly string[]): void {
    const gone = paths.map((path) => keyOf(path))
    this.waiting = this.waiting.filter(({ folder }) => !gone.includes(folder))
  }
}

function isOver({ untilMs, process }: Waiting, fact: Fact): boolean {
  return fact.kind === 'ended' || fact.timeMs >= untilMs || (fact.kind === 'exit' && process === processKey(fact))
}

/** That is gone with it: a repository's `.git`, else where the first folder or file with a dot in front lies. Empty: none explains it. */
function folderOf(path: string): string {
  const git = path.lastIndexOf('/.git/')
  return git === -1 ? path.slice(0, Math.max(0, path.indexOf('/.'))) : path.slice(0, git + '/.git'.length)
}

function processKey({ process }: Fact): string {
  return process === null ? '' : process.execId.slice(0, processEnd(process.execId))
}

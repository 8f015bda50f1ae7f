/**
 * `policy replay --policy NEW RECORD…`: what a policy would change for a recorded session. It guards the one answer that scripts ask for:
 * EXIT_DENIES_MORE if anything that got through would be denied, also where the record does not know enough to be sure.
 */
import { SluiceError } from '../../../base/error.js'
import { Judge, type Judgement } from '../judge.js'
import { type Attempt, readAttempts } from '../record-attempts.js'
import { type Context, compileFiles, EXIT_DENIES_MORE, EXIT_FOUND, EXIT_OK } from './context.js'
import { tellBadLines, whatOf } from './record-words.js'

/** Targets that are told apart; the rest is counted together. */
const CHANGES_MAX = 100_000

export interface ReplayRequest {
  readonly policies: readonly string[]
  readonly files: readonly string[]
  readonly json: boolean
}

interface Change {
  readonly change: 'now denied' | 'now allowed'
  readonly what: string
  readonly rule: string
  readonly reason: string
  /** The rule of the record. */
  readonly was: string
  count: number
  readonly first: string
  last: string
}

export async function replay({ policies, files, json }: ReplayRequest, context: Context): Promise<number> {
  if (policies.length === 0) throw new SluiceError('USAGE', 'no policy is given', { hint: '--policy FILE' })
  const compiled = compileFiles(policies, context)
  if (compiled === null) return EXIT_FOUND
  const judge = new Judge(compiled.rules)
  const reader = readAttempts(files)
  const changes = new Map<string, Change>()
  let attempts = 0
  for await (const attempt of reader.attempts) {
    attempts += countOf(attempt)
    const judgement = judge.judge(attempt)
    const change = changeOf(attempt, judgement)
    if (change !== null) add(changes, { change, attempt, judgement })
  }
  tellBadLines(reader, context)
  const sorted = [...changes.values()].sort(
    (a, b) => b.change.localeCompare(a.change) || b.count - a.count || a.what.localeCompare(b.what),
  )
  for (const each of sorted) context.out(json ? JSON.stringify(each) : lineOf(each))
  const denied = sorted.filter(({ change }) => change === 'now denied')
  const total = (list: readonly Change[]) => list.reduce((sum, { count }) => sum + count, 0)
  const opened = sorted.filter(({ change }) => change === 'now allowed')
  context.err(
    `${compiled.rules.name}: of ${attempts} attempts ${total(denied)} would be denied that were not, ${total(opened)} the other way round`,
  )
  return denied.length > 0 ? EXIT_DENIES_MORE : EXIT_OK
}

/** Null: nothing changes. What would have been denied was not allowed, though it got through. */
function changeOf({ verdict }: Attempt, { decision }: Judgement): Change['change'] | null {
  const wasDenied = verdict.decision === 'DENY' || verdict.decision === 'WOULD_DENY'
  if (decision === 'DENY') return wasDenied ? null : 'now denied'
  return wasDenied ? 'now allowed' : null
}

function add(
  changes: Map<string, Change>,
  found: { change: Change['change']; attempt: Attempt; judgement: Judgement },
): void {
  const { change, attempt, judgement } = found
  const what = changes.size < CHANGES_MAX ? whatOf(attempt) : 'others'
  const key = [change, what, judgement.rule, judgement.reason].join('\0')
  const known = changes.get(key)
  if (known === undefined) {
    const { rule, reason } = judgement
    changes.set(key, {
      change,
      what,
      rule,
      reason,
      was: attempt.verdict.rule,
      count: countOf(attempt),
      first: attempt.time,
      last: attempt.time,
    })
    return
  }
  known.count += countOf(attempt)
  known.last = attempt.time
}

function countOf(attempt: Attempt): number {
  return attempt.kind === 'connect' ? attempt.count : 1
}

function lineOf({ change, what, rule, reason, count }: Change): string {
  return `${change}  ${what}  ${count}×  ${rule}${reason === '' ? '' : `: ${reason}`}`
}

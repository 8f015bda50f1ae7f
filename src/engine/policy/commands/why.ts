/**
 * `policy why UID RECORD…`: the verdict of one event, and with `--policy` every rule that was considered for it. It guards that rules of
 * another policy than the recorded one are not taken for the reason without a word.
 */
import { SluiceError } from '../../../base/error.js'
import { type Consideration, Judge, type Judgement } from '../judge.js'
import { type Attempt, type RecordedPolicy, readAttempts } from '../record-attempts.js'
import { type Context, compileFiles, EXIT_FOUND, EXIT_OK } from './context.js'
import { tellBadLines, whatOf } from './record-words.js'

export interface WhyRequest {
  readonly uid: string
  readonly policies: readonly string[]
  readonly files: readonly string[]
  readonly json: boolean
}

export async function why({ uid, policies, files, json }: WhyRequest, context: Context): Promise<number> {
  const compiled = policies.length === 0 ? null : compileFiles(policies, context)
  if (policies.length > 0 && compiled === null) return EXIT_FOUND
  const reader = readAttempts(files)
  const attempt = await find(uid, reader.attempts)
  if (attempt === null) {
    tellBadLines(reader, context)
    throw new SluiceError('USAGE', `there is no event ${uid} with a verdict of a policy in ${files.join(', ')}`, {
      hint: 'connects and names have one; `sluice events -o json` shows the uid of each',
    })
  }
  const recorded = reader.policies()
  if (json) {
    const judge = compiled === null ? null : new Judge(compiled.rules)
    const rules = judge === null ? null : { now: judge.judge(attempt), considered: judge.consider(attempt) }
    context.out(
      JSON.stringify({
        uid: attempt.uid,
        time: attempt.time,
        what: whatOf(attempt),
        recorded: attempt.verdict,
        ...rules,
      }),
    )
    return EXIT_OK
  }
  for (const line of recordedLines(attempt)) context.out(line)
  if (compiled === null) {
    context.err('give the policy with --policy to see every rule that was considered')
    return EXIT_OK
  }
  tellOtherPolicy(recorded, compiled.policy.digest ?? '', context)
  const judge = new Judge(compiled.rules)
  const considered = judge.consider(attempt)
  for (const each of considered) context.out(considerationLine(each))
  if (considered.length === 0) context.out('  no rule of the policy names it')
  context.out(judgementLine(judge.judge(attempt), compiled.rules.name))
  return EXIT_OK
}

async function find(uid: string, attempts: AsyncGenerator<Attempt>): Promise<Attempt | null> {
  for await (const attempt of attempts) if (attempt.uid === uid) return attempt
  return null
}

function recordedLines(attempt: Attempt): string[] {
  const { decision, rule, policy, reason } = attempt.verdict
  const by = rule === '' || rule === 'none' ? 'there was no policy' : `${policy === '' ? '' : `${policy} `}${rule}`
  const names =
    attempt.kind === 'connect' && attempt.names.length > 1
      ? [`  also known as ${attempt.names.slice(1).join(', ')}`]
      : []
  const address = attempt.kind === 'connect' && attempt.names.length > 0 ? [`  at ${attempt.address}`] : []
  return [
    `${attempt.time} ${whatOf(attempt)}${attempt.exe === '' ? '' : ` by ${attempt.exe}`}`,
    ...address,
    ...names,
    `recorded: ${decision || 'no verdict'}, ${by}${reason === '' ? '' : `: ${reason}`}`,
  ]
}

function tellOtherPolicy(recorded: readonly RecordedPolicy[], digest: string, { err }: Context): void {
  if (recorded.length === 0 || recorded.some((each) => each.digest === digest)) return
  const names = recorded.map(({ name, digest: was }) => `${name} ${was.slice(0, 12)}`).join(', ')
  err(
    `the policy given (${digest.slice(0, 12)}) is not the one that was recorded (${names}): what follows is what it would say`,
  )
}

function considerationLine({ origin, says, why: because }: Consideration): string {
  const source = origin.source === null ? '' : ` (${origin.source})`
  const place = origin.place === null ? '' : ` line ${origin.place.line}`
  return `  ${origin.path}${place} ${says}: ${because}${source}${says === 'denies' && origin.reason !== '' ? `: ${origin.reason}` : ''}`
}

function judgementLine({ decision, rule, reason }: Judgement, name: string): string {
  return `${name}: ${decision}, ${rule}${reason === '' ? '' : `: ${reason}`}`
}

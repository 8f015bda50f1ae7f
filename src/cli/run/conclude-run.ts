/**
 * The end of a run: the record is made complete or says what it lacks, and the user is told. Guards that nothing is missing silently:
 * without a summary in text, what is missing is an error line of its own. Does not decide the exit code.
 */

import { writeStderr } from '../../base/stderr.js'
import { neutralise, neutraliseJson } from '../display-text.js'
import type { ColorMode } from '../environment.js'
import { summaryText } from '../summary-text.js'
import { terminalColumns, wantsColor } from '../terminal.js'
import type { EventConsumer } from './event-consumer.js'
import { launchMessage } from './launch-message.js'
import type { LiveLines } from './live-lines.js'
import type { PlannedPolicy } from './planned-policy.js'
import type { RecordFailure, RecordFile } from './record-file.js'
import type { RunOptions } from './run-options.js'
import type { WatchedOutcome } from './watched-run.js'

const STDERR = 2

export interface Conclusion {
  readonly options: RunOptions
  readonly color: ColorMode
  readonly outcome: Extract<WatchedOutcome, { kind: 'ended' }>
  readonly record: RecordFile | null
  readonly consumer: EventConsumer
  readonly live: LiveLines | null
  readonly degraded: readonly string[]
  readonly asRoot: boolean
  /** That it was held to at its start. */
  readonly policy: PlannedPolicy | null
}

/** When it resolves the record is on the disk and closed. Never throws over what it could not write. */
export async function concludeRun(conclusion: Conclusion): Promise<void> {
  const { options, outcome, consumer } = conclusion
  const problems = await completeRecord(conclusion)
  await endLiveView(conclusion.live)
  const didRun = outcome.failure === null
  if (outcome.failure !== null) {
    writeStderr(`${launchMessage(outcome.failure, options.command[0], options.workdir)}\n`)
  }
  const asText = options.summary === 'text' && didRun
  if (!asText) for (const problem of problems) writeStderr(`sluice: ${neutralise(problem)}\n`)
  const matched = failOnMatched(options, consumer)
  if (matched !== null) writeStderr(`sluice: --fail-on ${matched}\n`)
  if (options.summary === 'json') {
    const summary = consumer.summary() ?? { complete: false, problem: problems.join('; ') }
    writeStderr(`${neutraliseJson(JSON.stringify(summary))}\n`)
  }
  if (asText) writeText(conclusion, problems)
}

/** What `--fail-on` was given for has happened, in words; null: it has not. */
export function failOnMatched({ failOn }: Pick<RunOptions, 'failOn'>, consumer: EventConsumer): string | null {
  const count = failOn === 'deny' ? consumer.denied() : failOn === 'detection' ? consumer.detected() : 0
  if (count === 0) return null
  if (failOn === 'deny') return `deny: ${count} events were refused or would have been`
  return count === 1 ? 'detection: there was one' : `detection: there were ${count}`
}

/** What is missing, in sentences; each is in the record too where the disk had room for it. */
async function completeRecord({ outcome, record, consumer }: Conclusion): Promise<string[]> {
  const problems: string[] = []
  const { problem } = outcome
  if (problem !== null) {
    problems.push(problem.lost ? `${problem.cause}: events are missing` : problem.cause)
    if (problem.lost && record?.failure() === null) await consumer.writeGap(problem.cause, Date.now())
  }
  if (record === null) return problems
  await record.check()
  const failed = record.failure()
  if (failed !== null) await consumer.writeGap(failed.cause, Date.now())
  await record.close()
  const failure = record.failure()
  if (failure !== null) problems.push(`--record ${record.path}: ${failureText(failure)}`)
  return problems
}

function failureText({ cause, missing }: RecordFailure): string {
  if (missing === null) return `${cause}; what it holds is not the record of this run, or not all of it`
  return `${cause}; the record is incomplete, ${missing} events are missing`
}

/** Also what waits in it: the summary comes after the last line. */
async function endLiveView(live: LiveLines | null): Promise<void> {
  const unshown = await live?.end()
  if (unshown === undefined || (unshown.lines === 0 && unshown.exact)) return
  // One that was given up may have been cut in the middle of a line.
  const [start, count] = unshown.exact ? ['', String(unshown.lines)] : ['\n', `at least ${unshown.lines}`]
  const what = unshown.exact && unshown.lines === 1 ? 'live line was' : 'live lines were'
  writeStderr(`${start}sluice: ${count} ${what} not shown: whoever reads stderr is too slow\n`)
}

function writeText(conclusion: Conclusion, problems: string[]): void {
  const { options, color, outcome, record, consumer, degraded, asRoot, policy } = conclusion
  writeStderr(
    summaryText(
      {
        summary: consumer.summary(),
        command: options.command,
        status: outcome.status,
        workdir: options.workdir,
        recordPath: record?.path ?? null,
        asRoot,
        policy,
        degraded,
        problems,
      },
      { color: wantsColor(color, STDERR), columns: terminalColumns(STDERR) },
    ),
  )
}

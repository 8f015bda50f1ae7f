/**
 * `sluice sessions review`: one session on one screen, for a person who has to judge it; records who read it, and keeps it until they are done.
 * Not here: which sessions are worth it (sample-sessions.ts).
 */
import { SluiceError } from '../../base/error.js'
import { writeStderr } from '../../base/stderr.js'
import { addReview, type ReviewLine } from '../../proto/journal/review-log.js'
import { neutralise, neutraliseJson } from '../display-text.js'
import { errorLine } from '../report.js'
import { userNames } from '../user-names.js'
import type { JournalContext } from './journal-context.js'
import { foundSession } from './journal-events.js'
import { headJson } from './list-sessions.js'
import { reviewLines } from './review-text.js'
import { type Reviewed, review } from './reviewed-session.js'
import { ASPECTS, type Tally } from './session-digest.js'
import { type RawVerifyOptions, reportJson } from './verify-sessions.js'

export interface RawReviewOptions extends RawVerifyOptions {
  keep?: boolean
  done?: boolean
  note?: string
  sample?: string
}

/** The exit code: 1 where the journal is not what was written. */
export async function reviewSession(wanted: string, raw: RawReviewOptions, context: JournalContext): Promise<number> {
  const { dir, json } = context
  if (raw.keep && raw.done) throw new SluiceError('USAGE', 'a session is either kept or done: --keep or --done')
  const reviewed = review(foundSession(dir, wanted), raw, dir)
  const lines = json ? [neutraliseJson(JSON.stringify(reviewJson(reviewed)))] : reviewLines(reviewed)
  for (const line of lines) process.stdout.write(`${json ? line : neutralise(line)}\n`)
  const isRecorded = record(reviewed.session.folder, raw, context)
  const isWhole = reviewed.problem === null && reviewed.report?.problem == null
  return isWhole && isRecorded ? 0 : 1
}

/** False: somebody asked for it, and it could not be written. */
function record(folder: string, raw: RawReviewOptions, { settings }: JournalContext): boolean {
  const uid = settings.environment.invoker?.uid ?? process.getuid?.() ?? 0
  const act = raw.keep ? 'KEEP' : raw.done ? 'DONE' : 'READ'
  const line: ReviewLine = { time: new Date().toISOString(), by: userNames()(uid), act, note: raw.note ?? '' }
  try {
    addReview(folder, line)
    return true
  } catch (error) {
    writeStderr(`${errorLine(error)}; nobody is told that you read it\n`)
    return act === 'READ' && raw.note === undefined
  }
}

function reviewJson({ session, digest, report, problem, readers }: Reviewed) {
  const { start, end, calls, callsFailed, reasons, policies, gaps, lost, events } = digest
  const aspects = ASPECTS.map((aspect) => [aspect, tallyJson(digest.aspects[aspect])])
  return {
    ...headJson(session.head),
    ...{ started: start, policies, result: end, eventsRead: events },
    ...{ toolCalls: tallyJson(calls), toolCallsFailed: callsFailed, ...Object.fromEntries(aspects) },
    ...{ reasons: tallyJson(reasons), gaps: tallyJson(gaps), lostByGaps: String(lost) },
    ...{ verification: report === null ? null : reportJson(report), problem, readers },
  }
}

function tallyJson(tally: Tally) {
  return { names: tally.sorted.map(([name, count]) => ({ name, count })), left: tally.left }
}

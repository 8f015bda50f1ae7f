/**
 * `sluice sessions review --sample`: which sessions a person should read, and why these. The noticed and the refused come first, the rest of the
 * share is drawn by the session's own id: nobody chooses, and asking again gives the same. Sessions that were read are left out.
 */
import { createHash } from 'node:crypto'
import { SluiceError } from '../../base/error.js'
import { readReviews } from '../../proto/journal/review-log.js'
import { neutralise, neutraliseJson, neutraliseWord } from '../display-text.js'
import type { JournalContext } from './journal-context.js'
import { type FoundSession, findSessions } from './journal-events.js'
import { headJson } from './list-sessions.js'
import type { RawReviewOptions } from './review-session.js'
import { type Reviewed, review } from './reviewed-session.js'
import { compileSelection, type RawSelection } from './selection.js'

const SHARE = /^(\d{1,3}(?:\.\d{1,3})?)%$/
const WHOLE = 100

interface Candidate {
  readonly session: FoundSession
  /** The first is the one that counts most. */
  readonly reasons: readonly string[]
  readonly weight: number
}

/** The exit code: 1 where one of the journals is not what was written. */
export async function sampleSessions(
  raw: RawReviewOptions & RawSelection,
  { dir, json }: JournalContext,
): Promise<number> {
  const share = shareOf(raw.sample ?? '')
  const meant = findSessions(dir, []).filter(({ head }) => compileSelection(raw, Date.now())(head))
  const unread = meant.filter(({ folder }) => readReviews(folder).length === 0)
  const candidates = unread.map((session) => candidate(review(session, raw, dir)))
  const wanted = Math.ceil((meant.length * share) / WHOLE)
  const chosen = candidates.sort(byWeight).slice(0, wanted)
  for (const { session, reasons } of chosen) {
    const { head } = session
    const who = `${neutraliseWord(head.sandbox?.agent ?? '')}/${neutraliseWord(head.sandbox?.task ?? '')}`
    const line = json ? neutraliseJson(JSON.stringify({ ...headJson(head), reasons })) : ''
    process.stdout.write(`${json ? line : neutralise(`${head.sessionId} ${who}: ${reasons.join('; ')}`)}\n`)
  }
  return candidates.some(({ weight }) => weight >= WEIGHTS.bad) ? 1 : 0
}

const WEIGHTS = { bad: 1_000, high: 100, denial: 10, detection: 10, response: 5, gap: 5 } as const

function candidate({ session, digest, report, problem }: Reviewed): Candidate {
  const { denials, detections, responses } = digest.aspects
  const high = detections.sorted.filter(([name]) => name.startsWith('high '))
  const found: [weight: number, reason: string][] = []
  if (problem !== null || report?.state === 'BAD') found.push([WEIGHTS.bad, 'its journal is not what was written'])
  if (high.length > 0) found.push([WEIGHTS.high, high.map(([name]) => name).join(', ')])
  else if (detections.total > 0) found.push([WEIGHTS.detection, detections.sorted.map(([name]) => name).join(', ')])
  if (denials.total > 0) found.push([WEIGHTS.denial, `${denials.total} denials`])
  if (responses.total > 0) found.push([WEIGHTS.response, responses.sorted.map(([name]) => name).join(', ')])
  if (digest.lost > 0n) found.push([WEIGHTS.gap, `${digest.lost} events are missing`])
  const weight = found.reduce((sum, [own]) => sum + own, 0)
  return { session, weight, reasons: weight === 0 ? ['drawn'] : found.map(([, reason]) => reason) }
}

/** Of equal ones, an order that follows from the id and that no session can choose. */
function byWeight(a: Candidate, b: Candidate): number {
  return b.weight - a.weight || (lot(a) < lot(b) ? -1 : 1)
}

function lot({ session }: Candidate): string {
  return createHash('sha256').update(session.head.sessionId).digest('hex')
}

function shareOf(text: string): number {
  const share = Number(SHARE.exec(text)?.[1] ?? Number.NaN)
  if (share > 0 && share <= WHOLE) return share
  throw new SluiceError('USAGE', `--sample is '${text}': it must be a share, e.g. 5%`)
}

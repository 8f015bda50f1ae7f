/**
 * What is usual over sessions, from what was in each. Guards that one session moves it little, a short one less, and that it rises slowly whatever
 * is taught: an agent that does a bit more each time comes to be above it, in place of taking it along.
 */
import { type Counted, LEAST, type Usual } from './history.js'

export interface KeptUsual extends Usual {
  readonly sessions: number
  /** What it was when the week began: it rises from there. */
  readonly anchorMean: number
  readonly anchorDeviation: number
  readonly anchorMs: number
}

/** Until then it goes where the sessions are: there is nothing yet that it could rise from. */
const SETTLING_SESSIONS = 5
const WEIGHT = 0.1
/** That make a whole session. */
const WHOLE_WINDOWS = 12
const WEEK_MS = 7 * 24 * 3_600_000
/** In a week. */
const RISE = 1.25
/** The same for what is next to nothing: parts of what is odd at all. */
const MEAN_SLACK = 0.1
const DEVIATION_SLACK = 0.02
const WINDOWS_MAX = 1_000_000

/** `kept` null: this is the first session. @param timeMs of the session's end */
export function taught(kept: KeptUsual | null, session: Usual, counted: Counted, timeMs: number): KeptUsual {
  if (kept === null) return anchored({ ...session, sessions: 1 }, timeMs)
  const sessions = kept.sessions + 1
  const weight = Math.max(WEIGHT, 1 / sessions) * Math.min(1, session.windows / WHOLE_WINDOWS)
  const strays = session.deviation + Math.abs(session.mean - kept.mean)
  const next = {
    mean: kept.mean + weight * (session.mean - kept.mean),
    deviation: kept.deviation + weight * (strays - kept.deviation),
    windows: Math.min(kept.windows + session.windows, WINDOWS_MAX),
    sessions,
  }
  if (sessions <= SETTLING_SESSIONS) return anchored(next, timeMs)
  const week = timeMs - kept.anchorMs >= WEEK_MS ? anchored(kept, timeMs) : kept
  const least = LEAST[counted]
  return {
    ...week,
    ...next,
    mean: Math.min(next.mean, Math.max(week.anchorMean * RISE, week.anchorMean + MEAN_SLACK * least)),
    deviation: Math.min(
      next.deviation,
      Math.max(week.anchorDeviation * RISE, week.anchorDeviation + DEVIATION_SLACK * least),
    ),
  }
}

function anchored(now: Usual & { readonly sessions: number }, timeMs: number): KeptUsual {
  const { mean, deviation, windows, sessions } = now
  return { mean, deviation, windows, sessions, anchorMean: mean, anchorDeviation: deviation, anchorMs: timeMs }
}

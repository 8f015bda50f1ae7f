/** What a reviewer is told of one session: read once, checked on the way. Guards that what could not be checked is not called proved. */
import { join } from 'node:path'
import { messageOf } from '../../base/error.js'
import { eventToJson } from '../../proto/event-json.js'
import { KEYS_FOLDER, readKeys, readWitness } from '../../proto/journal/journal-folder.js'
import { type ReviewLine, readReviews } from '../../proto/journal/review-log.js'
import type { JournalReport } from '../../proto/journal/verify-journal.js'
import { eventsOf, type FoundSession } from './journal-events.js'
import { SessionDigest } from './session-digest.js'
import { checkedJournal, type RawVerifyOptions } from './verify-sessions.js'

export interface Reviewed {
  readonly session: FoundSession
  readonly digest: SessionDigest
  /** Null: there was no key to check it with. */
  readonly report: JournalReport | null
  /** As a reader found it; null: it fits to its end. */
  readonly problem: string | null
  /** Before this reader. */
  readonly readers: readonly ReviewLine[]
}

export function review(session: FoundSession, raw: RawVerifyOptions, dir: string): Reviewed {
  const { folder, head } = session
  const digest = new SessionDigest()
  const readers = readReviews(folder)
  const keys = readKeys(raw.key ?? [join(dir, KEYS_FOLDER)])
  const of = { session, digest, readers }
  try {
    if (keys.size === 0) {
      for (const event of eventsOf(session)) digest.add(event)
      return { ...of, report: null, problem: null }
    }
    const witness = raw.witness === undefined ? null : readWitness(raw.witness)
    const onEvent = (event: Parameters<typeof eventToJson>[0]) => digest.add(eventToJson(event))
    const report = checkedJournal({ folder, sessionId: head.sessionId, keys, witness, onEvent })
    return { ...of, report, problem: null }
  } catch (error) {
    return { ...of, report: null, problem: messageOf(error) }
  }
}

/**
 * The events of sessions, from their journals, in order. Guards that nothing behind a record that doesn't fit is shown, and that whoever reads is
 * told where it ends. Signatures are `verify`'s.
 */
import { messageOf, SluiceError } from '../../base/error.js'
import { writeStderr } from '../../base/stderr.js'
import { Event } from '../../proto/codec.js'
import { type EventJson, eventToJson } from '../../proto/event-json.js'
import { sessionFolder, sessionsOf } from '../../proto/journal/journal-folder.js'
import { walkJournal } from '../../proto/journal/walk-journal.js'
import { neutralise } from '../display-text.js'
import { readSessionHead, type SessionHead } from './session-head.js'

export interface FoundSession {
  readonly folder: string
  readonly head: SessionHead
}

/** Those that were named, or all. One that can't be read is told and left out, where it was not named. */
export function findSessions(dir: string, wanted: readonly string[]): FoundSession[] {
  if (wanted.length > 0) return wanted.map((name) => foundSession(dir, name))
  return sessionsOf(dir).flatMap((id) => {
    try {
      return [foundSession(dir, id)]
    } catch (error) {
      writeStderr(`sluice: ${neutralise(messageOf(error))}; skipped\n`)
      return []
    }
  })
}

/** The one that was named. Throws USAGE or IO. */
export function foundSession(dir: string, name: string): FoundSession {
  const { folder, sessionId } = sessionFolder(dir, name)
  return { folder, head: readSessionHead(folder, sessionId) }
}

/** Throws PROTOCOL behind the last event that fits, where the journal is not what was written. */
export function* eventsOf({ folder, head }: FoundSession): Generator<EventJson> {
  for (const item of walkJournal(folder, head.sessionId)) {
    if (item.kind === 'record') yield eventToJson(Event.decode(item.record.content))
    if (item.kind !== 'bad') continue
    const { record, file, reason } = item.problem
    throw new SluiceError(
      'PROTOCOL',
      `session ${head.sessionId}: record ${record} (${file}) is not what was written: ${reason}`,
      {
        hint: 'nothing behind it is shown; `sluice sessions verify` tells more',
      },
    )
  }
}

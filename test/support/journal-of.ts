/** What the journal of the tests has of a session, and that it is what was written. */
import { join } from 'node:path'
import { expect } from 'vitest'
import { type EventJson, eventToJson } from '../../src/proto/event-json.js'
import { readKeys, sessionFolder } from '../../src/proto/journal/journal-folder.js'
import { type JournalReport, verifyJournal } from '../../src/proto/journal/verify-journal.js'

/** Where runs of the tests leave their journals. */
export function journalDir(): string {
  const dir = process.env.SLUICE_JOURNAL
  if (dir === undefined) throw new Error('the tests have no journal')
  return dir
}

/** Fails for one that is not sealed and whole. */
export function sealedJournal(sessionId: string, dir = journalDir()): { report: JournalReport; events: EventJson[] } {
  const events: EventJson[] = []
  const keys = readKeys([join(dir, 'keys')])
  const report = verifyJournal({
    ...sessionFolder(dir, sessionId),
    keys,
    onEvent: (event) => void events.push(eventToJson(event)),
  })
  expect(report).toMatchObject({ state: 'SEALED', problem: null, tornBytes: 0 })
  return { report, events }
}

/** What the engine's parts count, for whoever asks by a number. Guards that it is read when it is asked for, and kept by nobody twice. */
import type { ConnectedSensor } from '../ingest.js'
import type { Journal } from '../journal/journal.js'
import type { SinksWatch } from '../kept-parts.js'
import type { PartFaults } from '../part-faults.js'
import type { Pipeline } from '../pipeline.js'
import type { SandboxBook } from '../sandbox-book.js'
import type { PreparedSpool } from '../spool/open-spool.js'
import type { Watchers } from '../watchers.js'
import type { EngineNumbers } from './exposition.js'

export function numbersOf(of: {
  journal: Journal | null
  spool: PreparedSpool | null
  sinks: Pick<SinksWatch, 'status'> | null
  faults: Pick<PartFaults, 'parts'>
  pipeline: Pipeline
  book: SandboxBook
  watchers: Watchers
  sensor(): ConnectedSensor | null
}): EngineNumbers {
  const { journal, spool, sinks, faults, pipeline, book, watchers, sensor } = of
  return {
    sandboxes: () => book.all().length,
    isSensorConnected: () => sensor() !== null,
    stray: () => pipeline.stray,
    undecodable: () => pipeline.undecodable,
    committedBatches: () => Number(pipeline.committed),
    watchers: () => watchers.count,
    journal: () => journal?.numbers ?? null,
    spool: () => spool?.numbers ?? null,
    sinks: () => sinks?.status() ?? [],
    parts: () => faults.parts,
  }
}

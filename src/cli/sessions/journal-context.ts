/** What every command of `sluice sessions` is told. */
import type { Settings } from '../command-parts.js'

export interface JournalContext {
  /** Of the journal. */
  readonly dir: string
  readonly json: boolean
  readonly settings: Settings
}

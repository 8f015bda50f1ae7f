/** Where this node's journals are, and for how long they are kept: variables beat the configuration file, that beats what is usual. */
import type { JournalPlace } from '../../supervise/stack-parts.js'
import type { Environment } from '../environment.js'
import type { NodeConfig } from './node-config.js'

export const JOURNAL_DIR = '/var/lib/sluice/journal'
export const KEEP_DAYS = 90
export const KEEP_MIB = 4_096
const MIB = 1024 * 1024

export function journalDir({ journal }: NodeConfig, environment: Pick<Environment, 'journal'>): string {
  return environment.journal ?? journal?.dir ?? JOURNAL_DIR
}

/** Null: none is written. */
export function journalPlace(config: NodeConfig, environment: Pick<Environment, 'journal'>): JournalPlace | null {
  const { off = false, keepDays = KEEP_DAYS, keepMiB = KEEP_MIB } = config.journal ?? {}
  if (off && environment.journal === null) return null
  return { dir: journalDir(config, environment), keepDays, keepBytes: keepMiB * MIB }
}

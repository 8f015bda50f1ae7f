/** Where the spool is, how much it keeps, and which sinks there are: what the configuration says, else what is usual. */
import type { SinksOptions, SpoolPlace } from '../../supervise/sinks-part.js'
import { ownVersion } from '../version.js'
import type { NodeConfig } from './node-config.js'

const MAX_MIB = 512
const MAX_HOURS = 72
const MIB = 1024 * 1024
const HOUR_MS = 3_600_000

export function spoolPlace({ spool }: NodeConfig, stateDir: string): SpoolPlace {
  const { dir = `${stateDir}/spool`, maxMiB = MAX_MIB, maxHours = MAX_HOURS } = spool ?? {}
  return { dir, bytesMax: maxMiB * MIB, ageMaxMs: maxHours * HOUR_MS }
}

/** Without sinks nothing is kept for any. @param reread the configuration as it is now */
export function sinksOptions(
  config: NodeConfig,
  { stateDir, reread }: { stateDir: string; reread(): Promise<NodeConfig> },
): SinksOptions {
  return {
    ...{ spool: spoolPlace(config, stateDir), sinks: config.sinks ?? {}, version: ownVersion() },
    reread: async () => (await reread()).sinks ?? {},
  }
}

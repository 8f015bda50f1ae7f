/** Opens the place where metrics are asked for, where one is wanted: an engine that is asked by nobody does not load their library. */
import type { Log } from '../../base/log.js'
import type { EventTally } from './event-tally.js'
import type { EngineNumbers } from './exposition.js'
import type { MetricsAddress } from './metrics-server.js'

/** Null: nobody may ask. It listens a little later, or says why not. */
export async function openMetrics(
  at: MetricsAddress | undefined,
  { tally, numbers, log }: { tally: EventTally | null; numbers: EngineNumbers; log: Log },
): Promise<{ stop(): void } | null> {
  if (at === undefined || tally === null) return null
  const [{ newExposition }, { MetricsServer }] = await Promise.all([
    import('./exposition.js'),
    import('./metrics-server.js'),
  ])
  const server = new MetricsServer(at, newExposition(tally, numbers), log)
  server.start()
  return server
}

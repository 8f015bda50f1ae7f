/** What a batch is called, by what is in it: a receiver can know one that comes again. */
import { derivedUuid } from '../base/uuid.js'
import { textToUnixNs } from '../proto/time-text.js'
import type { Item } from './transport.js'

const NS_PER_MS = 1_000_000n

/** The same for the same events. @param form what else makes it another one */
export function batchUid(items: readonly Item[], ...form: readonly string[]): string {
  const unixMs = textToUnixNs(items[0]?.event.time ?? '1970-01-01T00:00:00Z') / NS_PER_MS
  return derivedUuid({ unixMs, parts: [...form, ...items.map(({ uid }) => uid)] })
}

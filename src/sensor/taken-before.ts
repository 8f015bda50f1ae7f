/**
 * How much earlier sensors have taken out of the rings that this one found: all that was ever put in, less what waits. With what an
 * engine received it says exactly what a sensor that died took along. Guards that a number which is not exact comes with its bounds.
 */
import type { BpfObject, RingReader } from '../native/addon.js'
import { type Counters, readCounters } from './kind-counters.js'

/** One try costs some microseconds; it succeeds if nothing is recorded meanwhile. */
export const TRIES_MAX = 20_000

export interface TakenBefore {
  /** At least so much, by kind. */
  readonly counts: ReadonlyMap<number, bigint>
  /** And so much more at most; kinds that are known exactly are left out. */
  readonly doubts: ReadonlyMap<number, bigint>
}

/** What is told of by the records, by kind. */
type Amounts = ReadonlyMap<number, bigint>

interface Bounds {
  readonly least: Amounts
  readonly most: Amounts
}

export const NOTHING_TAKEN: TakenBefore = { counts: new Map(), doubts: new Map() }

/**
 * Before anything is read from the rings. A kernel side that has put a record in and is about to count it would make a number too small:
 * it is a few instructions away from that, and reading the counters takes thousands.
 */
export function countTakenBefore(
  object: BpfObject,
  rings: readonly Pick<RingReader, 'waiting'>[],
  triesMax = TRIES_MAX,
): TakenBefore {
  let bounds: Bounds | null = null
  for (let tries = 0; tries < triesMax || bounds === null; tries += 1) {
    const before = readCounters(object)
    const waiting = rings.map((ring) => ring.waiting())
    const after = readCounters(object)
    // While a record is being written nothing is known; that ends by itself.
    if (waiting.includes(null)) continue
    bounds = closer(bounds, boundsOf({ before, after, waiting }))
    if (isExact(bounds)) break
  }
  return { counts: bounds.least, doubts: doubtsOf(bounds) }
}

/** What was put in by the time of the look at the rings lies between the two readings. */
function boundsOf(seen: { before: Counters; after: Counters; waiting: readonly (number[] | null)[] }): Bounds {
  const { before, after, waiting } = seen
  const less = (counters: Counters) =>
    new Map(
      [...counters.kinds].map(([kind, { submitted, folded }]) => {
        const left = waiting.reduce((total, ring) => total + (ring?.[kind] ?? 0), 0)
        const taken = submitted + folded - BigInt(left)
        return [kind, taken > 0n ? taken : 0n] as const
      }),
    )
  return { least: less(before), most: less(after) }
}

/** What was taken does not change: every try is true of it. */
function closer(known: Bounds | null, more: Bounds): Bounds {
  if (known === null) return more
  const pick = (a: Amounts, b: Amounts, better: (a: bigint, b: bigint) => boolean) =>
    new Map([...a].map(([kind, one]) => [kind, better(one, b.get(kind) ?? one) ? one : (b.get(kind) ?? one)] as const))
  return {
    least: pick(known.least, more.least, (a, b) => a > b),
    most: pick(known.most, more.most, (a, b) => a < b),
  }
}

function isExact(bounds: Bounds): boolean {
  return doubtsOf(bounds).size === 0
}

function doubtsOf({ least, most }: Bounds): Map<number, bigint> {
  const doubts = [...most].map(([kind, count]) => [kind, count - (least.get(kind) ?? 0n)] as const)
  return new Map(doubts.filter(([, doubt]) => doubt > 0n))
}

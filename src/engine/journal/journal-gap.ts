/**
 * What a journal says of events that it does not have, as a gap event in their place. Guards that its number is that of the last of them, so
 * that the next event follows it.
 */
import { derivedUuid } from '../../base/uuid.js'
import { fromBigInt, type IEvent, Stage, toBigInt } from '../../proto/codec.js'

const NS_PER_MS = 1_000_000n

export interface JournalGap {
  readonly count: bigint
  readonly exact: boolean
  /** Of the last event that is missing. */
  readonly lastSeq: bigint
  readonly fromUnixNs: bigint
  readonly toUnixNs: bigint
  readonly cause: string
}

/** @param of an event of the same session */
export function journalGap(of: IEvent, gap: JournalGap): IEvent {
  const { count, exact, lastSeq, fromUnixNs, toUnixNs, cause } = gap
  const parts = [of.sessionId ?? '', 'journal', String(lastSeq), String(count), cause]
  return {
    ...{ schema: of.schema ?? 0, source: 'journal', node: of.node ?? null, sandbox: of.sandbox ?? null },
    ...{ sessionId: of.sessionId ?? '', toolCallId: '', seq: fromBigInt(lastSeq), timeUnixNs: fromBigInt(toUnixNs) },
    uid: derivedUuid({ unixMs: toUnixNs / NS_PER_MS, parts }),
    gap: {
      ...{ stage: Stage.STAGE_SPOOL, kind: '', count: fromBigInt(count), exact, cause },
      ...{ countMax: fromBigInt(count), fromUnixNs: fromBigInt(fromUnixNs), toUnixNs: fromBigInt(toUnixNs) },
    },
  }
}

/** Events in turns that could not be written. */
export class MissingEvents {
  readonly first: IEvent
  private last: IEvent
  private count = 0n
  readonly cause: string

  constructor(first: IEvent, cause: string) {
    this.first = first
    this.last = first
    this.cause = cause
  }

  add(event: IEvent): void {
    this.last = event
    this.count++
  }

  get event(): IEvent {
    return journalGap(this.last, {
      ...{ count: this.count, exact: true, lastSeq: toBigInt(this.last.seq), cause: this.cause },
      ...{ fromUnixNs: toBigInt(this.first.timeUnixNs), toUnixNs: toBigInt(this.last.timeUnixNs) },
    })
  }
}

/**
 * How far the reader of a session is that an earlier engine began. An engine that goes on makes the same facts into events once more, from
 * where the one before it was saved, in the same order; what is derived from them need not be the same, since detection begins with
 * empty windows: numbers say nothing. Guards that the reader gets no event twice and lacks none: facts up to the last one that it has
 * are its own, of all others the uid tells. Not here: numbering (session.ts).
 */
import { type IEvent, type IRunResume, toBigInt } from '../proto/codec.js'
import { isFactOf, OTHERS_MAX } from '../proto/event-source.js'

/** A fact comes at most so much later than its time says: one that is younger by more comes behind the last one that the reader has. */
const LATE_MS_MAX = 2_000

export class ReaderPlace {
  readonly lastSeq: bigint
  /** Null: all facts from here on are new to it. */
  private last: { readonly uid: string; readonly unixMs: number } | null
  private readonly others: Set<string>
  private readonly hasEnd: boolean
  /** Facts taken for the reader's own since it was attached. */
  private skipped = 0

  /** @param savedSeq of the last event that the engine's saved state knows of; null: what was before it does not come again */
  constructor({ lastSeq, lastFactUid, lastFactSeq, otherUids, hasEnd }: IRunResume, savedSeq: bigint | null) {
    this.lastSeq = toBigInt(lastSeq)
    const isBehind = savedSeq !== null && toBigInt(lastFactSeq) > savedSeq && Boolean(lastFactUid)
    this.last = isBehind ? { uid: lastFactUid ?? '', unixMs: unixMsOf(lastFactUid ?? '') } : null
    this.hasEnd = hasEnd ?? false
    this.others = new Set((otherUids ?? []).slice(-OTHERS_MAX))
  }

  /**
   * Whether the reader has this event, which comes in its turn.
   *
   * @param onLost called where the last fact that the reader has did not come again: so many were taken for its own that may not be
   */
  has(event: IEvent, onLost: (atMost: number) => void): boolean {
    const uid = event.uid ?? ''
    // Times of what ends with the session are its end's, which another engine takes at another time.
    if (this.hasEnd || this.others.delete(uid)) return true
    if (this.last === null || !isFactOf(event.source ?? '')) return false
    if (uid === this.last.uid) {
      this.last = null
      return true
    }
    if (unixMsOf(uid) <= this.last.unixMs + LATE_MS_MAX) {
      this.skipped++
      return true
    }
    this.last = null
    if (this.skipped > 0) onLost(this.skipped)
    return false
  }
}

/** RFC 9562 §5.7: the first 48 bits. */
function unixMsOf(uid: string): number {
  return Number.parseInt(uid.slice(0, 8) + uid.slice(9, 13), 16)
}

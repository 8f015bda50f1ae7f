/**
 * How far a run's stream has come, for an engine that goes on with it: the number of the last event, the last fact, and which others came. Not
 * here: what an engine makes of it.
 */
import { fromBigInt, type IRunResume } from '../../proto/codec.js'
import { isFactOf, OTHERS_MAX } from '../../proto/event-source.js'
import { WireReader } from '../../proto/wire-reader.js'

/** Numbers of fields in proto/sluice/v1. */
const EVENT = { source: 2, uid: 4, seq: 6, sandboxEnded: 38 }

interface Head {
  source: string
  uid: string
  seq: bigint
  isEnd: boolean
}

export class StreamPlace {
  lastSeq = 0n
  private lastFact = { uid: '', seq: 0n }
  /** Those that are no facts, in order; the oldest go when there are twice as many as are told. */
  private others: string[] = []
  private hasEnd = false

  /** @param events encoded, in the order of the stream */
  has(events: readonly Buffer[]): void {
    for (const event of events) {
      const { source, uid, seq, isEnd } = headOf(event)
      this.lastSeq = seq
      this.hasEnd ||= isEnd
      if (isFactOf(source)) this.lastFact = { uid, seq }
      else this.others.push(uid)
    }
    if (this.others.length > 2 * OTHERS_MAX) this.others = this.others.slice(-OTHERS_MAX)
  }

  get resume(): Omit<IRunResume, 'sessionId'> {
    return {
      lastSeq: fromBigInt(this.lastSeq),
      lastFactUid: this.lastFact.uid,
      lastFactSeq: fromBigInt(this.lastFact.seq),
      otherUids: this.others.slice(-OTHERS_MAX),
      hasEnd: this.hasEnd,
    }
  }
}

/** Of facts only what is at the front is read: there are 50,000 a second. */
function headOf(event: Buffer): Head {
  const head: Head = { source: '', uid: '', seq: 0n, isEnd: false }
  for (const reader = new WireReader(event); reader.next(); ) {
    if (reader.field > EVENT.seq && isFactOf(head.source)) break
    if (reader.field === EVENT.source) head.source = reader.bytes.toString('latin1')
    else if (reader.field === EVENT.uid) head.uid = reader.bytes.toString('latin1')
    else if (reader.field === EVENT.seq) head.seq = (BigInt(reader.high) << 32n) | BigInt(reader.low)
    else if (reader.field === EVENT.sandboxEnded) head.isEnd = true
  }
  return head
}

/**
 * A session that an earlier engine began, until its reader is back. Guards that the reader gets what it does not have yet, in order,
 * once, and is told how many events are missing between. What waits here is bounded by whoever lets no more in meanwhile
 * (ingest.ts).
 */
import { type IEvent, type IRunResume, Stage } from '../proto/codec.js'
import { ReaderPlace } from './reader-place.js'
import type { Session } from './session.js'

const NOT_AGAIN =
  'the last event that the reader has did not come again from the sensor, so that what came before it may be missing'

export class ReopenedSession {
  readonly cgroupId: bigint
  /** Whether the engine before us left no word on how far it was. */
  private readonly uncertain: boolean
  /** Of the last event that the engine before us had given out. */
  private readonly givenSeq: bigint
  private held: IEvent[] = []
  private reader: ((event: IEvent) => void) | null = null

  constructor(options: { cgroupId: bigint; uncertain: boolean; givenSeq: bigint }) {
    this.cgroupId = options.cgroupId
    this.uncertain = options.uncertain
    this.givenSeq = options.givenSeq
  }

  publish(event: IEvent): void {
    if (this.reader === null) this.held.push(event)
    else this.reader(event)
  }

  /** @param says what the reader says that it has; null: it wants what no engine has given out yet */
  attach(session: Session, says: IRunResume | null, nowUnixNs: bigint, read: (event: IEvent) => void): void {
    const place = says === null ? null : new ReaderPlace(says, this.uncertain ? null : this.givenSeq)
    const lastSeq = place?.lastSeq ?? this.givenSeq
    const span = { fromUnixNs: session.state.lastUnixNs, toUnixNs: nowUnixNs, kind: '', stage: Stage.STAGE_UPLINK }
    const unknown = (cause: string, countMax?: bigint) =>
      session.gap(
        { ...span, count: 0n, exact: false, cause, ...(countMax === undefined ? {} : { countMax }) },
        nowUnixNs,
      )
    const { held } = this
    this.held = []
    this.reader = read
    session.readBehind(lastSeq, (event) => place?.has(event, (atMost) => unknown(NOT_AGAIN, BigInt(atMost))) ?? false)
    if (this.uncertain) {
      unknown('the engine was started anew and does not know what the one before it had not delivered')
    } else if (this.givenSeq > lastSeq) {
      const cause = 'the engine died with events that it had not delivered'
      session.gap({ ...span, count: this.givenSeq - lastSeq, exact: true, cause }, nowUnixNs)
    }
    for (const event of held) if (session.placeAgain(event)) read(event)
  }
}

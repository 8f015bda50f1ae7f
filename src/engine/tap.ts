/** Where every event goes that a pipeline gives out, besides its own reader. Guards that what is kept of it comes before who looks on. */
import type { IEvent } from '../proto/codec.js'

export interface TapParts {
  readonly journal: { append(event: IEvent): void } | null
  readonly spool: { append(event: IEvent): void } | null
  readonly tally: { saw(event: IEvent): void } | null
  readonly watchers: { publish(event: IEvent, ownerUid: number): void }
}

export function tapOf({ journal, spool, tally, watchers }: TapParts): (event: IEvent, ownerUid: number) => void {
  return (event, ownerUid) => {
    // One of the node itself is in no session's history.
    if (event.sessionId !== '') journal?.append(event)
    spool?.append(event)
    tally?.saw(event)
    watchers.publish(event, ownerUid)
  }
}

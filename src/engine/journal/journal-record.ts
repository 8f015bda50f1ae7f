/**
 * One event as a journal's record. Guards that an event which is too large for one is told by name, not cut. Encoding is the one that readers
 * get, with what is the same in many events encoded once.
 */
import { SluiceError } from '../../base/error.js'
import type { IEvent } from '../../proto/codec.js'
import { EventEncoder } from '../../proto/event-encoder.js'
import { RECORD_BYTES_MAX } from '../../proto/journal/journal-format.js'
import { WireReader } from '../../proto/wire-reader.js'

export class RecordEncoder {
  private readonly encoder = new EventEncoder()

  /** Wire bytes of the event. Throws LIMIT. */
  encode(event: IEvent): Buffer {
    this.encoder.append(event)
    // RunResponse { events { event } }: the event is what is in both.
    const response = new WireReader(this.encoder.take())
    response.next()
    const events = response.inside()
    events.next()
    const { bytes } = events
    if (bytes.length <= RECORD_BYTES_MAX) return bytes
    throw new SluiceError('LIMIT', `an event of ${bytes.length} bytes is larger than a record may be`)
  }
}

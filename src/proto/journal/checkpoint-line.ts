/**
 * A checkpoint in a line that a sink wrote: an event of kind `checkpoint`, in our own JSON, OCSF or ECS, which have the whole of it. Guards that any other
 * event is told apart from what is none. Not here: its signature.
 */
import { EVENT_KINDS } from '../event-json.js'
import { Fields, SIGNED_BYTES_MAX, type SignedText } from './signed-text.js'

/** Null: it is no event. */
export function checkpointIn(line: string): SignedText | 'another event' | null {
  const fields = Fields.parse(line)
  if (fields === null) return null
  // OCSF and ECS have what is ours in one place.
  const own =
    Fields.from(Fields.from(fields.get('unmapped'))?.get('sluice')) ?? Fields.from(fields.get('sluice')) ?? fields
  if (!EVENT_KINDS.some((kind) => Fields.from(own.get(kind)) !== null)) return null
  const checkpoint = Fields.from(own.get('checkpoint'))
  if (checkpoint === null) return 'another event'
  const body = checkpoint.get('text')
  const signature = checkpoint.get('signature')
  if (typeof body !== 'string' || typeof signature !== 'string' || body.length > SIGNED_BYTES_MAX) return null
  return { body: Buffer.from(body), signature: Buffer.from(signature, 'base64') }
}

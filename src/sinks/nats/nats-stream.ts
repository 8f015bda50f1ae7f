/**
 * The stream that batches go to: what its refusals mean, and how it is made. Guards that no stream is made which the configuration does not ask for, and that
 * whoever has to put something right reads what.
 */
import {
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
} from '@nats-io/jetstream'
import { errors, type NatsConnection } from '@nats-io/transport-node'
import { messageOf } from '../../base/error.js'
import type { NatsSettings } from '../../schema/sink-settings.js'
import { STREAM_SUBJECTS } from './nats-messages.js'

const STREAM = 'sluice'
const NS_PER_SECOND = 1_000_000_000
const BYTES_PER_MIB = 1024 * 1024
/** How long the server knows a batch by its id: an answer that was lost is asked for again within a minute or two of its being back. */
const KNOWN_SECONDS = 3_600
/** JSStreamMessageExceedsMaximumErr: the stream's own limit. https://github.com/nats-io/nats-server/blob/main/server/errors.json */
const TOO_LARGE = 10_054

type StreamSettings = NonNullable<NatsSettings['stream']>

/** Of a message that was not acknowledged: the stream will never take it. */
export function isTooLarge(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === TOO_LARGE
}

/** That no other message can get through meanwhile. */
export function isOfConnection(error: unknown): boolean {
  return !(error instanceof JetStreamApiError || isUnanswered(error) || isPermission(error))
}

/** What a person reads. @param waitedMs for the acknowledgement */
export function refusal(error: unknown, subject: string, stream: StreamSettings | undefined, waitedMs: number): string {
  if (isUnanswered(error)) {
    return `no stream takes ${subject} (or JetStream is off): \`${makeCommand(stream)}\`, or stream: {create: true}`
  }
  if (error instanceof JetStreamApiError) return `the stream refuses: ${error.message} (${error.code})`
  if (isPermission(error)) return `the server does not let us: ${messageOf(error)}`
  if (error instanceof errors.TimeoutError) {
    return `no acknowledgement in ${waitedMs / 1_000} s: the server hangs, or the stream has no quorum`
  }
  return messageOf(error)
}

/** Nothing where the configuration does not want one made. Throws what keeps us from it. */
export async function makeStream(connection: NatsConnection, stream: StreamSettings | undefined): Promise<void> {
  if (stream?.create !== true) return
  const { name = STREAM, replicas = 1, maxMiB, maxHours } = stream
  const manager = await jetstreamManager(connection, { checkAPI: false })
  try {
    await manager.streams.info(name)
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || error.code !== JetStreamApiCodes.StreamNotFound) throw error
    const maxAge = maxHours === undefined ? {} : { max_age: Math.round(maxHours * 3_600 * NS_PER_SECOND) }
    await manager.streams.add({
      ...{ name, subjects: [...STREAM_SUBJECTS], num_replicas: replicas },
      ...{ retention: RetentionPolicy.Limits, storage: StorageType.File },
      // One that is full is waited for: what is in it has a reader.
      discard: DiscardPolicy.New,
      duplicate_window: Math.min(KNOWN_SECONDS, (maxHours ?? 1) * 3_600) * NS_PER_SECOND,
      ...(maxMiB === undefined ? {} : { max_bytes: maxMiB * BYTES_PER_MIB }),
      ...maxAge,
    })
  }
}

function isPermission(error: unknown): boolean {
  return error instanceof errors.PermissionViolationError || causeOf(error) instanceof errors.PermissionViolationError
}

/** Nobody listens where it was sent. */
function isUnanswered(error: unknown): boolean {
  const cause = causeOf(error)
  return cause instanceof errors.RequestError && cause.isNoResponders()
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined
}

function makeCommand({ name = STREAM }: StreamSettings = {}): string {
  return `nats stream add ${name} --subjects '${STREAM_SUBJECTS.join(',')}' --storage file --discard new --dupe-window 1h --defaults`
}

/**
 * How a gRPC call ended, as an error of ours, and back: what a server's handler throws arrives at the client with its code and its hint.
 * Guards that a stream's end is never missed. Not here: the calls.
 */
import * as grpc from '@grpc/grpc-js'
import { ERROR_CODES, messageOf, SluiceError } from '../base/error.js'

/** gRPC carries it in a header. */
const FAILURE_CHARS_MAX = 1_000
const CODE_KEY = 'sluice-code'
/** `-bin`: any bytes may be in it. */
const HINT_KEY = 'sluice-hint-bin'

/** How grpc-js words that a message could not be decoded, on either side. */
const UNREADABLE = /deserializing|parsing error/

/** For `emit('error')` of a server's stream, or the callback of a unary call. */
export function failureStatus(thrown: unknown): { code: grpc.status; details: string; metadata: grpc.Metadata } {
  const metadata = new grpc.Metadata()
  if (thrown instanceof SluiceError) {
    metadata.set(CODE_KEY, thrown.code)
    if (thrown.hint !== null) metadata.set(HINT_KEY, Buffer.from(thrown.hint.slice(0, FAILURE_CHARS_MAX)))
  }
  // A lone surrogate would make gRPC's header encoding throw.
  const details = Buffer.from(messageOf(thrown).slice(0, FAILURE_CHARS_MAX)).toString()
  return { code: grpc.status.ABORTED, details, metadata }
}

/** Of a call that ended; null if it ended well. */
export function statusError(status: grpc.StatusObject): SluiceError | null {
  switch (status.code) {
    case grpc.status.OK:
      return null
    case grpc.status.ABORTED:
      return givenError(status)
    case grpc.status.RESOURCE_EXHAUSTED:
      return new SluiceError('LIMIT', `the engine and this process disagree on sizes: ${status.details}`)
    case grpc.status.UNIMPLEMENTED:
      return notUnderstood(status.details)
    case grpc.status.INTERNAL:
      // Also what grpc-js makes of a connection that broke at the wrong moment.
      return UNREADABLE.test(status.details) ? notUnderstood(status.details) : connectionLost(status.details)
    default:
      return connectionLost(status.details)
  }
}

function givenError(status: grpc.StatusObject): SluiceError {
  const [code] = status.metadata.get(CODE_KEY)
  const [hint] = status.metadata.get(HINT_KEY)
  return new SluiceError(
    ERROR_CODES.find((known) => known === code) ?? 'IO',
    status.details,
    hint === undefined ? {} : { hint: hint.toString() },
  )
}

function notUnderstood(details: string): SluiceError {
  return new SluiceError('PROTOCOL', `the engine and this process do not understand each other: ${details}`, {
    hint: 'both must be of one version',
  })
}

function connectionLost(details: string): SluiceError {
  return new SluiceError('IO', `the connection to the engine is lost: ${details}`)
}

type ClientStream = Pick<
  grpc.ClientReadableStream<unknown>,
  'on' | 'once' | 'listenerCount' | 'resume' | 'removeListener'
>

/** grpc-js gives the status once, after the last message; an `error` event says nothing more but must have a listener. */
export function watchStatus(stream: ClientStream): { over(): boolean; error(): SluiceError | null } {
  let status: grpc.StatusObject | null = null
  stream.on('error', () => {})
  stream.once('status', (given: grpc.StatusObject) => {
    status = given
    // Where nobody reads, the end must come through all the same.
    if (stream.listenerCount('data') === 0 && stream.listenerCount('readable') === 0) stream.resume()
  })
  return { over: () => status !== null, error: () => (status === null ? null : statusError(status)) }
}

/**
 * The messages of a client's stream, read no faster than they are consumed. Throws what the call ended with; just ends after a `cancel`.
 * To be called when the stream is made and read once.
 */
export function messagesOf<T>(stream: ClientStream & { read(): T | null; cancel(): void }): {
  messages: AsyncIterable<T>
  cancel(): void
  over(): boolean
} {
  // Keeps the stream in paused mode, so that nothing is lost while the consumer is busy.
  stream.on('readable', () => {})
  const status = watchStatus(stream)
  let cancelled = false
  const cancel = () => {
    cancelled = true
    stream.cancel()
  }
  async function* read(): AsyncGenerator<T> {
    try {
      for (;;) {
        const message = stream.read()
        if (message !== null) yield message
        else if (status.over()) break
        else await nextOf(stream, ['readable', 'status'])
      }
    } finally {
      if (!status.over()) cancel()
    }
    const error = status.error()
    if (error !== null && !cancelled) throw error
  }
  return { messages: read(), cancel, over: status.over }
}

function nextOf(stream: ClientStream, events: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      for (const event of events) stream.removeListener(event, done)
      resolve()
    }
    for (const event of events) stream.once(event, done)
  })
}

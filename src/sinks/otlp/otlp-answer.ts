/**
 * What a receiver's answer means for the events that it answers, whichever way they came: https://opentelemetry.io/docs/specs/otlp/ says which failures pass by themselves. Guards that
 * what it calls final is not sent again, and that what somebody can put right (a token, a path) costs no event: it is asked again, ever more slowly, as by every sink.
 */
import { WireReader } from '../../proto/wire-reader.js'

/** Of an ExportLogsServiceResponse: how many were rejected, and why; a message alone is a warning. */
export interface PartialSuccess {
  readonly rejected: number
  readonly message: string
}

export type OtlpAnswer =
  | { readonly state: 'taken'; readonly partial: PartialSuccess }
  /** `afterMs`: the receiver said when; null: it did not. */
  | { readonly state: 'later'; readonly reason: string; readonly afterMs: number | null }
  | { readonly state: 'too-long'; readonly reason: string }
  | { readonly state: 'refused'; readonly reason: string }

/** A way to one receiver. A throw is as `later`. */
export interface OtlpWay {
  /** @param request the bytes of an ExportLogsServiceRequest */
  send(request: Uint8Array, signal: AbortSignal): Promise<OtlpAnswer>
  close(): void
}

export interface RpcStatus {
  readonly message: string
  /** Of its RetryInfo; null: it has none. */
  readonly retryMs: number | null
}

const NONE: RpcStatus = { message: '', retryMs: null }
/** https://github.com/googleapis/googleapis/blob/master/google/rpc/status.proto and error_details.proto: numbers of fields. */
const STATUS = { message: 2, details: 3 } as const
const ANY = { typeUrl: 1, value: 2 } as const
const RETRY_INFO = { type: 'google.rpc.RetryInfo', delay: 1 } as const
const DURATION = { seconds: 1, nanos: 2 } as const
const MS_PER_S = 1_000
const NS_PER_MS = 1_000_000
/** A negative one has more bits. */
const SECONDS_MAX = 2 ** 31

/** Of a google.rpc.Status: the body of a failure over HTTP, a trailer over gRPC. What is none says nothing. */
export function rpcStatus(bytes: Buffer): RpcStatus {
  try {
    let found = NONE
    for (const field = new WireReader(bytes); field.next(); ) {
      if (field.field === STATUS.message) found = { ...found, message: field.bytes.toString('utf8') }
      if (field.field === STATUS.details) found = { ...found, retryMs: retryMs(field.inside()) ?? found.retryMs }
    }
    return found
  } catch {
    return NONE
  }
}

function retryMs(any: WireReader): number | null {
  let [isRetryInfo, value]: [boolean, WireReader | null] = [false, null]
  while (any.next()) {
    if (any.field === ANY.typeUrl) isRetryInfo = any.bytes.toString('utf8').endsWith(`/${RETRY_INFO.type}`)
    if (any.field === ANY.value) value = any.inside()
  }
  if (!isRetryInfo) return null
  let ms = 0
  while (value?.next()) if (value.field === RETRY_INFO.delay) ms = durationMs(value.inside())
  return ms
}

function durationMs(duration: WireReader): number {
  let ms = 0
  while (duration.next()) {
    if (duration.high !== 0 || duration.low >= SECONDS_MAX) return 0
    if (duration.field === DURATION.seconds) ms += duration.low * MS_PER_S
    if (duration.field === DURATION.nanos) ms += duration.low / NS_PER_MS
  }
  return ms
}

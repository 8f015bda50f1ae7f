/**
 * The messages of OTLP's logs as a receiver reads them: by their published fields, and strictly, so that a field, a wire type or a text that the protocol does not know is an error. It shares
 * no code with what writes them. https://github.com/open-telemetry/opentelemetry-proto 1.11, without what only profiles and entities have
 */
import protobuf from 'protobufjs'

const PROTO = `
  syntax = "proto3";
  message AnyValue {
    oneof value {
      string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4;
      ArrayValue array_value = 5; KeyValueList kvlist_value = 6; bytes bytes_value = 7;
    }
  }
  message ArrayValue { repeated AnyValue values = 1; }
  message KeyValueList { repeated KeyValue values = 1; }
  message KeyValue { string key = 1; AnyValue value = 2; }
  message InstrumentationScope {
    string name = 1; string version = 2; repeated KeyValue attributes = 3; uint32 dropped_attributes_count = 4;
  }
  message Resource { repeated KeyValue attributes = 1; uint32 dropped_attributes_count = 2; }
  message LogRecord {
    fixed64 time_unix_nano = 1; fixed64 observed_time_unix_nano = 11; int32 severity_number = 2; string severity_text = 3;
    AnyValue body = 5; repeated KeyValue attributes = 6; uint32 dropped_attributes_count = 7; fixed32 flags = 8;
    bytes trace_id = 9; bytes span_id = 10; string event_name = 12;
  }
  message ScopeLogs { InstrumentationScope scope = 1; repeated LogRecord log_records = 2; string schema_url = 3; }
  message ResourceLogs { Resource resource = 1; repeated ScopeLogs scope_logs = 2; string schema_url = 3; }
  message ExportLogsServiceRequest { repeated ResourceLogs resource_logs = 1; }
  message ExportLogsPartialSuccess { int64 rejected_log_records = 1; string error_message = 2; }
  message ExportLogsServiceResponse { ExportLogsPartialSuccess partial_success = 1; }
  message Duration { int64 seconds = 1; int32 nanos = 2; }
  message RetryInfo { Duration retry_delay = 1; }
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
`
const { root } = protobuf.parse(PROTO)
const REQUEST = root.lookupType('ExportLogsServiceRequest')
const UTF8 = new TextDecoder('utf-8', { fatal: true })

export type OtlpValue = string | bigint | number | boolean | OtlpValue[]

export interface OtlpRecord {
  readonly resource: Readonly<Record<string, OtlpValue>>
  readonly scope: { readonly name: string; readonly version: string }
  readonly timeNs: bigint
  readonly observedNs: bigint
  readonly severity: bigint
  readonly severityText: string
  readonly eventName: string
  readonly body: OtlpValue
  readonly attributes: Readonly<Record<string, OtlpValue>>
}

/** Of the bytes of an ExportLogsServiceRequest. Throws where they are none. */
export function otlpRecords(bytes: Uint8Array): OtlpRecord[] {
  return list(strict(REQUEST, bytes), 'resource_logs').flatMap((of) =>
    list(of, 'scope_logs').flatMap((scope) =>
      list(scope, 'log_records').map((record) => ({
        resource: attributes(of.resource as Message),
        scope: scope.scope as unknown as OtlpRecord['scope'],
        timeNs: record.time_unix_nano as bigint,
        observedNs: record.observed_time_unix_nano as bigint,
        severity: record.severity_number as bigint,
        severityText: record.severity_text as string,
        eventName: record.event_name as string,
        body: value(record.body as Message),
        attributes: attributes(record),
      })),
    ),
  )
}

/** As a receiver answers that took all but `rejected`. */
export function otlpResponse(partial: { rejected: number; message: string } | null = null): Buffer {
  const { rejected = 0, message = '' } = partial ?? {}
  const said = { partialSuccess: { rejectedLogRecords: rejected, errorMessage: message } }
  return encoded('ExportLogsServiceResponse', partial === null ? {} : said)
}

/** A google.rpc.Status. @param retryMs of a RetryInfo; null: without one */
export function rpcStatusBytes(code: number, message: string, retryMs: number | null = null): Buffer {
  const retryDelay = { seconds: Math.floor((retryMs ?? 0) / 1_000), nanos: ((retryMs ?? 0) % 1_000) * 1_000_000 }
  const info = { typeUrl: 'type.googleapis.com/google.rpc.RetryInfo', value: encoded('RetryInfo', { retryDelay }) }
  const other = { typeUrl: 'type.googleapis.com/google.rpc.DebugInfo', value: Buffer.from([0x12, 0x01, 0x78]) }
  return encoded('Status', { code, message, details: retryMs === null ? [other] : [other, info] })
}

interface Message {
  readonly [field: string]: OtlpValue | Message | Message[] | Uint8Array
}

function encoded(name: string, message: object): Buffer {
  return Buffer.from(root.lookupType(name).encode(message).finish())
}

function list(message: Message, field: string): Message[] {
  return (message[field] ?? []) as Message[]
}

function attributes(message: Message): Record<string, OtlpValue> {
  const pairs = list(message, 'attributes').map(
    (each) => [each.key as string, value(each.value as Message)] as [string, OtlpValue],
  )
  const found = Object.fromEntries(pairs)
  if (Object.keys(found).length !== pairs.length) throw new Error('an attribute is there twice')
  return found
}

function value(message: Message): OtlpValue {
  const [only, ...more] = Object.entries(message)
  if (only === undefined || more.length > 0) throw new Error('a value must be one of its kinds')
  const [kind, found] = only
  return kind === 'array_value' ? list(found as Message, 'values').map(value) : (found as OtlpValue)
}

const WIRES: Readonly<Record<string, number>> = {
  ...{ bool: 0, int32: 0, int64: 0, uint32: 0, fixed64: 1, double: 1, string: 2, bytes: 2, fixed32: 5 },
}

function strict(type: protobuf.Type, bytes: Uint8Array): Message {
  const reader = protobuf.Reader.create(bytes)
  const found: Record<string, Message[keyof Message]> = {}
  while (reader.pos < reader.len) {
    const tag = reader.uint32()
    const field = type.fieldsById[tag >>> 3]?.resolve()
    if (field === undefined) throw new Error(`${type.name} has no field ${tag >>> 3}`)
    const wire = WIRES[field.type] ?? 2
    if (wire !== (tag & 7)) throw new Error(`${type.name}.${field.name} is of wire type ${tag & 7}`)
    const name = underscored(field.name)
    const one = read(reader, field)
    if (field.repeated) found[name] = [...((found[name] ?? []) as Message[]), one as Message]
    else if (name in found) throw new Error(`${type.name}.${name} is there twice`)
    else found[name] = one
  }
  return found as Message
}

function read(reader: protobuf.Reader, field: protobuf.Field): Message[keyof Message] {
  if (field.resolvedType instanceof protobuf.Type) return strict(field.resolvedType, reader.bytes())
  switch (field.type) {
    case 'string':
      return UTF8.decode(reader.bytes())
    case 'bytes':
      return reader.bytes()
    case 'bool':
      return reader.bool()
    case 'double':
      return reader.double()
    case 'fixed32':
      return reader.fixed32()
    case 'fixed64':
      return BigInt(reader.fixed64().toString())
    default:
      return BigInt(reader.int64().toString())
  }
}

/** protobufjs has its own way with names. */
function underscored(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

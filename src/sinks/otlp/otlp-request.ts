/**
 * The two messages of OTLP's logs as bytes: what is sent, and what a receiver answers that has taken it. The one importer of OpenTelemetry's serializer, by the path of the part that is
 * needed: its main module loads SDKs for metrics and traces, and with them code that runs programs.
 */
import { ProtobufLogsSerializer } from '@opentelemetry/otlp-transformer/build/src/logs/protobuf/logs.js'
import { textToUnixNs } from '../../proto/time-text.js'
import { OTEL_SEVERITIES, otelAttributes, otelEventName, otelResource } from '../../schema/otel.js'
import type { Item } from '../transport.js'
import type { PartialSuccess } from './otlp-answer.js'

type LogRecord = Parameters<typeof ProtobufLogsSerializer.serializeRequest>[0][number]
type Resource = LogRecord['resource']

const NS_PER_S = 1_000_000_000n
const NS_PER_MS = 1_000_000n

export interface OtlpRequestOptions {
  /** Ours. */
  readonly version: string
  /** What the configuration says of the node. */
  readonly resource: Readonly<Record<string, string>>
}

/** An ExportLogsServiceRequest. @param nowMs when they are given out: the time of observation */
export function otlpRequest(items: readonly Item[], options: OtlpRequestOptions, nowMs: number): Uint8Array {
  const scope = { name: 'sluice', version: options.version }
  const observed = hrTime(BigInt(nowMs) * NS_PER_MS)
  const resources = new Map<string, Resource>()
  const records = items.map((item): LogRecord => {
    const { event, kind, severity, text } = item
    return {
      ...{ hrTime: hrTime(textToUnixNs(event.time)), hrTimeObserved: observed },
      ...{ severityNumber: OTEL_SEVERITIES[severity], severityText: severity },
      ...{ eventName: otelEventName(kind), body: text, instrumentationScope: scope },
      ...{ attributes: otelAttributes(kind, event) as LogRecord['attributes'], droppedAttributesCount: 0 },
      resource: resourceOf(item, options, resources),
    }
  })
  return ProtobufLogsSerializer.serializeRequest(records) ?? new Uint8Array()
}

/** Of an ExportLogsServiceResponse. Throws where it is none. */
export function partialSuccess(response: Uint8Array): PartialSuccess {
  const { partialSuccess: said } = ProtobufLogsSerializer.deserializeResponse(response)
  return { rejected: Number(said?.rejectedLogRecords ?? 0), message: said?.errorMessage ?? '' }
}

/** One object a node: records are gathered by it. */
function resourceOf(
  { event }: Item,
  { version, resource }: OtlpRequestOptions,
  known: Map<string, Resource>,
): Resource {
  const { node } = event
  const key = `${node.bootId} ${node.name}`
  const found = known.get(key) ?? ({ attributes: otelResource(node, version, resource) } as Resource)
  known.set(key, found)
  return found
}

function hrTime(unixNs: bigint): [seconds: number, ns: number] {
  return [Number(unixNs / NS_PER_S), Number(unixNs % NS_PER_S)]
}

/** How severe an event is: what a sink's `minSeverity` is compared with, and what a syslog message says. */
import { type EventJson, type VerdictJson, verdictOf } from '../proto/event-json.js'
import { SINK_SEVERITIES, type SinkSeverity } from '../schema/sink-settings.js'

/** By its kind and what is in it; the common fields are not looked at. */
export function severityOf(event: EventJson): SinkSeverity {
  if ('detection' in event) return SINK_SEVERITIES.find((known) => known === event.detection.severity) ?? 'INFO'
  if ('quarantine' in event) return 'HIGH'
  if ('response' in event) return event.response.state === 'FAILED' ? 'HIGH' : 'MEDIUM'
  if ('gap' in event) return 'MEDIUM'
  if ('cgroupChange' in event) return event.cgroupChange.op === 'ESCAPE' ? 'HIGH' : 'INFO'
  return severityOfDecision(verdictOf(event)?.decision ?? null)
}

/** Of an event that is severe by its verdict alone; null: it has none. */
export function severityOfDecision(decision: VerdictJson['decision'] | null): SinkSeverity {
  if (decision === 'DENY') return 'MEDIUM'
  return decision === 'WOULD_DENY' ? 'LOW' : 'INFO'
}

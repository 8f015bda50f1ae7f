/**
 * Events as records of OpenTelemetry's log data model (https://opentelemetry.io/docs/specs/otel/logs/data-model/): what they are of, how severe, and what they are found by. Guards that
 * attributes have one type each, and that an empty one is left out. Not here: the body, which is the event in a sink's schema, and the wire format.
 */
import { basename } from 'node:path'
import {
  type EventCommonJson,
  type EventJson,
  type EventKind,
  type ProcessJson,
  type VerdictJson,
  verdictOf,
} from '../proto/event-json.js'
import { timeOf } from './ecs-objects.js'
import { whole } from './ocsf-objects.js'
import { OTEL_KINDS, type OtelPart, type OtelValue } from './otel-kinds.js'
import type { SinkSeverity } from './sink-settings.js'

export type OtelAttributes = Record<string, Exclude<OtelValue, null | undefined>>

/** SeverityNumber, as the data model has syslog's informational, notice, warning and critical: those that our own syslog has, too. */
export const OTEL_SEVERITIES: Readonly<Record<SinkSeverity, number>> = { INFO: 9, LOW: 10, MEDIUM: 13, HIGH: 18 }

/** The node. @param version ours @param more what the configuration says of it */
export function otelResource(
  { name, bootId }: EventCommonJson['node'],
  version: string,
  more: Readonly<Record<string, string>>,
): OtelAttributes {
  const own = { 'service.name': 'sluice', 'service.version': version, 'service.instance.id': bootId }
  return together([own, { 'host.name': name || 'unknown', 'os.type': 'linux' }, more])
}

/** `fileOpen` is `sluice.file_open`. */
export function otelEventName(kind: EventKind): string {
  return `sluice.${kind.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`
}

export function otelAttributes(kind: EventKind, event: EventJson): OtelAttributes {
  const map = OTEL_KINDS[kind] as (what: unknown, event: EventJson) => OtelPart
  const said = verdictOf(event)
  return together([
    common(kind, event),
    sandbox(event.sandbox),
    event.process === undefined ? {} : process(event.process),
    said === null ? {} : verdict(said),
    map(Reflect.get(event, kind), event),
  ])
}

function common(kind: EventKind, { uid, source, seq, sessionId, toolCallId }: EventCommonJson): OtelPart {
  return {
    'log.record.uid': uid,
    'sluice.kind': kind,
    'sluice.source': source,
    'sluice.seq': whole(seq),
    'session.id': sessionId,
    'gen_ai.tool.call.id': toolCallId,
  }
}

function sandbox({ id, name, agent, task, labels }: EventCommonJson['sandbox']): OtelPart {
  const part: OtelPart = {
    'sluice.sandbox.id': id,
    'sluice.sandbox.name': name,
    'sluice.sandbox.task': task,
    'gen_ai.agent.name': agent,
  }
  for (const [label, value] of Object.entries(labels)) part[`sluice.sandbox.label.${label}`] = value
  return part
}

function process(of: ProcessJson): OtelPart {
  return {
    'process.pid': of.pid,
    'process.parent_pid': of.ppid,
    'thread.id': of.tid,
    'process.user.id': of.uid,
    'process.executable.path': of.exe,
    'process.executable.name': basename(of.exe),
    'process.command_args': of.args,
    'process.working_directory': of.cwd,
    'process.creation.time': timeOf(of.startTime),
    'sluice.process.exec_id': of.execId,
    'sluice.process.parent_exec_id': of.parentExecId,
  }
}

function verdict({ decision, rule, policy, reason, enforcedBy }: VerdictJson): OtelPart {
  return {
    'sluice.verdict.decision': decision,
    'sluice.verdict.enforced_by': enforcedBy,
    'security_rule.name': rule,
    'security_rule.ruleset.name': policy,
    'security_rule.description': reason,
  }
}

/** Only what is there. It is done for every event: no object is made that isn't needed. */
function together(parts: readonly OtelPart[]): OtelAttributes {
  const found: OtelAttributes = {}
  for (const part of parts) {
    for (const name of Object.keys(part)) {
      const value = part[name]
      if (value === null || value === undefined || value === '') continue
      if (!Array.isArray(value) || value.length > 0) found[name] = value
    }
  }
  return found
}

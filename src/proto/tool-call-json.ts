/** The JSON form of what the engine derives from events: tool calls and detections. Part of event-json.ts, with the same guarantees. */
import type { IDetection, IToolCall } from './codec.js'
import { named, text, time, u64 } from './json-values.js'
import { bytesToText } from './text.js'

export const CALL_CLASSES = ['UNSPECIFIED', 'SHELL', 'INLINE_CODE', 'PROGRAM', 'MCP'] as const
export const SEEN_BY = ['UNSPECIFIED', 'KERNEL', 'WIRE', 'BOTH'] as const
export const SEVERITIES = ['UNSPECIFIED', 'INFO', 'LOW', 'MEDIUM', 'HIGH'] as const

export function toolCallJson(call: IToolCall) {
  return {
    class: named(CALL_CLASSES, call.class),
    command: text(call.command),
    startTime: time(call.startTimeUnixNs),
    endTime: time(call.endTimeUnixNs),
    ended: call.ended ?? false,
    exitCode: call.exitCode ?? 0,
    signal: call.signal ?? 0,
    processes: call.processes ?? 0,
    filesChanged: (call.filesChanged ?? []).map(bytesToText),
    hosts: [...(call.hosts ?? [])],
    unlisted: call.unlisted ?? 0,
    seenBy: named(SEEN_BY, call.seenBy),
  }
}

export function detectionJson(detection: IDetection) {
  return {
    detector: detection.detector ?? '',
    severity: named(SEVERITIES, detection.severity),
    title: detection.title ?? '',
    reason: detection.reason ?? '',
    evidence: [...(detection.evidence ?? [])],
    measured: detection.measured ?? 0,
    threshold: detection.threshold ?? 0,
    baseline: detection.baseline ?? null,
    windowMs: u64(detection.windowMs),
  }
}

/** Whether it is more than a fact to know: what `--fail-on detection` counts. */
export function isFault({ severity }: { severity: string }): boolean {
  return severity === 'MEDIUM' || severity === 'HIGH'
}

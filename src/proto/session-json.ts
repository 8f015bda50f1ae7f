/**
 * The JSON form of what a session itself has to tell: its start and end, its policy, what is missing of it. Part of event-json.ts, with the same
 * guarantees.
 */
import type {
  IDetectionCount,
  IGap,
  IPolicyChanged,
  IPolicyRef,
  IRefusal,
  ISandboxEnded,
  ISandboxStarted,
  ISummary,
  ITally,
} from './codec.js'
import { named, text, time, u64 } from './json-values.js'
import { bytesToText } from './text.js'
import { SEVERITIES } from './tool-call-json.js'

export const STAGES = ['UNSPECIFIED', 'KERNEL_RING', 'DECODE', 'UPLINK', 'SPOOL', 'SINK'] as const

export function policyChangedJson({ from, to, by }: IPolicyChanged) {
  return { ...(from ? { from: policyRefJson(from) } : {}), ...(to ? { to: policyRefJson(to) } : {}), by: by ?? '' }
}

function policyRefJson({ name, hash, mode }: IPolicyRef) {
  return { name: name ?? '', hash: hash ?? '', mode: mode ?? '' }
}

export function gapJson(gap: IGap) {
  return {
    stage: named(STAGES, gap.stage),
    kind: gap.kind ?? '',
    count: u64(gap.count),
    exact: gap.exact ?? false,
    from: time(gap.fromUnixNs),
    to: time(gap.toUnixNs),
    cause: gap.cause ?? '',
    countMax: u64(gap.countMax),
  }
}

export function sandboxStartedJson(started: ISandboxStarted) {
  return {
    policyName: started.policyName ?? '',
    policyHash: started.policyHash ?? '',
    mode: started.mode ?? '',
    degraded: [...(started.degraded ?? [])],
    user: started.user ?? '',
    command: (started.command ?? []).map(bytesToText),
    workdir: text(started.workdir),
  }
}

export function sandboxEndedJson(ended: ISandboxEnded) {
  return { summary: summaryJson(ended.summary ?? {}) }
}

export function summaryJson(summary: ISummary) {
  return {
    durationMs: u64(summary.durationMs),
    exitCode: summary.exitCode ?? 0,
    signal: summary.signal ?? 0,
    events: u64(summary.events),
    lost: u64(summary.lost),
    complete: summary.complete ?? false,
    processes: u64(summary.processes),
    execs: u64(summary.execs),
    filesOpened: u64(summary.filesOpened),
    filesFailed: u64(summary.filesFailed),
    filesWritten: u64(summary.filesWritten),
    connects: u64(summary.connects),
    killedAtEnd: summary.killedAtEnd ?? 0,
    programs: (summary.programs ?? []).map(tallyJson),
    writtenPaths: (summary.writtenPaths ?? []).map(tallyJson),
    destinations: (summary.destinations ?? []).map(tallyJson),
    more: u64(summary.more),
    refused: u64(summary.refused),
    refusals: (summary.refusals ?? []).map(refusalJson),
    detections: (summary.detections ?? []).map(detectionCountJson),
    responses: (summary.responses ?? []).map(tallyJson),
  }
}

export function refusalJson(refusal: IRefusal) {
  return { target: text(refusal.target), rule: refusal.rule ?? '', count: u64(refusal.count) }
}

export function tallyJson(tally: ITally) {
  return { name: text(tally.name), count: u64(tally.count), failed: u64(tally.failed) }
}

function detectionCountJson({ detector, severity, count, reason }: IDetectionCount) {
  return { detector: detector ?? '', severity: named(SEVERITIES, severity), count: u64(count), reason: reason ?? '' }
}

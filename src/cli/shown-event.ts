/**
 * What of an event the command line shows or filters by: the part of EventJson (proto/event-json.ts) that compact lines, filters and
 * the summary read. Events of a run and events of a recording, whatever version wrote it, both fit. 64-bit numbers are decimal text.
 */
import { EVENT_KINDS, type EventKind } from '../proto/event-json.js'

export interface ShownVerdict {
  readonly decision: string
  readonly rule: string
}

export interface ShownTally {
  readonly name: string
  readonly count: string
  readonly failed: string
}

export interface ShownRefusal {
  readonly target: string
  readonly rule: string
  readonly count: string
}

export interface ShownDetectionCount {
  readonly detector: string
  readonly severity: string
  readonly count: string
  readonly reason: string
}

export interface ShownSummary {
  readonly durationMs: string
  readonly exitCode: number
  readonly signal: number
  readonly events: string
  readonly lost: string
  readonly complete: boolean
  readonly processes: string
  readonly execs: string
  readonly filesOpened: string
  readonly filesFailed: string
  readonly filesWritten: string
  readonly connects: string
  readonly killedAtEnd: number
  readonly programs: readonly ShownTally[]
  readonly writtenPaths: readonly ShownTally[]
  readonly destinations: readonly ShownTally[]
  readonly more: string
  /** Absent in recordings of before. */
  readonly refused?: string
  readonly refusals?: readonly ShownRefusal[]
  readonly detections?: readonly ShownDetectionCount[]
  readonly responses?: readonly ShownTally[]
}

export interface ShownFileOpen {
  readonly path: string
  readonly access: string
  readonly created: boolean
  readonly errno: number
  readonly verdict?: ShownVerdict | null
  readonly count: string
}

export interface ShownFileChange {
  readonly op: string
  readonly path: string
  readonly newPath: string
  readonly errno: number
  readonly verdict?: ShownVerdict | null
}

export interface ShownConnect {
  readonly protocol: string
  readonly address: string
  readonly port: number
  readonly hostname: string
  readonly errno: number
  readonly verdict?: ShownVerdict | null
  readonly via: string
  /** Absent in recordings of before. */
  readonly count?: string
}

export interface ShownConnectionClosed {
  readonly bytesSent: string
  readonly bytesReceived: string
  readonly durationMs: string
  readonly protocol: string
  readonly address: string
  readonly port: number
  readonly localPort: number
  readonly incoming: boolean
}

export interface ShownListen {
  readonly protocol: string
  readonly address: string
  readonly port: number
  readonly errno: number
  readonly verdict?: ShownVerdict | null
}

export interface ShownDns {
  readonly name: string
  readonly type: string
  readonly rcode: string
  readonly answers: readonly string[]
  readonly verdict?: ShownVerdict | null
}

export interface ShownToolCall {
  readonly class: string
  readonly command: string
  readonly exitCode: number
  readonly signal: number
  readonly ended: boolean
  readonly processes: number
  readonly filesChanged: readonly string[]
}

export interface ShownDetection {
  readonly detector: string
  readonly severity: string
  readonly reason: string
}

export interface ShownResponse {
  readonly action: string
  readonly trigger: string
  readonly state: string
  readonly observed: string
  readonly undoneBy: string
  readonly until: string | null
}

export interface ShownGap {
  readonly stage: string
  readonly kind: string
  readonly count: string
  readonly exact: boolean
  /** Records of earlier versions don't have it. */
  readonly countMax?: string
  readonly cause: string
}

export interface ShownStart {
  readonly policyName: string
  readonly mode: string
  readonly degraded: readonly string[]
  readonly user: string
  readonly command: readonly string[]
  readonly workdir: string
}

export interface ShownPolicy {
  readonly name: string
  readonly mode: string
}

export interface ShownPolicyChange {
  readonly from?: ShownPolicy | null
  readonly to?: ShownPolicy | null
  readonly by: string
}

export interface ShownStdin {
  readonly text: string
  readonly originalBytes: string
  readonly truncated: boolean
  /** A recording of an earlier version has none. */
  readonly unshown?: boolean
}

export interface ShownLimitHit {
  readonly what: string
  readonly refused: string
  readonly windowMs: string
  readonly verdict: ShownVerdict
}

export interface ShownEvent {
  readonly time: string
  readonly sandbox: { readonly id: string; readonly name: string }
  readonly sessionId: string
  readonly process?: {
    readonly execId: string
    readonly pid: number
    readonly exe: string
    readonly args: readonly string[]
    readonly argsTruncated: boolean
  } | null
  readonly exec?: { readonly script?: string; readonly adopted?: boolean }
  readonly execFailed?: { readonly path: string; readonly errno: number }
  readonly exit?: { readonly code: number; readonly signal: number; readonly runtimeMs: string }
  readonly stdin?: ShownStdin
  readonly fileOpen?: ShownFileOpen
  readonly fileChange?: ShownFileChange
  readonly connect?: ShownConnect
  readonly connectionClosed?: ShownConnectionClosed
  readonly listen?: ShownListen
  readonly dns?: ShownDns
  readonly toolCall?: ShownToolCall
  readonly detection?: ShownDetection
  readonly response?: ShownResponse
  readonly gap?: ShownGap
  readonly sandboxStarted?: ShownStart
  readonly policyChanged?: ShownPolicyChange
  readonly limitHit?: ShownLimitHit
  readonly cgroupChange?: { readonly op: string; readonly path: string; readonly actorPid: number }
  readonly quarantine?: { readonly cause: string; readonly pid: number; readonly stopped: boolean }
  readonly checkpoint?: { readonly sessionId: string; readonly records: string; readonly isSeal: boolean }
  readonly sandboxEnded?: { readonly summary?: ShownSummary | null }
}

export function kindOf(event: ShownEvent): EventKind | null {
  return EVENT_KINDS.find((kind) => event[kind] !== undefined) ?? null
}

/** `ALLOW`, `DENY`, `WOULD_DENY`, `REDIRECT`; null for an event without a verdict. */
export function decisionOf(event: ShownEvent): string | null {
  const decision =
    (event.fileOpen ?? event.fileChange ?? event.connect ?? event.listen ?? event.dns)?.verdict?.decision ??
    'UNSPECIFIED'
  return decision === 'UNSPECIFIED' ? null : decision
}

/** Last part of a program's path. */
export function programName(exe: string): string {
  return exe.slice(exe.lastIndexOf('/') + 1) || exe
}

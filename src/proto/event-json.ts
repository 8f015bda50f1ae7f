/**
 * The JSON form of an event, one object a line: the contract of recordings, of `-o json` and of every sink that takes JSON.
 *
 * It guards that every scalar of a kind is written (0, false and "" included), that 64-bit numbers and nanoseconds stay exact, that
 * bytes are reversible text, and that the order of keys never changes. It does not fold, redact or judge; `parseEventLine` checks the
 * common fields and that there is a kind, not every field of the kind.
 */
import { SluiceError } from '../base/error.js'
import type {
  ICgroupChange,
  ICheckpoint,
  IConnect,
  IConnectionClosed,
  IDns,
  IEvent,
  IExec,
  IExecFailed,
  IExit,
  IFileChange,
  IFileOpen,
  ILimitHit,
  IListen,
  IProcess,
  IQuarantine,
  ISandbox,
  IStdin,
  IVerdict,
} from './codec.js'
import { named, sortedLabels, type TimeText, text, time, type U64Text, u64 } from './json-values.js'
import { responseJson } from './response-json.js'
import {
  gapJson,
  policyChangedJson,
  type refusalJson,
  sandboxEndedJson,
  sandboxStartedJson,
  type summaryJson,
  type tallyJson,
} from './session-json.js'
import { bytesToText } from './text.js'
import { detectionJson, toolCallJson } from './tool-call-json.js'

/** Short enum names, in the order of their numbers. UNSPECIFIED also stands for a number that this version does not know. */
export const DECISIONS = ['UNSPECIFIED', 'ALLOW', 'DENY', 'WOULD_DENY', 'REDIRECT'] as const
export const ACCESSES = ['UNSPECIFIED', 'READ', 'WRITE', 'READ_WRITE'] as const
export const CHANGE_OPS = [
  'UNSPECIFIED',
  'RENAME',
  'UNLINK',
  'LINK',
  'SYMLINK',
  'TRUNCATE',
  'CHMOD',
  'MKDIR',
  'RMDIR',
  'MOUNT',
  'MKNOD',
] as const
export const CGROUP_OPS = ['UNSPECIFIED', 'MKDIR', 'RMDIR', 'ATTACH', 'ESCAPE'] as const
export const QUARANTINE_CAUSES = ['UNSPECIFIED', 'FORK', 'MOVED', 'CGROUPS'] as const
export const PROTOCOLS = [
  'UNSPECIFIED',
  ...(['TCP', 'UDP', 'ICMP', 'RAW', 'OTHER'] as const),
  ...(['UNIX', 'NETLINK', 'PACKET', 'VSOCK', 'ALG', 'SCTP'] as const),
] as const
export const VIAS = ['UNSPECIFIED', 'CONNECT', 'SENDMSG', 'SOCKET', 'PACKET', 'URING'] as const

/** The kinds that this version writes. */
export const EVENT_KINDS = [
  'exec',
  'execFailed',
  'exit',
  'stdin',
  'fileOpen',
  'fileChange',
  'connect',
  'connectionClosed',
  'listen',
  'dns',
  'toolCall',
  'detection',
  'response',
  'gap',
  'sandboxStarted',
  'sandboxEnded',
  'policyChanged',
  'limitHit',
  'cgroupChange',
  'quarantine',
  'checkpoint',
] as const

export type EventKind = (typeof EVENT_KINDS)[number]

export interface EventCommonJson {
  schema: number
  source: string
  node: { name: string; bootId: string }
  uid: string
  time: TimeText
  seq: U64Text
  sandbox: SandboxJson
  sessionId: string
  toolCallId: string
  /** Absent where no process is concerned. */
  process?: ProcessJson
}

/** What happened, one of these. */
export type KindJson =
  | { exec: ExecJson }
  | { execFailed: ExecFailedJson }
  | { exit: ExitJson }
  | { stdin: StdinJson }
  | { fileOpen: FileOpenJson }
  | { fileChange: FileChangeJson }
  | { connect: ConnectJson }
  | { connectionClosed: ConnectionClosedJson }
  | { listen: ListenJson }
  | { dns: DnsJson }
  | { toolCall: ToolCallJson }
  | { detection: DetectionJson }
  | { response: ResponseJson }
  | { gap: GapJson }
  | { sandboxStarted: SandboxStartedJson }
  | { sandboxEnded: SandboxEndedJson }
  | { policyChanged: PolicyChangedJson }
  | { limitHit: LimitHitJson }
  | { cgroupChange: CgroupChangeJson }
  | { quarantine: QuarantineJson }
  | { checkpoint: CheckpointJson }

export type EventJson = EventCommonJson & KindJson

export type SandboxJson = ReturnType<typeof sandboxJson>
export type ProcessJson = ReturnType<typeof processJson>
export type VerdictJson = ReturnType<typeof verdictJson>
export type ExecJson = ReturnType<typeof execJson>
export type ExecFailedJson = ReturnType<typeof execFailedJson>
export type ExitJson = ReturnType<typeof exitJson>
export type StdinJson = ReturnType<typeof stdinJson>
export type FileOpenJson = ReturnType<typeof fileOpenJson>
export type FileChangeJson = ReturnType<typeof fileChangeJson>
export type ConnectJson = ReturnType<typeof connectJson>
export type ConnectionClosedJson = ReturnType<typeof connectionClosedJson>
export type ListenJson = ReturnType<typeof listenJson>
export type DnsJson = ReturnType<typeof dnsJson>
export type ToolCallJson = ReturnType<typeof toolCallJson>
export type DetectionJson = ReturnType<typeof detectionJson>
export type ResponseJson = ReturnType<typeof responseJson>
export type GapJson = ReturnType<typeof gapJson>
export type SandboxStartedJson = ReturnType<typeof sandboxStartedJson>
export type SandboxEndedJson = ReturnType<typeof sandboxEndedJson>
export type LimitHitJson = ReturnType<typeof limitHitJson>
export type PolicyChangedJson = ReturnType<typeof policyChangedJson>
export type CgroupChangeJson = ReturnType<typeof cgroupChangeJson>
export type QuarantineJson = ReturnType<typeof quarantineJson>
export type CheckpointJson = ReturnType<typeof checkpointJson>
export type SummaryJson = ReturnType<typeof summaryJson>
export type RefusalJson = ReturnType<typeof refusalJson>
export type TallyJson = ReturnType<typeof tallyJson>

/** Of an event of a kind that is judged; null for others. */
export function verdictOf(event: EventJson): VerdictJson | null {
  if ('fileOpen' in event) return event.fileOpen.verdict
  if ('fileChange' in event) return event.fileChange.verdict
  if ('connect' in event) return event.connect.verdict
  if ('listen' in event) return event.listen.verdict
  if ('limitHit' in event) return event.limitHit.verdict
  return 'dns' in event ? event.dns.verdict : null
}

/** Throws PROTOCOL for an event without a kind. */
export function eventToJson(event: IEvent): EventJson {
  const common: EventCommonJson = {
    schema: event.schema ?? 0,
    source: event.source ?? '',
    node: { name: event.node?.name ?? '', bootId: event.node?.bootId ?? '' },
    uid: event.uid ?? '',
    time: time(event.timeUnixNs),
    seq: u64(event.seq),
    sandbox: sandboxJson(event.sandbox ?? {}),
    sessionId: event.sessionId ?? '',
    toolCallId: event.toolCallId ?? '',
    ...(event.process ? { process: processJson(event.process) } : {}),
  }
  return Object.assign(common, kindToJson(event))
}

/** Only what happened. Throws PROTOCOL for an event without a kind. */
export function kindToJson(event: IEvent): KindJson {
  if (event.exec) return { exec: execJson(event.exec) }
  if (event.execFailed) return { execFailed: execFailedJson(event.execFailed) }
  if (event.exit) return { exit: exitJson(event.exit) }
  if (event.stdin) return { stdin: stdinJson(event.stdin) }
  if (event.fileOpen) return { fileOpen: fileOpenJson(event.fileOpen) }
  if (event.fileChange) return { fileChange: fileChangeJson(event.fileChange) }
  if (event.connect) return { connect: connectJson(event.connect) }
  if (event.connectionClosed) return { connectionClosed: connectionClosedJson(event.connectionClosed) }
  if (event.listen) return { listen: listenJson(event.listen) }
  if (event.dns) return { dns: dnsJson(event.dns) }
  if (event.toolCall) return { toolCall: toolCallJson(event.toolCall) }
  if (event.detection) return { detection: detectionJson(event.detection) }
  if (event.response) return { response: responseJson(event.response) }
  if (event.gap) return { gap: gapJson(event.gap) }
  if (event.sandboxStarted) return { sandboxStarted: sandboxStartedJson(event.sandboxStarted) }
  if (event.sandboxEnded) return { sandboxEnded: sandboxEndedJson(event.sandboxEnded) }
  if (event.policyChanged) return { policyChanged: policyChangedJson(event.policyChanged) }
  if (event.limitHit) return { limitHit: limitHitJson(event.limitHit) }
  if (event.cgroupChange) return { cgroupChange: cgroupChangeJson(event.cgroupChange) }
  if (event.quarantine) return { quarantine: quarantineJson(event.quarantine) }
  if (event.checkpoint) return { checkpoint: checkpointJson(event.checkpoint) }
  throw new SluiceError('PROTOCOL', `event ${event.uid ?? ''} is of no kind that this version knows`)
}

/** One line of a recording, without the newline. */
export function eventLine(event: IEvent): string {
  return JSON.stringify(eventToJson(event))
}

export function eventKind(event: EventJson): EventKind {
  const kind = EVENT_KINDS.find((known) => known in event)
  if (kind === undefined) throw new SluiceError('PROTOCOL', `event ${event.uid} is of no kind that this version knows`)
  return kind
}

function sandboxJson(sandbox: ISandbox) {
  return {
    id: sandbox.id ?? '',
    name: sandbox.name ?? '',
    cgroupId: u64(sandbox.cgroupId),
    cgroupPath: sandbox.cgroupPath ?? '',
    agent: sandbox.agent ?? '',
    task: sandbox.task ?? '',
    labels: sortedLabels(sandbox.labels ?? {}),
  }
}

function processJson(process: IProcess) {
  return {
    execId: process.execId ?? '',
    pid: process.pid ?? 0,
    tid: process.tid ?? 0,
    ppid: process.ppid ?? 0,
    parentExecId: process.parentExecId ?? '',
    exe: text(process.exe),
    args: (process.args ?? []).map(bytesToText),
    argsBytes: u64(process.argsBytes),
    argsTruncated: process.argsTruncated ?? false,
    cwd: text(process.cwd),
    uid: process.uid ?? 0,
    gid: process.gid ?? 0,
    startTime: time(process.startTimeUnixNs),
    spawnerExecId: process.spawnerExecId ?? '',
  }
}

function verdictJson(verdict: IVerdict) {
  return {
    decision: named(DECISIONS, verdict.decision),
    rule: verdict.rule ?? '',
    policy: verdict.policy ?? '',
    reason: verdict.reason ?? '',
    enforcedBy: verdict.enforcedBy ?? '',
  }
}

function execJson(exec: IExec) {
  return {
    exeInode: u64(exec.exeInode),
    exeDev: u64(exec.exeDev),
    setuid: exec.setuid ?? false,
    memfd: exec.memfd ?? false,
    deleted: exec.deleted ?? false,
    interpreter: text(exec.interpreter),
    script: text(exec.script),
    adopted: exec.adopted ?? false,
  }
}

function execFailedJson(failed: IExecFailed) {
  return { path: text(failed.path), errno: failed.errno ?? 0 }
}

function exitJson(exit: IExit) {
  return { code: exit.code ?? 0, signal: exit.signal ?? 0, runtimeMs: u64(exit.runtimeMs) }
}

function fileOpenJson(open: IFileOpen) {
  return {
    path: text(open.path),
    userPath: text(open.userPath),
    resolved: open.resolved ?? false,
    access: named(ACCESSES, open.access),
    flags: [...(open.flags ?? [])],
    created: open.created ?? false,
    dev: u64(open.dev),
    inode: u64(open.inode),
    errno: open.errno ?? 0,
    verdict: verdictJson(open.verdict ?? {}),
    count: u64(open.count),
    lastTime: time(open.lastTimeUnixNs),
  }
}

function stdinJson(stdin: IStdin) {
  return {
    text: text(stdin.text),
    originalBytes: u64(stdin.originalBytes),
    truncated: stdin.truncated ?? false,
    unshown: stdin.unshown ?? false,
  }
}

function fileChangeJson(change: IFileChange) {
  return {
    op: named(CHANGE_OPS, change.op),
    path: text(change.path),
    newPath: text(change.newPath),
    errno: change.errno ?? 0,
    verdict: verdictJson(change.verdict ?? {}),
  }
}

function connectJson(connect: IConnect) {
  return {
    connectionId: connect.connectionId ?? '',
    protocol: named(PROTOCOLS, connect.protocol),
    address: connect.address ?? '',
    port: connect.port ?? 0,
    hostname: connect.hostname ?? '',
    localPort: connect.localPort ?? 0,
    errno: connect.errno ?? 0,
    verdict: verdictJson(connect.verdict ?? {}),
    via: named(VIAS, connect.via),
    resolved: connect.resolved ?? false,
    count: u64(connect.count),
    lastTime: time(connect.lastTimeUnixNs),
  }
}

function connectionClosedJson(closed: IConnectionClosed) {
  return {
    connectionId: closed.connectionId ?? '',
    bytesSent: u64(closed.bytesSent),
    bytesReceived: u64(closed.bytesReceived),
    durationMs: u64(closed.durationMs),
    protocol: named(PROTOCOLS, closed.protocol),
    address: closed.address ?? '',
    port: closed.port ?? 0,
    localPort: closed.localPort ?? 0,
    incoming: closed.incoming ?? false,
  }
}

function listenJson(listen: IListen) {
  return {
    protocol: named(PROTOCOLS, listen.protocol),
    address: listen.address ?? '',
    port: listen.port ?? 0,
    errno: listen.errno ?? 0,
    verdict: verdictJson(listen.verdict ?? {}),
    connectionId: listen.connectionId ?? '',
    resolved: listen.resolved ?? false,
  }
}

function dnsJson(dns: IDns) {
  return {
    name: dns.name ?? '',
    type: dns.type ?? '',
    rcode: dns.rcode ?? '',
    answers: [...(dns.answers ?? [])],
    resolver: dns.resolver ?? '',
    verdict: verdictJson(dns.verdict ?? {}),
  }
}

function limitHitJson({ what, refused, windowMs, verdict }: ILimitHit) {
  return { what: what ?? '', refused: u64(refused), windowMs: u64(windowMs), verdict: verdictJson(verdict ?? {}) }
}

function cgroupChangeJson(change: ICgroupChange) {
  return {
    op: named(CGROUP_OPS, change.op),
    path: text(change.path),
    cgroupId: u64(change.cgroupId),
    actorPid: change.actorPid ?? 0,
  }
}

function checkpointJson(checkpoint: ICheckpoint) {
  return {
    sessionId: checkpoint.sessionId ?? '',
    number: u64(checkpoint.number),
    records: u64(checkpoint.records),
    isSeal: checkpoint.isSeal ?? false,
    keyId: checkpoint.keyId ?? '',
    text: checkpoint.text ?? '',
    signature: Buffer.from(checkpoint.signature ?? []).toString('base64'),
  }
}

function quarantineJson(quarantine: IQuarantine) {
  return {
    cause: named(QUARANTINE_CAUSES, quarantine.cause),
    pid: quarantine.pid ?? 0,
    stopped: quarantine.stopped ?? false,
  }
}

/** Every kind of event as a class of OCSF 1.8.0 with its activity and what only that kind has. Not here: what all have (ocsf.ts). */
import type { EventCommonJson, EventKind, KindJson, VerdictJson } from '../proto/event-json.js'
import {
  APPLICATION_LIFECYCLE,
  classified,
  control,
  DETECTION_FINDING,
  DEVICE_CONFIG_STATE_CHANGE,
  DNS_ACTIVITY,
  FILE_ACTIVITY,
  findingStatus,
  HIGH,
  INFORMATIONAL,
  LOW,
  MEDIUM,
  NETWORK_ACTIVITY,
  PROCESS_ACTIVITY,
  severity,
  status,
} from './ocsf-names.js'
import {
  connection,
  endpoint,
  file,
  hasParent,
  isSchemaIp,
  judged,
  type OcsfPart,
  outcome,
  parentOf,
  portOf,
  present,
  process as processPart,
  unixMs,
  whole,
} from './ocsf-objects.js'

/** The value of a kind. */
type Of<K extends EventKind> = Extract<KindJson, Record<K, unknown>>[K]

/** `acting`: who did it, where that is not the event's own process. */
export type Mapped = OcsfPart & { acting?: OcsfPart }

type Kinds = { readonly [K in EventKind]: (what: Of<K>, event: EventCommonJson) => Mapped }

export const KINDS: Kinds = {
  exec: (_, event) => ({ ...launched(event), ...status(1) }),
  execFailed: ({ path, errno }, event) => ({
    ...launched(event),
    ...outcome(errno),
    process: { ...ownProcess(event), file: file(path) },
  }),
  exit: ({ code, signal, runtimeMs }, event) => ({
    ...ofProcess(event, 2),
    duration: whole(runtimeMs),
    ...(signal === 0 ? { exit_code: code } : { status_detail: `ended by signal ${signal}` }),
    ...status(code === 0 && signal === 0 ? 1 : 2),
  }),
  stdin: (_, event) => ({ ...ofProcess(event, 'Read Standard Input'), ...status(1) }),
  fileOpen: ({ path, created, access, errno, count, lastTime, verdict }) => ({
    ...classified(FILE_ACTIVITY, created ? 1 : access === 'READ' ? 2 : 3),
    ...underVerdict(verdict),
    ...outcome(errno),
    ...repeated(count, lastTime),
    file: file(path),
  }),
  fileChange: ({ op, path, newPath, errno, verdict }) => ({
    ...classified(FILE_ACTIVITY, CHANGES[op]),
    ...underVerdict(verdict),
    ...outcome(errno),
    // A link points to what is there; what is made has the new name.
    file: file(op === 'LINK' || op === 'SYMLINK' || op === 'MOUNT' ? newPath : path),
    ...(op === 'RENAME' ? { file_result: file(newPath) } : {}),
  }),
  connect: ({ errno, verdict, count, lastTime, via, ...to }) => ({
    ...classified(NETWORK_ACTIVITY, connectActivity(via, errno, verdict)),
    ...underVerdict(verdict),
    ...outcome(errno),
    ...repeated(count, lastTime),
    dst_endpoint: endpoint(to),
    connection_info: connection(to),
  }),
  connectionClosed: ({ bytesSent, bytesReceived, durationMs, localPort, incoming, ...to }, { sandbox }) => {
    const ours = {
      name: sandbox.name || sandbox.id || 'sandbox',
      ...portOf(localPort),
    }
    const [from, at] = incoming ? [endpoint(to), ours] : [ours, endpoint(to)]
    return {
      ...classified(NETWORK_ACTIVITY, 2),
      ...severity(INFORMATIONAL),
      ...{ src_endpoint: from, dst_endpoint: at, connection_info: connection({ ...to, incoming }) },
      ...{ duration: whole(durationMs), traffic: { bytes_out: whole(bytesSent), bytes_in: whole(bytesReceived) } },
    }
  },
  listen: ({ errno, verdict, ...at }) => ({
    ...classified(NETWORK_ACTIVITY, 7),
    ...underVerdict(verdict),
    ...outcome(errno),
    dst_endpoint: endpoint(at),
    connection_info: connection({ ...at, incoming: true }),
  }),
  dns: ({ name, type, rcode, answers, resolver, verdict }, { sandbox }) => ({
    ...classified(DNS_ACTIVITY, rcode === '' ? 1 : 2),
    ...underVerdict(verdict),
    ...present({ rcode, rcode_id: rcode === '' ? null : (RCODES.get(rcode) ?? 99) }),
    query: { hostname: name || '.', ...present({ type }), class: 'IN' },
    ...(answers.length === 0 ? {} : { answers: answers.map((rdata) => ({ rdata })) }),
    src_endpoint: { name: sandbox.name || sandbox.id || 'sandbox' },
    ...(resolver === '' ? {} : { dst_endpoint: isSchemaIp(resolver) ? { ip: resolver } : { name: resolver } }),
  }),
  toolCall: ({ command, startTime, endTime, exitCode, signal, ended }, { toolCallId, uid }) => ({
    ...classified(PROCESS_ACTIVITY, 'Tool Call'),
    ...severity(INFORMATIONAL),
    ...present({ start_time: unixMs(startTime), end_time: unixMs(endTime) }),
    ...(ended && signal === 0 ? { exit_code: exitCode } : {}),
    ...status(!ended ? 0 : exitCode === 0 && signal === 0 ? 1 : 2),
    process: { uid: toolCallId || uid, ...present({ cmd_line: command }) },
  }),
  detection: (found, { uid, sandbox, sessionId, time }) => ({
    ...classified(DETECTION_FINDING, 1),
    ...severity(SEVERITIES[found.severity]),
    ...findingStatus(1),
    is_alert: SEVERITIES[found.severity] >= MEDIUM,
    message: found.reason,
    finding_info: {
      ...{ uid, title: found.title, desc: found.reason, ...present({ created_time: unixMs(time) }) },
      analytic: { uid: found.detector, name: found.detector, type_id: BEHAVIORAL, type: 'Behavioral' },
      related_events: found.evidence.map((evidence) => ({ uid: evidence })),
    },
    anomaly_analyses: [
      {
        analysis_targets: [{ name: sessionId || sandbox.id || 'session', type: 'session' }],
        anomalies: [observed(found.detector, found.measured)],
        baselines: [
          {
            ...observed(found.detector, found.baseline ?? found.threshold),
            observed_pattern: `alerted from ${found.threshold} on`,
          },
        ],
      },
    ],
    evidences: [{ data: { event_uids: found.evidence } }],
  }),
  response: (done, event) => ({
    ...(done.trigger === OPERATOR ? byOperator(done, event) : toFinding(done)),
    ...severity(done.state === 'FAILED' ? HIGH : MEDIUM),
    ...control(...controlOf(done)),
    ...present({ message: done.observed }),
  }),
  gap: ({ count, cause, from, to }) => ({
    ...classified(APPLICATION_LIFECYCLE, 'Telemetry Gap'),
    ...severity(MEDIUM),
    ...status(2),
    ...{ app: { name: 'Sluice' }, message: cause, ...present({ start_time: unixMs(from), end_time: unixMs(to) }) },
    ...(count === '0' ? {} : { count: whole(count) }),
  }),
  sandboxStarted: ({ policyName, policyHash }, event) => ({
    ...classified(APPLICATION_LIFECYCLE, 3),
    ...severity(INFORMATIONAL),
    ...status(1),
    app: sandboxApp(event),
    ...(policyName === '' ? {} : { policy: { name: policyName, ...present({ uid: policyHash }) } }),
  }),
  sandboxEnded: ({ summary }, event) => ({
    ...classified(APPLICATION_LIFECYCLE, 4),
    ...severity(INFORMATIONAL),
    ...status(summary.exitCode === 0 && summary.signal === 0 ? 1 : 2),
    ...{ status_code: String(summary.exitCode), duration: whole(summary.durationMs), app: sandboxApp(event) },
  }),
  policyChanged: ({ from, to, by }) => ({
    ...classified(DEVICE_CONFIG_STATE_CHANGE, 1),
    ...severity(to === undefined ? MEDIUM : INFORMATIONAL),
    ...status(1),
    message: by,
    ...policyPart(to ?? from, to !== undefined),
  }),
  limitHit: ({ what, refused, windowMs, verdict }, event) => ({
    ...classified(APPLICATION_LIFECYCLE, 'Limit Hit'),
    ...underVerdict(verdict),
    ...{ app: sandboxApp(event), message: `limit of ${what}: ${refused} too many`, duration: whole(windowMs) },
    ...(refused === '0' ? {} : { count: whole(refused) }),
  }),
  cgroupChange: ({ op, path, actorPid }, event) => ({
    ...ofProcess(event, `Cgroup ${op.charAt(0)}${op.slice(1).toLowerCase()}`),
    ...severity(op === 'ESCAPE' ? HIGH : INFORMATIONAL),
    ...status(1),
    message: path,
    ...(actorPid > 0 ? { acting: { pid: actorPid } } : {}),
  }),
  quarantine: ({ cause, stopped }, { uid, time }) => ({
    ...classified(DETECTION_FINDING, 1),
    ...severity(HIGH),
    ...findingStatus(1),
    ...control(2, stopped ? 4 : 2),
    is_alert: true,
    finding_info: {
      ...{ uid, title: 'Who belongs to the sandbox can no longer be told', ...present({ created_time: unixMs(time) }) },
      analytic: { uid: 'quarantine', name: 'quarantine', type_id: RULE, type: 'Rule', desc: cause },
    },
  }),
  checkpoint: ({ sessionId, records, isSeal }) => ({
    ...classified(APPLICATION_LIFECYCLE, isSeal ? 'Journal Sealed' : 'Journal Signed'),
    ...severity(INFORMATIONAL),
    ...status(1),
    ...{ app: { name: 'Sluice' }, message: `${records} records of the journal of ${sessionId} are vouched for` },
  }),
}

const BEHAVIORAL = 2
const RULE = 1
const OPERATOR = 'operator'
const SEVERITIES = { UNSPECIFIED: 0, INFO: INFORMATIONAL, LOW, MEDIUM, HIGH } as const
const CHANGES: Readonly<Record<Of<'fileChange'>['op'], number | string>> = {
  ...{ UNSPECIFIED: 'Change', RENAME: 5, UNLINK: 4, RMDIR: 4, TRUNCATE: 3, CHMOD: 7, MOUNT: 12 },
  ...{ LINK: 1, SYMLINK: 1, MKDIR: 1, MKNOD: 1 },
}
/** RFC 1035 §4.1.1 and RFC 2136 §2.2. */
const RCODES: ReadonlyMap<string, number> = new Map([
  ...Object.entries({ NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 }),
  ...Object.entries({ YXDOMAIN: 6, YXRRSET: 7, NXRRSET: 8, NOTAUTH: 9, NOTZONE: 10 }),
])

function ownProcess({ process, sandbox }: EventCommonJson): OcsfPart {
  return process === undefined ? { uid: 'unknown' } : processPart(process, sandbox)
}

function ofProcess(event: EventCommonJson, activity: number | string): Mapped {
  return { ...classified(PROCESS_ACTIVITY, activity), ...severity(INFORMATIONAL), process: ownProcess(event) }
}

/** Who launches is the parent. */
function launched(event: EventCommonJson): Mapped {
  const { process } = event
  const acting = process !== undefined && hasParent(process) ? { acting: parentOf(process) } : {}
  return { ...ofProcess(event, 1), ...acting }
}

function underVerdict(verdict: VerdictJson): OcsfPart {
  const { decision, reason } = verdict
  const weight = decision === 'DENY' ? MEDIUM : decision === 'WOULD_DENY' ? LOW : INFORMATIONAL
  return { ...severity(weight), ...judged(verdict), ...(weight === INFORMATIONAL ? {} : present({ message: reason })) }
}

function repeated(count: string, lastTime: string): OcsfPart {
  return count === '0' || count === '1' ? {} : { count: whole(count), ...present({ end_time: unixMs(lastTime) }) }
}

function connectActivity(via: Of<'connect'>['via'], errno: number, { decision }: VerdictJson): number | string {
  if (via === 'SOCKET') return 'Make Socket'
  if (decision === 'DENY') return 5
  if (errno !== 0 && outcome(errno).status_id === 2) return 4
  return via === 'CONNECT' || via === 'URING' ? 1 : 6
}

function observed(what: string, value: number): OcsfPart {
  return { observation_parameter: what, observations: [{ value: String(value) }] }
}

function sandboxApp({ sandbox }: EventCommonJson): OcsfPart {
  return { uid: sandbox.id || 'unknown', ...present({ name: sandbox.name }) }
}

function toFinding({ action, trigger, state }: Of<'response'>): OcsfPart {
  return {
    ...classified(DETECTION_FINDING, 2),
    ...findingStatus(state === 'REVERTED' ? 4 : 2),
    finding_info: { uid: trigger || 'unknown', title: `Response: ${action.toLowerCase()}` },
  }
}

function byOperator({ action, state }: Of<'response'>, event: EventCommonJson): OcsfPart {
  const isEnd = action === 'KILL' && state === 'APPLIED'
  return {
    ...classified(APPLICATION_LIFECYCLE, isEnd ? 4 : 8),
    ...status(state === 'FAILED' ? 2 : 1),
    app: sandboxApp(event),
  }
}

function controlOf({ action, state }: Of<'response'>): readonly [action: number, disposition: number] {
  if (state === 'FAILED') return [3, 27]
  if (state === 'REVERTED') return [1, 9]
  if (state === 'REQUESTED') return [3, 16]
  if (action === 'ALERT') return [3, 19]
  if (action === 'THROTTLE') return [4, 14]
  return action === 'DENY' ? [2, 2] : [2, 4]
}

function policyPart(policy: Of<'policyChanged'>['to'], applied: boolean): OcsfPart {
  if (policy === undefined) return {}
  return { policy: { name: policy.name || 'unnamed', ...present({ uid: policy.hash }), is_applied: applied } }
}

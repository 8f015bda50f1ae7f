/** Every kind of event as a CEF signature with its name, severity and what only that kind has. Not here: escaping, and what all have (cef.ts). */
import { isIPv4, isIPv6 } from 'node:net'
import type { EventCommonJson, EventKind, KindJson, VerdictJson } from '../proto/event-json.js'
import { outcome as callOutcome, unixMs, whole } from './ocsf-objects.js'

/** Empty and null ones are left out. */
export type CefValue = string | number | null

export interface CefKind {
  readonly id: string
  readonly name: string
  /** 0 to 10. */
  readonly severity: number
  readonly fields: Readonly<Record<string, CefValue>>
}

/** The value of a kind. */
type Of<K extends EventKind> = Extract<KindJson, Record<K, unknown>>[K]

type Kinds = { readonly [K in EventKind]: (what: Of<K>, event: EventCommonJson) => CefKind }

/** In the middle of what CEF calls low, medium and high. */
const SEVERITY = { UNSPECIFIED: 1, INFO: 1, LOW: 3, MEDIUM: 6, HIGH: 8 } as const
const PORT_MAX = 65_535

export const CEF_KINDS: Kinds = {
  exec: ({ script }) => info('exec', 'Program started', { cat: 'process', outcome: 'success', fname: script }),
  execFailed: ({ path, errno }) =>
    info('execFailed', 'Program not started', { cat: 'process', fname: path, ...came(errno) }),
  exit: ({ code, signal, runtimeMs }) =>
    info('exit', 'Process ended', {
      ...{ cat: 'process', outcome: code === 0 && signal === 0 ? 'success' : 'failure' },
      ...{
        cn1Label: 'exitCode',
        cn1: code,
        cn2Label: 'signal',
        cn2: signal,
        cn3Label: 'runtimeMs',
        cn3: whole(runtimeMs),
      },
    }),
  stdin: ({ text }) => info('stdin', 'Standard input read', { cat: 'process', msg: text }),
  fileOpen: ({ path, access, created, errno, count, verdict }) => ({
    ...under(
      'fileOpen',
      created ? 'File created' : access === 'READ' ? 'File read' : 'File opened for writing',
      verdict,
    ),
    fields: { cat: 'file', filePath: path, filePermission: access, cnt: times(count), ...came(errno) },
  }),
  fileChange: ({ op, path, newPath, errno, verdict }) => ({
    ...under('fileChange', `File changed: ${op.toLowerCase()}`, verdict),
    fields: { cat: 'file', filePath: newPath || path, oldFilePath: newPath === '' ? '' : path, ...came(errno) },
  }),
  connect: ({ errno, verdict, count, ...to }) => ({
    ...under('connect', to.via === 'SOCKET' ? 'Socket made' : 'Connection', verdict),
    fields: { cat: 'network', proto: to.protocol, ...destination(to), cnt: times(count), ...came(errno) },
  }),
  connectionClosed: ({ bytesSent, bytesReceived, durationMs, localPort, incoming, ...to }) =>
    info('connectionClosed', 'Connection closed', {
      ...{
        cat: 'network',
        proto: to.protocol,
        ...destination({ ...to, hostname: '' }),
        out: whole(bytesSent),
        in: whole(bytesReceived),
      },
      ...{ spt: localPort === 0 ? null : localPort, deviceDirection: incoming ? 0 : 1 },
      ...{ cn1Label: 'durationMs', cn1: whole(durationMs) },
    }),
  listen: ({ errno, verdict, ...at }) => ({
    ...under('listen', 'Listening', verdict),
    fields: {
      cat: 'network',
      proto: at.protocol,
      ...destination({ ...at, hostname: '' }),
      deviceDirection: 0,
      ...came(errno),
    },
  }),
  dns: ({ name, rcode, answers, resolver, verdict }) => ({
    ...under('dns', 'Name looked up', verdict),
    fields: {
      ...{ cat: 'network', app: 'DNS', dhost: name, msg: answers.join(', ') },
      ...{ outcome: rcode === '' ? '' : rcode === 'NOERROR' ? 'success' : 'failure' },
      ...(resolver === '' ? {} : destination({ address: resolver, port: 0, hostname: name })),
    },
  }),
  toolCall: ({ class: kind, command, startTime, endTime, exitCode, signal, ended, processes }) =>
    info('toolCall', `Tool call: ${kind.toLowerCase()}`, {
      ...{ cat: 'tool call', msg: command, start: unixMs(startTime), end: unixMs(endTime) },
      ...{ outcome: !ended ? '' : exitCode === 0 && signal === 0 ? 'success' : 'failure' },
      ...{ cn1Label: 'exitCode', cn1: exitCode, cn2Label: 'processes', cn2: processes },
    }),
  detection: ({ detector, severity, title, reason, measured, threshold, baseline }) => ({
    ...{ id: `detection.${detector}`, name: title || detector, severity: SEVERITY[severity] },
    fields: {
      ...{
        cat: 'detection',
        msg: reason,
        cfp1Label: 'measured',
        cfp1: measured,
        cfp2Label: 'threshold',
        cfp2: threshold,
      },
      ...(baseline === null ? {} : { cfp3Label: 'baseline', cfp3: baseline }),
    },
  }),
  response: ({ action, trigger, state, observed, undoneBy }) => ({
    id: `response.${action.toLowerCase()}`,
    name: `Response ${state.toLowerCase()}: ${action.toLowerCase()}`,
    severity: state === 'FAILED' ? SEVERITY.HIGH : SEVERITY.MEDIUM,
    fields: {
      ...{ cat: 'response', act: action, msg: observed, reason: trigger, suser: undoneBy },
      outcome: state === 'FAILED' ? 'failure' : state === 'REQUESTED' ? '' : 'success',
    },
  }),
  gap: ({ stage, kind, count, from, to, cause }) => ({
    ...{ id: 'gap', name: 'Events are missing', severity: SEVERITY.MEDIUM },
    fields: {
      ...{ cat: 'telemetry', msg: cause, cnt: times(count), start: unixMs(from), end: unixMs(to) },
      ...{ deviceFacility: stage, flexString2Label: 'kind', flexString2: kind || 'any' },
    },
  }),
  sandboxStarted: ({ policyName, mode, user, workdir, command }) =>
    info('sandboxStarted', 'Sandbox started', {
      ...{ cat: 'sandbox', outcome: 'success', suser: user, filePath: workdir, msg: command.join(' ') },
      ...(policyName === '' ? {} : { flexString2Label: 'policy', flexString2: `${policyName} (${mode})` }),
    }),
  sandboxEnded: ({ summary: { exitCode, signal, durationMs, events, lost } }) =>
    info('sandboxEnded', 'Sandbox ended', {
      ...{ cat: 'sandbox', outcome: exitCode === 0 && signal === 0 ? 'success' : 'failure' },
      ...{
        cn1Label: 'exitCode',
        cn1: exitCode,
        cn2Label: 'events',
        cn2: whole(events),
        cn3Label: 'lost',
        cn3: whole(lost),
      },
      ...{ flexNumber1Label: 'durationMs', flexNumber1: whole(durationMs) },
    }),
  policyChanged: ({ from, to, by }) => ({
    ...{ id: 'policyChanged', name: 'Policy changed', severity: to === undefined ? SEVERITY.MEDIUM : SEVERITY.INFO },
    fields: {
      ...{
        cat: 'policy',
        outcome: 'success',
        msg: by,
        flexString2Label: 'policy',
        flexString2: to?.name || 'no policy',
      },
      oldFileName: from?.name ?? '',
    },
  }),
  limitHit: ({ what, refused, windowMs, verdict }) => ({
    ...under('limitHit', `Limit hit: ${what}`, verdict),
    fields: { cat: 'limit', cnt: times(refused), cn1Label: 'windowMs', cn1: whole(windowMs) },
  }),
  cgroupChange: ({ op, path, actorPid }) => ({
    id: 'cgroupChange',
    ...{ name: `Cgroup ${op.toLowerCase()}`, severity: op === 'ESCAPE' ? SEVERITY.HIGH : SEVERITY.INFO },
    fields: { cat: 'sandbox', filePath: path, cn1Label: 'actorPid', cn1: actorPid },
  }),
  quarantine: ({ cause, pid, stopped }) => ({
    ...{ id: 'quarantine', name: 'Who belongs to the sandbox can no longer be told', severity: SEVERITY.HIGH },
    fields: { cat: 'sandbox', act: stopped ? 'STOP' : 'DENY', reason: cause, dpid: pid === 0 ? null : pid },
  }),
  checkpoint: ({ sessionId, records, isSeal }) =>
    info('checkpoint', isSeal ? 'Journal sealed' : 'Journal signed', {
      ...{ cat: 'journal', outcome: 'success', cn1Label: 'records', cn1: whole(records) },
      msg: `${records} records of the journal of ${sessionId} are vouched for`,
    }),
}

function info(id: EventKind, name: string, fields: CefKind['fields']): CefKind {
  return { id, name, severity: SEVERITY.INFO, fields }
}

function under(id: EventKind, name: string, { decision }: VerdictJson): Omit<CefKind, 'fields'> {
  if (decision === 'DENY') return { id, name: `${name}, denied`, severity: SEVERITY.MEDIUM }
  if (decision === 'WOULD_DENY') return { id, name: `${name}, would be denied`, severity: SEVERITY.LOW }
  return { id, name, severity: SEVERITY.INFO }
}

/** Another end of a connection. `dst` is of IPv4 alone in this version of CEF. */
function destination({ address, port, hostname }: { address: string; port: number; hostname: string }) {
  const at = isIPv4(address)
    ? { dst: address }
    : isIPv6(address)
      ? { c6a3Label: 'Destination IPv6 Address', c6a3: address }
      : { filePath: address }
  return { ...at, dhost: hostname, ...(port > 0 && port <= PORT_MAX ? { dpt: port } : {}) }
}

function came(errno: number): { outcome: string } {
  const { status_id: status } = callOutcome(errno)
  return { outcome: status === 1 ? 'success' : status === 2 ? 'failure' : '' }
}

function times(count: string): number | null {
  return count === '0' || count === '1' ? null : whole(count)
}

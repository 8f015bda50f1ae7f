/** Every kind of event as categories, types and fields of ECS, and what only that kind has. Not here: what all have (ecs.ts). */
import { isIP } from 'node:net'
import type { EventCommonJson, EventKind, KindJson, VerdictJson } from '../proto/event-json.js'
import { durationNs, type EcsPart, end, file, network, related, rule, timeOf } from './ecs-objects.js'
import { outcome as callOutcome, present, whole } from './ocsf-objects.js'

/** The value of a kind. */
type Of<K extends EventKind> = Extract<KindJson, Record<K, unknown>>[K]

export interface EcsKind {
  /** Goes into `event`. */
  readonly event: EcsPart
  /** Goes to the process of the event, if it has one. */
  readonly process?: EcsPart
  readonly fields?: EcsPart
}

type Kinds = { readonly [K in EventKind]: (what: Of<K>, event: EventCommonJson) => EcsKind }

export const ECS_KINDS: Kinds = {
  exec: ({ adopted }) => ({ event: of('process', adopted ? 'info' : 'start', { action: 'exec', outcome: 'success' }) }),
  execFailed: ({ path, errno }) => ({
    event: of('process', 'start', { action: 'exec', ...came(errno) }),
    fields: { file: file(path) },
  }),
  exit: ({ code, signal, runtimeMs }, { time }) => ({
    event: of('process', 'end', { action: 'exit', outcome: succeeded(code, signal), duration: durationNs(runtimeMs) }),
    process: { ...(signal === 0 ? { exit_code: code } : {}), end: time },
  }),
  stdin: ({ text, originalBytes }) => ({
    event: of('process', 'info', { action: 'stdin', outcome: 'success' }),
    process: { io: { text, total_bytes_captured: whole(originalBytes) } },
  }),
  fileOpen: ({ path, access, created, errno, inode, verdict }) => ({
    event: judged('file', created ? 'creation' : access === 'READ' ? 'access' : 'change', verdict, {
      ...{ action: 'open', ...came(errno) },
    }),
    fields: { file: { ...file(path), ...(inode === '0' ? {} : { inode }) }, ...rule(verdict) },
  }),
  fileChange: ({ op, path, newPath, errno, verdict }) => ({
    event: judged('file', CHANGES[op], verdict, { action: op.toLowerCase(), ...came(errno) }),
    fields: {
      file: { ...file(newPath || path), ...(op === 'SYMLINK' ? present({ target_path: path }) : {}) },
      ...rule(verdict),
    },
  }),
  connect: ({ errno, verdict, via, ...to }) => ({
    event: judged('network', via === 'SOCKET' ? 'info' : 'connection', verdict, {
      ...{ action: via === 'SOCKET' ? 'socket' : 'connect', ...came(errno) },
    }),
    fields: {
      ...{ destination: end(to), network: network(to), ...rule(verdict) },
      ...related([to.address], [to.hostname]),
    },
  }),
  connectionClosed: ({ bytesSent, bytesReceived, durationMs, localPort, incoming, ...to }, { sandbox }) => {
    const [sent, received] = [whole(bytesSent), whole(bytesReceived)]
    const ours = {
      ...end({ address: sandbox.name || sandbox.id, port: 0 }),
      ...(localPort === 0 ? {} : { port: localPort }),
    }
    const theirs = { ...end(to), bytes: received }
    const [source, destination] = incoming ? [theirs, { ...ours, bytes: sent }] : [{ ...ours, bytes: sent }, theirs]
    return {
      event: of('network', ['connection', 'end'], {
        action: 'close',
        outcome: 'success',
        duration: durationNs(durationMs),
      }),
      fields: {
        ...{ source, destination },
        network: { ...network({ ...to, incoming }), bytes: Math.min(sent + received, Number.MAX_SAFE_INTEGER) },
        ...related([to.address], []),
      },
    }
  },
  listen: ({ errno, verdict, ...at }) => ({
    event: judged('network', 'info', verdict, { action: 'listen', ...came(errno) }),
    fields: { destination: end(at), network: network({ ...at, incoming: true }), ...rule(verdict) },
  }),
  dns: ({ name, type, rcode, answers, resolver, verdict }) => {
    const resolved = answers.filter((answer) => isIP(answer) !== 0)
    return {
      event: judged('network', 'protocol', verdict, {
        ...{ action: 'dns', outcome: rcode === '' ? 'unknown' : rcode === 'NOERROR' ? 'success' : 'failure' },
      }),
      fields: {
        dns: {
          ...{
            type: rcode === '' ? 'query' : 'answer',
            question: { name: name || '.', class: 'IN', ...present({ type }) },
          },
          ...present({ response_code: rcode }),
          ...(answers.length === 0 ? {} : { answers: answers.map((data) => ({ data })) }),
          ...(resolved.length === 0 ? {} : { resolved_ip: resolved }),
        },
        network: { protocol: 'dns', direction: 'egress' },
        ...(resolver === '' ? {} : { destination: end({ address: resolver, port: 0 }) }),
        ...{ ...rule(verdict), ...related([...resolved, resolver], [name]) },
      },
    }
  },
  toolCall: ({ command, startTime, endTime, exitCode, signal, ended, hosts }, { toolCallId }) => ({
    event: of('process', 'info', {
      ...{ action: 'tool-call', outcome: ended ? succeeded(exitCode, signal) : 'unknown' },
      ...present({ start: timeOf(startTime), end: timeOf(endTime) }),
    }),
    process: {
      ...present({ entity_id: toolCallId, command_line: command }),
      ...(ended ? { exit_code: exitCode } : {}),
    },
    fields: related([], hosts),
  }),
  detection: ({ detector, severity, title, reason }) => ({
    event: of('intrusion_detection', 'info', {
      ...{ kind: SEVERITIES[severity] > 2 ? 'alert' : 'event', action: 'detection', severity: SEVERITIES[severity] },
      ...present({ reason }),
    }),
    fields: {
      rule: { ...present({ id: detector, name: title, description: reason }), ruleset: 'sluice', category: 'behavior' },
      ...present({ message: reason }),
    },
  }),
  response: ({ action, state, observed }) => ({
    event: of('intrusion_detection', 'info', {
      ...{ action: `${action.toLowerCase()}-${state.toLowerCase()}`, outcome: RESPONSES[state], severity: 3 },
    }),
    fields: present({ message: observed }),
  }),
  gap: ({ cause, from, to }) => ({
    event: of('host', 'info', {
      ...{ action: 'gap', outcome: 'failure', severity: 3, ...present({ start: timeOf(from), end: timeOf(to) }) },
    }),
    fields: present({ message: cause, error: cause === '' ? null : { message: cause } }),
  }),
  sandboxStarted: ({ policyName }) => ({
    event: of('session', 'start', { action: 'sandbox-started', outcome: 'success' }),
    fields: policyName === '' ? {} : { rule: { ruleset: policyName } },
  }),
  sandboxEnded: ({ summary: { exitCode, signal, durationMs } }) => ({
    event: of('session', 'end', {
      ...{ action: 'sandbox-ended', outcome: succeeded(exitCode, signal), duration: durationNs(durationMs) },
    }),
  }),
  policyChanged: ({ to, by }) => ({
    event: of('configuration', to === undefined ? 'deletion' : 'change', {
      action: 'policy-changed',
      outcome: 'success',
    }),
    fields: {
      ...present({ message: by }),
      ...(to === undefined ? {} : { rule: present({ ruleset: to.name, version: to.hash }) }),
    },
  }),
  limitHit: ({ what, refused, verdict }) => ({
    event: of('intrusion_detection', verdict.decision === 'DENY' ? 'denied' : 'allowed', {
      ...{ action: 'limit', outcome: verdict.decision === 'DENY' ? 'failure' : 'success', ...why(verdict) },
    }),
    fields: { message: `limit of ${what}: ${refused} too many`, ...rule(verdict) },
  }),
  cgroupChange: ({ op, path }) => ({
    event: of(
      op === 'ESCAPE' ? ['process', 'intrusion_detection'] : 'process',
      op === 'ESCAPE' ? ['change', 'info'] : 'change',
      {
        ...{ kind: op === 'ESCAPE' ? 'alert' : 'event', action: `cgroup-${op.toLowerCase()}`, outcome: 'success' },
      },
    ),
    fields: { file: file(path) },
  }),
  quarantine: ({ cause }) => ({
    event: of('intrusion_detection', 'denied', {
      kind: 'alert',
      action: 'quarantine',
      severity: 4,
      outcome: 'success',
    }),
    fields: { message: `who belongs to the sandbox can no longer be told (${cause})` },
  }),
  checkpoint: ({ sessionId, records, isSeal }) => ({
    event: of('configuration', 'info', { action: isSeal ? 'journal-sealed' : 'journal-signed', outcome: 'success' }),
    fields: { message: `${records} records of the journal of ${sessionId} are vouched for` },
  }),
}

/** As ours, so that more is worse. */
const SEVERITIES = { UNSPECIFIED: 0, INFO: 1, LOW: 2, MEDIUM: 3, HIGH: 4 } as const
const RESPONSES = {
  ...{ UNSPECIFIED: 'unknown', REQUESTED: 'unknown', APPLIED: 'success', FAILED: 'failure', REVERTED: 'success' },
} as const
const CHANGES: Readonly<Record<Of<'fileChange'>['op'], string>> = {
  ...{ UNSPECIFIED: 'change', RENAME: 'change', UNLINK: 'deletion', RMDIR: 'deletion', TRUNCATE: 'change' },
  ...{ CHMOD: 'change', MOUNT: 'change', LINK: 'creation', SYMLINK: 'creation', MKDIR: 'creation', MKNOD: 'creation' },
}

function of(category: string | string[], type: string | string[], more: EcsPart): EcsPart {
  return { category: [category].flat(), type: [type].flat(), ...more }
}

/** Under a verdict: what was refused, or would have been, is found among intrusions too. */
function judged(category: string, type: string, verdict: VerdictJson, more: EcsPart): EcsPart {
  const { decision } = verdict
  if (decision === 'DENY') {
    return {
      ...of([category, 'intrusion_detection'], [type, 'denied'], { ...more, outcome: 'failure' }),
      ...why(verdict),
    }
  }
  if (decision === 'WOULD_DENY')
    return { ...of([category, 'intrusion_detection'], [type, 'allowed'], more), ...why(verdict) }
  return of(category, category === 'network' && decision === 'ALLOW' ? [type, 'allowed'] : type, more)
}

function why({ reason }: VerdictJson): EcsPart {
  return present({ reason })
}

function came(errno: number): EcsPart {
  const { status_id: status } = callOutcome(errno)
  return { outcome: status === 1 ? 'success' : status === 2 ? 'failure' : 'unknown' }
}

function succeeded(code: number, signal: number): string {
  return code === 0 && signal === 0 ? 'success' : 'failure'
}

/**
 * What each kind of event has beyond the others, as attributes under the names of OpenTelemetry's semantic conventions 1.45, and under `sluice.` where they have none. For
 * searches: the whole event is the record's body. Not here: what all have (otel.ts).
 */
import { isIP } from 'node:net'
import { basename, dirname } from 'node:path'
import type { EventCommonJson, EventKind, KindJson } from '../proto/event-json.js'
import { errorName, portOf, whole } from './ocsf-objects.js'

export type OtelValue = string | number | boolean | readonly string[] | null | undefined
export type OtelPart = Record<string, OtelValue>

type Of<K extends EventKind> = Extract<KindJson, Record<K, unknown>>[K]
type Kinds = { readonly [K in EventKind]: (what: Of<K>, event: EventCommonJson) => OtelPart }

const EINPROGRESS = 115

export const OTEL_KINDS: Kinds = {
  exec: ({ script, setuid, memfd, adopted }) => ({
    ...{ 'sluice.exec.script': script, 'sluice.exec.setuid': setuid },
    ...{ 'sluice.exec.memfd': memfd, 'sluice.exec.adopted': adopted },
  }),
  execFailed: ({ path, errno }) => ({ ...file(path), ...failed(errno) }),
  exit: ({ code, signal, runtimeMs }, { time }) => ({
    ...{ ...ended(code, signal), 'process.exit.time': time, 'sluice.exit.runtime_ms': whole(runtimeMs) },
  }),
  stdin: ({ originalBytes, truncated }) => ({
    ...{ 'sluice.stdin.bytes': whole(originalBytes), 'sluice.stdin.truncated': truncated },
  }),
  fileOpen: ({ path, inode, access, created, errno }) => ({
    ...{ ...file(path), 'file.inode': inode === '0' ? null : inode, ...failed(errno) },
    ...{ 'sluice.file.access': access, 'sluice.file.created': created },
  }),
  fileChange: ({ op, path, newPath, errno }) => ({
    ...{ ...file(newPath || path), 'sluice.file.op': op, ...failed(errno) },
    'file.symbolic_link.target_path': op === 'SYMLINK' ? path : null,
    'sluice.file.old_path': op !== 'SYMLINK' && newPath !== '' ? path : null,
  }),
  connect: ({ connectionId, hostname, localPort, errno, via, ...to }) => ({
    ...{ ...peer(to, hostname), 'network.local.port': portOf(localPort).port as number | undefined, ...failed(errno) },
    ...{ 'sluice.connection.id': connectionId, 'sluice.connection.via': via },
  }),
  connectionClosed: ({ connectionId, bytesSent, bytesReceived, durationMs, localPort, incoming, ...to }) => ({
    ...{ ...peer(to), 'network.local.port': portOf(localPort).port as number | undefined },
    ...{ 'sluice.connection.id': connectionId, 'sluice.connection.incoming': incoming },
    'sluice.connection.bytes_sent': whole(bytesSent),
    'sluice.connection.bytes_received': whole(bytesReceived),
    'sluice.connection.duration_ms': whole(durationMs),
  }),
  listen: ({ connectionId, errno, protocol, address, port }) => ({
    ...{ ...network(protocol, address), 'network.local.address': address, ...failed(errno) },
    ...{ 'network.local.port': portOf(port).port as number | undefined, 'sluice.connection.id': connectionId },
  }),
  dns: ({ name, type, rcode, answers, resolver }) => ({
    ...{ 'dns.question.name': name || '.', 'dns.answers': answers.filter((answer) => isIP(answer) !== 0) },
    ...{ 'sluice.dns.type': type, 'sluice.dns.rcode': rcode, 'network.peer.address': resolver },
  }),
  toolCall: (call) => ({
    ...{ 'process.command_line': call.command, ...(call.ended ? ended(call.exitCode, call.signal) : {}) },
    ...{ 'sluice.tool_call.class': call.class, 'sluice.tool_call.hosts': call.hosts },
  }),
  detection: ({ detector, title, reason, severity }) => ({
    ...{ 'sluice.detection.detector': detector, 'sluice.detection.severity': severity },
    ...{ 'sluice.detection.title': title, 'sluice.detection.reason': reason },
  }),
  response: ({ action, state, trigger }) => ({
    ...{ 'sluice.response.action': action, 'sluice.response.state': state, 'sluice.response.trigger': trigger },
  }),
  gap: ({ stage, kind, count, cause }) => ({
    ...{ 'sluice.gap.stage': stage, 'sluice.gap.kind': kind },
    ...{ 'sluice.gap.count': whole(count), 'sluice.gap.cause': cause },
  }),
  sandboxStarted: ({ policyName, policyHash, mode, user }) => ({
    ...{ 'security_rule.ruleset.name': policyName, 'sluice.policy.hash': policyHash },
    ...{ 'sluice.policy.mode': mode, 'user.name': user },
  }),
  sandboxEnded: ({ summary }) => ({
    ...ended(summary.exitCode, summary.signal),
    'sluice.session.duration_ms': whole(summary.durationMs),
    'sluice.session.events': whole(summary.events),
    'sluice.session.lost': whole(summary.lost),
    'sluice.session.refused': whole(summary.refused),
  }),
  policyChanged: ({ to, by }) => ({
    ...{ 'security_rule.ruleset.name': to?.name, 'sluice.policy.hash': to?.hash },
    ...{ 'sluice.policy.mode': to?.mode, 'sluice.policy.by': by },
  }),
  limitHit: ({ what, refused }) => ({ 'sluice.limit.what': what, 'sluice.limit.refused': whole(refused) }),
  cgroupChange: ({ op, path }) => ({ 'sluice.cgroup.op': op, 'sluice.cgroup.path': path }),
  quarantine: ({ cause, pid }) => ({ 'sluice.quarantine.cause': cause, 'sluice.quarantine.pid': pid }),
  checkpoint: ({ sessionId, records, isSeal, keyId }) => ({
    ...{ 'sluice.checkpoint.session_id': sessionId, 'sluice.checkpoint.records': whole(records) },
    ...{ 'sluice.checkpoint.is_seal': isSeal, 'sluice.checkpoint.key_id': keyId },
  }),
}

function file(path: string): OtelPart {
  return path === '' ? {} : { 'file.path': path, 'file.name': basename(path), 'file.directory': dirname(path) }
}

/** A connect that goes on has not failed. */
function failed(errno: number): OtelPart {
  return errno === 0 || errno === EINPROGRESS ? {} : { 'error.type': errorName(errno) }
}

function ended(code: number, signal: number): OtelPart {
  return signal === 0 ? { 'process.exit.code': code } : { 'sluice.exit.signal': signal }
}

function network(protocol: string, address: string): OtelPart {
  const version = isIP(address)
  return { 'network.transport': protocol.toLowerCase(), 'network.type': version === 0 ? null : `ipv${version}` }
}

/** The other end. `hostname`: whom the sandbox asked for, where that is known. */
function peer(to: { protocol: string; address: string; port: number }, hostname = ''): OtelPart {
  const port = portOf(to.port).port as number | undefined
  return {
    ...{ ...network(to.protocol, to.address), 'network.peer.address': to.address, 'network.peer.port': port },
    ...{ 'server.address': hostname, 'server.port': hostname === '' ? null : port },
  }
}

/** The parts that ECS documents share: host, process, the ends of a connection, what a rule said. Guards that an empty part is left out. */
import { isIP } from 'node:net'
import { basename, dirname } from 'node:path'
import type { EventCommonJson, ProcessJson, VerdictJson } from '../proto/event-json.js'
import { textToUnixNs } from '../proto/time-text.js'
import { commandLine, connection, hasParent, portOf, present, whole } from './ocsf-objects.js'

export type EcsPart = Record<string, unknown>

const NS_PER_MS = 1_000_000

/** Null for a time that is not there. */
export function timeOf(time: string): string | null {
  return textToUnixNs(time) === 0n ? null : time
}

/** ECS has nanoseconds. */
export function durationNs(ms: string): number {
  return Math.min(whole(ms) * NS_PER_MS, Number.MAX_SAFE_INTEGER)
}

export function host({ name, bootId }: EventCommonJson['node']): EcsPart {
  return {
    ...{ hostname: name || 'unknown', name: name || 'unknown', os: { type: 'linux', platform: 'linux' } },
    ...(bootId === '' ? {} : { boot: { id: bootId } }),
  }
}

export function process(of: ProcessJson): EcsPart {
  const { execId, pid, tid, ppid, parentExecId, exe, args, cwd, startTime, uid, gid } = of
  return {
    ...{ pid, thread: { id: tid }, user: { id: String(uid) }, group: { id: String(gid) } },
    ...present({
      entity_id: execId,
      executable: exe,
      name: basename(exe),
      working_directory: cwd,
      start: timeOf(startTime),
    }),
    ...(args.length === 0 ? {} : { args: [...args], args_count: args.length, command_line: commandLine(args) }),
    ...(hasParent(of) ? { parent: { pid: ppid, ...present({ entity_id: parentExecId }) } } : {}),
  }
}

export function file(path: string): EcsPart {
  return path === '' ? {} : { path, ...present({ name: basename(path), directory: dirname(path) }) }
}

/** An end of a connection: what is no address of the Internet stays what it is called. */
export function end({ address, port, hostname = '' }: { address: string; port: number; hostname?: string }): EcsPart {
  const named = hostname === '' ? {} : { domain: hostname }
  if (isIP(address) === 0) return { ...present({ address: address || hostname }), ...named }
  return { address, ip: withoutZone(address), ...named, ...portOf(port) }
}

/** A zone is of one host only: ECS's type `ip` has none. */
function withoutZone(address: string): string {
  return address.split('%', 1)[0] ?? address
}

export function network(of: { protocol: string; address: string; incoming?: boolean }): EcsPart {
  const { protocol_num: number } = connection({ ...of, connectionId: '' })
  const version = isIP(of.address)
  return {
    ...{ transport: of.protocol.toLowerCase(), direction: of.incoming ? 'ingress' : 'egress' },
    ...(version === 0 ? {} : { type: `ipv${version}` }),
    ...(number === undefined ? {} : { iana_number: String(number) }),
  }
}

/** Whom it concerns, for searches across kinds. */
export function related(addresses: readonly string[], hosts: readonly string[]): EcsPart {
  const ip = addresses.filter((address) => isIP(address) !== 0).map(withoutZone)
  const names = hosts.filter((name) => name !== '')
  if (ip.length + names.length === 0) return {}
  return { related: { ...(ip.length === 0 ? {} : { ip }), ...(names.length === 0 ? {} : { hosts: names }) } }
}

export function rule({ rule: id, policy, reason }: VerdictJson): EcsPart {
  return id === '' || id === 'none'
    ? {}
    : { rule: { id, name: id, ...present({ ruleset: policy, description: reason }) } }
}

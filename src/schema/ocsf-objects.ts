/**
 * The parts that OCSF events share: who, where, what came of it and which rule said so. Guards that what the schema wants of a part is
 * always there, and that a part that would be empty is left out.
 */
import { isIP } from 'node:net'
import { basename } from 'node:path'
import { getSystemErrorName } from 'node:util'
import type { EventCommonJson, ProcessJson, SandboxJson, VerdictJson } from '../proto/event-json.js'
import { textToUnixNs } from '../proto/time-text.js'
import { control, status } from './ocsf-names.js'

export type OcsfPart = Record<string, unknown>

const SERVER = 1
const LINUX = 200
const REGULAR_FILE = 1
const UNKNOWN_FILE = 0
const EINPROGRESS = 115
const PORT_MAX = 65_535
/** Of the schema's `ip_t`, in characters. */
const IP_LENGTH_MAX = 40
const NS_PER_MS = 1_000_000n
/** What no shell takes apart. */
const PLAIN_WORD = /^[\w@%+=:,./-]+$/
/** Numbers of the Internet's protocols (IANA). */
const PROTOCOL_NUMBERS: Readonly<Record<string, number>> = { ICMP: 1, TCP: 6, UDP: 17, SCTP: 132 }
const ICMP_V6 = 58
const OUTBOUND = 2
const INBOUND = 1

/** Unix time in ms, as every time of OCSF. Null for a time that is not there. */
export function unixMs(time: string): number | null {
  const ms = Number(textToUnixNs(time) / NS_PER_MS)
  return ms === 0 ? null : ms
}

/** A count of ours, which has 64 bits, as JSON has whole numbers. */
export function whole(digits: string): number {
  return Math.min(Number(digits), Number.MAX_SAFE_INTEGER)
}

/** Only what is there. */
export function present(part: OcsfPart): OcsfPart {
  return Object.fromEntries(
    Object.entries(part).filter(([, value]) => value !== null && value !== undefined && value !== ''),
  )
}

export function device({ name, bootId }: EventCommonJson['node']): OcsfPart {
  const os = { name: 'Linux', type_id: LINUX, type: 'Linux' }
  return { ...present({ hostname: name || 'unknown', boot_uid: bootId }), type_id: SERVER, type: 'Server', os }
}

export function container({ id, name }: SandboxJson): OcsfPart {
  return { uid: id || 'unknown', ...present({ name }) }
}

/** The process that an event is of. `parent`: with the one that started it. */
export function process(of: ProcessJson, sandbox: SandboxJson): OcsfPart {
  return {
    pid: of.pid,
    ...present({ uid: of.execId, name: basename(of.exe || of.args[0] || ''), cmd_line: commandLine(of.args) }),
    ...(of.exe === '' ? {} : { file: file(of.exe, REGULAR_FILE) }),
    ...present({ working_directory: of.cwd, created_time: unixMs(of.startTime) }),
    user: { uid: String(of.uid) },
    container: container(sandbox),
    ...(hasParent(of) ? { parent_process: parentOf(of) } : {}),
  }
}

export function hasParent(of: ProcessJson): boolean {
  return of.ppid > 0 || of.parentExecId !== ''
}

export function parentOf({ ppid, parentExecId }: ProcessJson): OcsfPart {
  return { pid: ppid, ...present({ uid: parentExecId }) }
}

/** Whoever acts: a process if one is concerned, always the agent. */
export function actor(acting: OcsfPart | null, { sandbox, sessionId }: EventCommonJson): OcsfPart {
  return {
    ...(acting === null ? {} : { process: acting }),
    app_name: sandbox.agent || sandbox.name || sandbox.id || 'unknown',
    ...(sessionId === '' ? {} : { session: { uid: sessionId } }),
  }
}

export function file(path: string, type = UNKNOWN_FILE): OcsfPart {
  return { name: basename(path) || path || '/', type_id: type, ...present({ path }) }
}

/** Words as a shell would take them. */
export function commandLine(args: readonly string[]): string {
  return args.map((word) => (PLAIN_WORD.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ')
}

/** What the call came to; a connect that goes on says nothing yet. */
export function outcome(errno: number): OcsfPart {
  if (errno === 0) return status(1)
  const known = { status_code: String(errno), status_detail: errorName(errno) }
  return { ...status(errno === EINPROGRESS ? 0 : 2), ...known }
}

export function errorName(errno: number): string {
  try {
    return getSystemErrorName(-errno)
  } catch {
    return `errno ${errno}`
  }
}

const CONTROLS: Readonly<Record<VerdictJson['decision'], readonly [action: number, disposition: number] | null>> = {
  ...{ UNSPECIFIED: null, ALLOW: [1, 1], DENY: [2, 2] },
  ...{ WOULD_DENY: [1, 15], REDIRECT: [4, 1] },
}

/** Of the profile security_control. */
export function judged({ decision, rule, policy, reason }: VerdictJson): OcsfPart {
  const said = CONTROLS[decision]
  if (said === null) return {}
  return {
    ...control(...said),
    ...(rule === '' || rule === 'none' ? {} : { firewall_rule: { uid: rule, ...present({ desc: reason }) } }),
    ...(policy === '' ? {} : { policy: { name: policy } }),
  }
}

/** Another end, or ours: an address of the Internet, or what other families have instead. */
export function endpoint({
  address,
  port,
  hostname = '',
}: {
  address: string
  port: number
  hostname?: string
}): OcsfPart {
  if (!isSchemaIp(address)) return { name: address || 'none', ...present({ hostname }) }
  return { ip: address, ...present({ hostname }), ...portOf(port) }
}

/** An `ip_t`, which is too short for an address that is written with all its zeros: no kernel prints one. */
export function isSchemaIp(text: string): boolean {
  return isIP(text) !== 0 && text.length <= IP_LENGTH_MAX
}

/** Other families have numbers there that are no port. */
export function portOf(port: number): OcsfPart {
  return port > 0 && port <= PORT_MAX ? { port } : {}
}

export function connection(of: {
  protocol: string
  address: string
  connectionId: string
  incoming?: boolean
}): OcsfPart {
  const version = isIP(of.address)
  const number = of.protocol === 'ICMP' && version === 6 ? ICMP_V6 : PROTOCOL_NUMBERS[of.protocol]
  return {
    direction_id: of.incoming ? INBOUND : OUTBOUND,
    direction: of.incoming ? 'Inbound' : 'Outbound',
    protocol_name: of.protocol.toLowerCase(),
    ...present({ protocol_num: number, uid: of.connectionId, protocol_ver_id: version === 0 ? null : version }),
  }
}

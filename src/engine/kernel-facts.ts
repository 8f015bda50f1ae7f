/**
 * The few numbers of bpf/event_abi.h, bpf/policy_abi.h and of Linux that the engine needs to read kernel facts. A test compares the first part with
 * the header's text, so that the two can't drift apart. Not here: record layouts; those end in the sensor's addon.
 */
import { constants } from 'node:fs'

/** SL_ABI_VERSION: facts of another version are refused at Hello. */
export const ABI_VERSION = 1

/** enum sl_kind */
export const KIND_EXEC = 1
export const KIND_FORK = 2
export const KIND_EXIT = 3
export const KIND_FILE_OPEN = 4
export const KIND_CONNECT = 5
export const KIND_EXEC_FAILED = 6
export const KIND_FILE_CHANGE = 7
export const KIND_STDIN = 8
export const KIND_CONNECTION_CLOSED = 9
export const KIND_LISTEN = 10
export const KIND_SOCKET = 11
export const KIND_CGROUP = 12
export const KIND_PROCESS = 13
export const KIND_QUARANTINE = 14
export const KIND_DNS = 15
export const KIND_LIMIT = 16

/** enum sl_path_flag */
export const PATH_TRUNCATED = 1 << 0
export const PATH_DELETED = 1 << 1
export const PATH_DETACHED = 1 << 2
export const PATH_UNRESOLVED = 1 << 3
export const PATH_FOREIGN = 1 << 4

/** enum sl_exec_flag */
export const EXEC_SECURE = 1 << 0

/** enum sl_input_flag */
export const INPUT_UNSHOWN = 1 << 0

/** enum sl_cgroup_flag */
export const CGROUP_BORN = 1 << 1

/** enum sl_via */
export const VIA_CONNECT = 1
export const VIA_SENDMSG = 2
export const VIA_SOCKET = 3
export const VIA_URING = 4
export const VIA_PACKET = 5

/** enum sl_verdict */
export const VERDICT_ALLOW = 1
export const VERDICT_DENY = 2
export const VERDICT_WOULD_DENY = 3
export const VERDICT_REDIRECT = 4

/** enum sl_why */
export const WHY_DEFAULT = 3
export const WHY_LISTENER = 4
export const WHY_PROTOCOL = 5
export const WHY_STATE = 6
export const WHY_QUARANTINE = 7
export const WHY_GATEWAY = 8
export const WHY_UNIX = 9
export const WHY_MADE = 10
export const WHY_PROGRAM = 12
export const WHY_HELD = 13
export const WHY_CONNECTS = 20
export const WHY_CONNECTIONS = 21
export const WHY_THROTTLE = 22
export const WHY_BYTES = 23

/** Of what is denied because there is no policy yet. */
export const GENERATION_HELD = 0xffffffff

/** enum sl_connect_flag */
export const CONNECT_KERNEL_ADDR = 1 << 0

const KIND_NAMES: ReadonlyMap<number, string> = new Map([
  [KIND_EXEC, 'exec'],
  [KIND_FORK, 'fork'],
  [KIND_EXIT, 'exit'],
  [KIND_FILE_OPEN, 'fileOpen'],
  [KIND_CONNECT, 'connect'],
  [KIND_EXEC_FAILED, 'execFailed'],
  [KIND_FILE_CHANGE, 'fileChange'],
  [KIND_STDIN, 'stdin'],
  [KIND_CONNECTION_CLOSED, 'connectionClosed'],
  [KIND_LISTEN, 'listen'],
  [KIND_SOCKET, 'connect'],
  [KIND_CGROUP, 'cgroupChange'],
  [KIND_PROCESS, 'exec'],
  [KIND_QUARANTINE, 'quarantine'],
  [KIND_DNS, 'dns'],
  [KIND_LIMIT, 'limitHit'],
])

/** The event's JSON key; `fork` has no event but can be lost all the same. An unknown number is written as `kind-<n>`. */
export function kindName(kind: number): string {
  return KIND_NAMES.get(kind) ?? `kind-${kind}`
}

/** IPPROTO_* of what the kernel reports */
export const IPPROTO_ICMP = 1
export const IPPROTO_TCP = 6
export const IPPROTO_UDP = 17
export const IPPROTO_ICMPV6 = 58
export const IPPROTO_SCTP = 132
export const IPPROTO_UDPLITE = 136
export const IPPROTO_RAW = 255
export const IPPROTO_MPTCP = 262

/** AF_* that have a protocol name of their own */
export const AF_UNIX = 1
export const AF_INET = 2
export const AF_INET6 = 10
export const AF_NETLINK = 16
export const AF_PACKET = 17
export const AF_ALG = 38
export const AF_VSOCK = 40

export const SOCK_RAW = 3

export const O_ACCMODE = 3
export const O_WRONLY = 1

/** open(2) flags beyond the access mode. Those that consist of two bits come first. fs.constants knows what differs by machine. */
const OPEN_FLAGS: readonly (readonly [string, number])[] = [
  ['O_TMPFILE', 0o20000000 | constants.O_DIRECTORY],
  ['O_SYNC', constants.O_SYNC],
  ['O_DSYNC', constants.O_DSYNC],
  ['O_CREAT', constants.O_CREAT],
  ['O_EXCL', constants.O_EXCL],
  ['O_NOCTTY', constants.O_NOCTTY],
  ['O_TRUNC', constants.O_TRUNC],
  ['O_APPEND', constants.O_APPEND],
  ['O_NONBLOCK', constants.O_NONBLOCK],
  ['O_ASYNC', 0o20000],
  ['O_DIRECT', constants.O_DIRECT],
  ['O_LARGEFILE', process.arch === 'arm64' || process.arch === 'arm' ? 0o400000 : 0o100000],
  ['O_DIRECTORY', constants.O_DIRECTORY],
  ['O_NOFOLLOW', constants.O_NOFOLLOW],
  ['O_NOATIME', constants.O_NOATIME],
  ['O_CLOEXEC', 0o2000000],
  ['O_PATH', 0o10000000],
]

/** Names of the flags in open(2)'s `flags`, access mode left out. Bits without a name come last, as one hexadecimal number. */
export function openFlagNames(flags: number): string[] {
  let rest = (flags & ~O_ACCMODE) >>> 0
  const names: string[] = []
  for (const [name, bits] of OPEN_FLAGS) {
    if ((rest & bits) !== bits) continue
    names.push(name)
    rest = (rest & ~bits) >>> 0
  }
  if (rest !== 0) names.push(`0x${rest.toString(16)}`)
  return names
}

/** The kernel's own dev_t (major << 20 | minor) as stat(2) shows it: glibc's makedev. */
export function statDevice(kernelDevice: number): bigint {
  const major = BigInt(kernelDevice >>> 20)
  const minor = BigInt(kernelDevice & 0xfffff)
  return ((major & ~0xfffn) << 32n) | ((major & 0xfffn) << 8n) | ((minor & ~0xffn) << 12n) | (minor & 0xffn)
}

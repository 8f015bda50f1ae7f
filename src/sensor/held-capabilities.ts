/**
 * What processes that were there before us hold that makes watching them worth less: capabilities, in the user namespace of the machine,
 * with which one can undo the watching or send what no hook sees; and those over a network of their own that leads out, as the root of a
 * container in a user namespace has, by which packets are sent that belong to no socket (tun devices, tunnels). It guards nothing; it says
 * what there is. A capability that a process gains later is not looked for, and whose a network namespace is can't be asked from here: one
 * that is not the machine's counts as that of whoever is in it.
 */
import { readFileSync, readlinkSync } from 'node:fs'

/** Numbers of include/uapi/linux/capability.h. */
const PRIVILEGED: readonly [bit: bigint, name: string][] = [
  [21n, 'SYS_ADMIN'],
  [39n, 'BPF'],
  [19n, 'SYS_PTRACE'],
  [16n, 'SYS_MODULE'],
  [12n, 'NET_ADMIN'],
  [13n, 'NET_RAW'],
  [17n, 'SYS_RAWIO'],
]
const NET_ADMIN = 12n
const NET_RAW = 13n

/** For `degraded`: whole sentences behind the words `privileged` and `raw`; empty if none of the processes holds any of them. */
export function heldCapabilities(pids: Iterable<number>): string[] {
  const machine = { user: namespaceOf('self', 'user'), net: namespaceOf('self', 'net') }
  let held = 0n
  let leadsOut = false
  for (const pid of pids) {
    const own = capabilitiesOf(pid)
    const namespace = namespaceOf(String(pid), 'user')
    // In a user namespace of its own it is no more than its user there, but over what belongs to that.
    if (namespace === null || namespace === machine.user) held |= own
    else leadsOut ||= has(own, NET_ADMIN) && namespaceOf(String(pid), 'net') !== machine.net && hasRoutes(pid)
  }
  const names = PRIVILEGED.filter(([bit]) => has(held, bit)).map(([, name]) => name)
  if (names.length === 0) return leadsOut ? [LEADS_OUT] : []
  const raw = has(held, NET_RAW)
  return [
    `privileged: its processes hold ${names.join(', ')}, with which they can undo the watching`,
    ...(raw ? ['raw: its processes can open raw sockets, whose traffic no hook sees'] : []),
  ]
}

/** Permitted ones: a process may make them effective whenever it likes. 0 for a process that is gone. */
function capabilitiesOf(pid: number): bigint {
  try {
    const line = /^CapPrm:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))
    return BigInt(`0x${line?.[1] ?? '0'}`)
  } catch {
    return 0n
  }
}

function has(held: bigint, bit: bigint): boolean {
  return (held & (1n << bit)) !== 0n
}

const LEADS_OUT =
  'raw: its processes hold NET_ADMIN over a network of their own that leads out, by which they can send packets that no hook sees'

/** Whether anything but loopback can be reached from its network namespace. */
function hasRoutes(pid: number): boolean {
  const [, ...ip4] = linesOf(`/proc/${pid}/net/route`)
  return ip4.length > 0 || linesOf(`/proc/${pid}/net/ipv6_route`).some((line) => !/\slo$/.test(line))
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'latin1')
      .trimEnd()
      .split('\n')
      .filter((line) => line !== '')
  } catch {
    return []
  }
}

function namespaceOf(pid: string, kind: 'user' | 'net'): string | null {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`)
  } catch {
    return null
  }
}

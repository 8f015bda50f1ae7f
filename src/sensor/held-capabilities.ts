/**
 * What processes that were there before us hold that makes watching them worth less: capabilities, in the user namespace of the machine,
 * with which one can undo the watching or send what no hook sees. Guards nothing; what it says is for the record. A capability that a
 * process gains later is not looked for.
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
const NET_RAW = 13n

/** For `degraded`: whole sentences behind the words `privileged` and `raw`; empty if none of the processes holds any of them. */
export function heldCapabilities(pids: Iterable<number>): string[] {
  const machine = userNamespace('self')
  let held = 0n
  for (const pid of pids) {
    // In a user namespace of its own it is no more than its user there.
    const namespace = userNamespace(String(pid))
    if (namespace === null || namespace === machine) held |= capabilitiesOf(pid)
  }
  const names = PRIVILEGED.filter(([bit]) => (held & (1n << bit)) !== 0n).map(([, name]) => name)
  if (names.length === 0) return []
  const raw = (held & (1n << NET_RAW)) !== 0n
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

function userNamespace(pid: string): string | null {
  try {
    return readlinkSync(`/proc/${pid}/ns/user`)
  } catch {
    return null
  }
}

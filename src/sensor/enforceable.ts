/**
 * Whether a policy can be enforced for a cgroup that somebody else made. What its processes hold or can reach may take them past every
 * verdict: rights of root on the machine, or the socket of somebody who does work for whoever asks. Guards that such a policy is refused
 * with what to do about it, unless it says that it is meant. It knows brokers by their usual places alone, and looks once.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { SluiceError } from '../base/error.js'
import { type ICompiledPolicy, Mode } from '../proto/codec.js'
import { heldCapabilities } from './held-capabilities.js'

/** A * stands for every name in the folder before it. */
const BROKERS: readonly [path: string, what: string][] = [
  ['/run/docker.sock', 'a container engine'],
  ['/run/containerd/containerd.sock', 'a container engine'],
  ['/run/podman/podman.sock', 'a container engine'],
  ['/run/crio/crio.sock', 'a container engine'],
  ['/run/buildkit/buildkitd.sock', 'a container engine'],
  ['/run/k3s/containerd/containerd.sock', 'a container engine'],
  ['/run/user/*/docker.sock', 'a container engine'],
  ['/run/user/*/podman/podman.sock', 'a container engine'],
  ['/run/dbus/system_bus_socket', 'D-Bus'],
  ['/run/user/*/bus', 'D-Bus'],
  ['/run/systemd/private', 'systemd'],
  ['/run/user/*/systemd/private', 'systemd'],
  ['/run/snapd.socket', 'snapd'],
  ['/tmp/ssh-*/*', 'ssh-agent'],
  ['/tmp/tmux-*/*', 'tmux'],
]
/** Names in a folder that are looked at. */
const NAMES_MAX = 256
const ROOT_UID = 0
const MAY_ENTER = 0o1
const MAY_WRITE = 0o2

/** @throws SluiceError USAGE for a policy that can't be enforced for these processes. */
export function requireEnforceable(
  { mode, allowPrivileged, allowBrokers }: ICompiledPolicy,
  { pids, judgesUnix }: { pids: ReadonlySet<number>; judgesUnix: boolean },
): void {
  if (mode !== Mode.MODE_ENFORCE) return
  const [privileged] = allowPrivileged ? [] : heldCapabilities(pids)
  if (privileged !== undefined) {
    throw new SluiceError('USAGE', `it can't be enforced: ${privileged}`, {
      hint: 'take those rights from them, or let the policy say allow_privileged: true',
    })
  }
  // The policy itself keeps them away where the kernel has the hooks.
  const broker = allowBrokers || judgesUnix ? null : reachableBroker(pids)
  if (broker !== null) {
    throw new SluiceError(
      'USAGE',
      `it can't be enforced: its processes can reach ${broker.what} at ${broker.path}, which would act for them`,
      {
        hint: 'keep that socket from them, or let the policy say allow_brokers: true',
      },
    )
  }
}

interface Reached {
  readonly path: string
  readonly what: string
}

/** One look for each root, mounts and rights that there are among them. */
export function reachableBroker(pids: ReadonlySet<number>): Reached | null {
  const looked = new Set<string>()
  for (const pid of pids) {
    const rights = rightsOf(pid)
    const key =
      rights === null ? null : `${rights.uid} ${rights.groups.join()} ${linkOf(pid, 'ns/mnt')} ${linkOf(pid, 'root')}`
    if (rights === null || key === null || looked.has(key)) continue
    looked.add(key)
    const found = BROKERS.find(([path]) => reaches(`/proc/${pid}/root`, path.split('/').slice(1), rights))
    if (found !== undefined) return { path: found[0], what: found[1] }
  }
  return null
}

interface Rights {
  readonly uid: number
  readonly groups: readonly number[]
}

function reaches(folder: string, [part = '', ...rest]: readonly string[], rights: Rights): boolean {
  const pattern = part.includes('*') ? part.split('*') : null
  return (pattern === null ? [part] : namesIn(folder, pattern)).some((name) => {
    const path = `${folder}/${name}`
    try {
      const found = statSync(path)
      if (rest.length === 0) return found.isSocket() && may(found, rights, MAY_WRITE)
      return found.isDirectory() && may(found, rights, MAY_ENTER) && reaches(path, rest, rights)
    } catch {
      return false
    }
  })
}

function namesIn(folder: string, [head = '', tail = '']: readonly string[]): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.startsWith(head) && name.endsWith(tail))
      .slice(0, NAMES_MAX)
  } catch {
    return []
  }
}

/** By the mode's bits; root may whatever it is. */
function may({ uid, gid, mode }: { uid: number; gid: number; mode: number }, rights: Rights, bit: number): boolean {
  if (rights.uid === ROOT_UID) return true
  if (uid === rights.uid) return (mode & (bit << 6)) !== 0
  return (mode & (rights.groups.includes(gid) ? bit << 3 : bit)) !== 0
}

/** Effective; null for a process that is gone. */
function rightsOf(pid: number): Rights | null {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    const ids = (name: string) =>
      (new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '').trim().split(/\s+/).map(Number)
    const [, uid = ROOT_UID] = ids('Uid')
    const [, gid = 0] = ids('Gid')
    return { uid, groups: [gid, ...ids('Groups')] }
  } catch {
    return null
  }
}

function linkOf(pid: number, name: string): string {
  try {
    return readlinkSync(`/proc/${pid}/${name}`)
  } catch {
    return ''
  }
}

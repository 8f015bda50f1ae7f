/** Where cgroup v2 is mounted. On a hybrid host it sits beside the v1 controllers, so it is looked up and never assumed. */
import { readFileSync } from 'node:fs'
import { SluiceError } from '../base/error.js'
import { parseMounts, readMountinfo } from '../base/mounts.js'

/**
 * The mount point of the cgroup v2 hierarchy whose root is the whole hierarchy.
 * @throws SluiceError UNSUPPORTED if there is none.
 */
export function findCgroupRoot(mountinfo: string = readMountinfo()): string {
  const found = parseMounts(mountinfo).find((mount) => mount.fsType === 'cgroup2')
  if (found !== undefined) return found.path
  throw new SluiceError('UNSUPPORTED', 'no cgroup v2 hierarchy is mounted on this machine', {
    hint: mountinfo.includes(' - cgroup ')
      ? 'mount it beside v1: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified'
      : 'mount it: mount -t cgroup2 none /sys/fs/cgroup',
  })
}

/** The cgroup v2 path of a process, below the root; null if the process is gone. */
export function cgroupPathOf(pid: number): string | null {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
  } catch {
    return null
  }
  const line = text.split('\n').find((entry) => entry.startsWith('0::'))
  return line === undefined ? null : line.slice('0::'.length)
}

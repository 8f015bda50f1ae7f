/**
 * What a caller named as a cgroup, as the agent names it: by its path below the root of cgroup v2. Callers give that, or the folder as
 * their own mounts have it. Guards that a version 1 cgroup is never taken for another one. Not here: whether there is such a cgroup.
 */
import { posix, resolve } from 'node:path'
import { SluiceError } from '../../base/error.js'
import { type Mount, parseMounts, readMountinfo } from '../../base/mounts.js'

/** Throws USAGE for a version 1 cgroup. */
export function cgroupPath(given: string, mounts: readonly Mount[] = parseMounts(readMountinfo())): string {
  const folder = resolve(given)
  const mount = mountOf(folder, mounts)
  if (mount?.fsType === 'cgroup2') return posix.join('/', mount.root, folder.slice(mount.path.length))
  if (mount?.fsType === 'cgroup') {
    const v2 = mounts.find(({ fsType }) => fsType === 'cgroup2')?.path
    throw new SluiceError('USAGE', `${given} is a version 1 cgroup, and those can't be watched`, {
      hint: `name its place in version 2${v2 === undefined ? '' : `, below ${v2}`}: /proc/PID/cgroup has it behind 0::`,
    })
  }
  return posix.join('/', given)
}

/** The nearest; of several at one place the last, which covers the others. */
function mountOf(folder: string, mounts: readonly Mount[]): Mount | undefined {
  const around = mounts.filter(({ path }) => isAtOrBelow(folder, path))
  const nearest = Math.max(...around.map(({ path }) => path.length))
  return around.findLast(({ path }) => path.length === nearest)
}

function isAtOrBelow(path: string, parent: string): boolean {
  return path === parent || path.startsWith(parent === '/' ? parent : `${parent}/`)
}

/**
 * Ends what runs in a sandbox that a run of ours has made, where its policy can no longer be held. Guards that no cgroup is killed but one of
 * ours.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseMounts, readMountinfo } from '../../base/mounts.js'

/** Where a sensor makes its sandboxes, below the cgroup v2 root. */
const OURS = /^\/sluice\/[a-z0-9-]+(?=\/|$)/

/** Everything in the sandbox that the process is in, or the process alone where it is in none of ours. Never throws: who is gone is gone. */
export function killSandboxOf(pid: number): void {
  try {
    const path = OURS.exec(/^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1] ?? '')?.[0]
    const mount = parseMounts(readMountinfo()).find(({ fsType }) => fsType === 'cgroup2')
    if (path !== undefined && mount !== undefined) writeFileSync(join(mount.path, path, 'cgroup.kill'), '1')
  } catch {
    // Below.
  }
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It is dead.
  }
}

/**
 * What an agent's sensor finds of the one before it: the list on disk, checked against the kernel's own. A sandbox of the list goes on
 * if its cgroup is still the same one; what the kernel knows and the list does not is let go.
 */
import type { Log } from '../base/log.js'
import { readRunState } from './run-state.js'
import type { SandboxCgroups } from './sandbox-cgroups.js'
import type { SandboxIdentity } from './sandbox-identity.js'
import type { SandboxPolicies } from './sandbox-policies.js'

export interface EarlierSandboxesOptions {
  sandboxes: SandboxCgroups
  identity: SandboxIdentity
  policies: SandboxPolicies
  stateDir: string
  log: Log
}

/** Before any command is taken. */
export function resumeEarlierSandboxes({
  sandboxes,
  identity,
  policies,
  stateDir,
  log,
}: EarlierSandboxesOptions): void {
  const over = sandboxes.resume(readRunState(stateDir))
  for (const { id, path } of over) log.info({ sandbox: id, path }, 'a sandbox ended while there was no sensor')
  const held = new Set(sandboxes.list().map(({ cgroupId }) => cgroupId))
  // Those are decided on by who watches for them.
  for (const id of identity.foundByKernel()) held.add(id)
  const ids = [...identity.sandboxes(), ...over.flatMap(({ cgroupId }) => (cgroupId === '' ? [] : [BigInt(cgroupId)]))]
  for (const id of new Set(ids)) if (!held.has(id)) identity.untag(id)
  policies.resume(held)
}

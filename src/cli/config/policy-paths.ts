/** Where policies for this machine's sandboxes are: what the configuration says beats what is usual. */
import type { NodeConfig } from './node-config.js'

const MACHINE_POLICIES = '/etc/sluice/policies'

export function policyPaths({ agent }: NodeConfig): readonly string[] {
  return agent?.policies ?? [MACHINE_POLICIES]
}

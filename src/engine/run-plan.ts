/**
 * What a launcher has to know of the policy that its command will be held to, before it is started: the node's policies are known to the engine alone.
 * Guards that nothing else of them is told. That the policy is still that one when the run starts is policy-keeper.ts's.
 */
import { SluiceError } from '../base/error.js'
import type { ICompiledPolicy, IPlanRunRequest, IPlanRunResponse } from '../proto/codec.js'
import { namesPrograms } from '../proto/policy-needs.js'
import { type PolicyKeeper, refOf } from './policy-keeper.js'
import { identityProblem, newSandboxId } from './run-input.js'
import { SANDBOX_PARENT } from './sandbox-registry.js'

/** Throws USAGE, LIMIT. */
export function planRun(keeper: PolicyKeeper, asked: IPlanRunRequest): IPlanRunResponse {
  const { name, labels, sources } = {
    name: asked.name ?? '',
    labels: { ...asked.labels },
    sources: asked.sources ?? null,
  }
  const problem = identityProblem({ name, labels })
  if (problem !== null) throw new SluiceError('USAGE', problem)
  // A path like the one that it will have.
  const cgroupPath = `${SANDBOX_PARENT}/${newSandboxId(name)}`
  const policy = keeper.planned({ labels, sources }, cgroupPath)
  return policy === null ? {} : told(policy)
}

function told(policy: ICompiledPolicy): IPlanRunResponse {
  const { unix, allowBrokers } = policy
  return {
    ...{ policy: refOf(policy), namesPrograms: namesPrograms(policy) },
    ...{ unix: unix ?? [], allowBrokers: allowBrokers ?? false },
  }
}

/**
 * What a command will be held to, as far as its launcher and its summary have to know: by the policy that it brings, or by those of the node
 * above it, which the engine alone knows. Guards nothing by itself: the engine refuses a run whose launcher was prepared for another policy.
 */
import type { ICompiledPolicy, IPolicySources, IUnixRule } from '../../proto/codec.js'
import type { ControlClient } from '../../proto/rpc.js'

export interface PlannedPolicy {
  readonly name: string
  readonly digest: string
  readonly enforced: boolean
  /** Some of its rules are for certain programs. */
  readonly namesPrograms: boolean
  /** Sockets that it allows. */
  readonly unix: readonly IUnixRule[]
  readonly allowBrokers: boolean
}

/** Of a run that the node has no policy for. */
export async function ownPolicy(policy: ICompiledPolicy | null): Promise<PlannedPolicy | null> {
  if (policy === null) return null
  // Not before there is a policy: who is only watched starts sooner.
  const [{ Mode }, { namesPrograms }] = await Promise.all([
    import('../../proto/codec.js'),
    import('../../proto/policy-needs.js'),
  ])
  return {
    ...{ name: policy.name ?? '', digest: policy.digest ?? '', enforced: policy.mode === Mode.MODE_ENFORCE },
    ...{ namesPrograms: namesPrograms(policy), unix: policy.unix ?? [], allowBrokers: policy.allowBrokers ?? false },
  }
}

export interface PlannedRun {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly policy: ICompiledPolicy | null
  readonly sources: IPolicySources | null
}

/** Asks the engine. Throws what it refuses. */
export async function plannedPolicy(
  control: Pick<ControlClient, 'planRun'>,
  { name, labels, policy, sources }: PlannedRun,
): Promise<PlannedPolicy | null> {
  const plan = await control.planRun({ name, labels: { ...labels }, sources })
  if (!plan.policy) return ownPolicy(policy)
  return {
    ...{ name: plan.policy.name ?? '', digest: plan.policy.hash ?? '', enforced: plan.policy.mode === 'enforce' },
    ...{ namesPrograms: plan.namesPrograms ?? false, unix: plan.unix ?? [], allowBrokers: plan.allowBrokers ?? false },
  }
}

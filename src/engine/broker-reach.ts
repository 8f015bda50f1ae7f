/**
 * Whether a run could have others work for it: brokers take requests over Unix sockets (container engines, D-Bus). Guards that enforce mode
 * is not begun where nobody keeps them away. Adopted sandboxes are the sensor's to refuse (sandbox-policies.ts).
 */
import { unixLack } from '../base/policy-host.js'
import { type ICompiledPolicy, Mode } from '../proto/codec.js'

const ROOT_UID = 0
/** Beginning of what a sensor's `degraded` says where the kernel has no hook for Unix sockets. */
const UNIX_UNJUDGED = 'unix:'

/** Null: it can't, or the policy means it. @param callerUid root's launcher covers the sockets, where no hook refuses them */
export function brokerProblem(options: {
  policy: ICompiledPolicy | null
  callerUid: number
  degraded: readonly string[]
}): string | null {
  const { policy, callerUid, degraded } = options
  if (policy?.mode !== Mode.MODE_ENFORCE || policy.allowBrokers === true) return null
  const unixHooks = !degraded.some((loss) => loss.startsWith(UNIX_UNJUDGED))
  const lack = unixLack({ unixHooks, byRoot: callerUid === ROOT_UID })
  return lack === null ? null : `local.unix: ${lack.what}; ${lack.instead}`
}

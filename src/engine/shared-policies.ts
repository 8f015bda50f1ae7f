/**
 * One object for policies that say the same: each run brings its own, and a thousand runs of one policy must not hold it a thousand times.
 * Goes by all their bytes; a digest is only what a client says. It keeps nothing alive.
 */
import { createHash } from 'node:crypto'
import type { ICompiledPolicy } from '../proto/codec.js'
import { policyBytes } from '../proto/policy-bytes.js'

export class SharedPolicies {
  private readonly byContent = new Map<string, WeakRef<ICompiledPolicy>>()
  private readonly gone = new FinalizationRegistry<string>((content) => {
    if (this.byContent.get(content)?.deref() === undefined) this.byContent.delete(content)
  })

  /** This policy, or the one that somebody has already. */
  one(policy: ICompiledPolicy): ICompiledPolicy {
    const content = createHash('sha256').update(policyBytes(policy)).digest('base64')
    const known = this.byContent.get(content)?.deref()
    if (known !== undefined) return known
    this.byContent.set(content, new WeakRef(policy))
    this.gone.register(policy, content)
    return policy
  }
}

/**
 * What names a compiled policy: the SHA-256 over its encoding. Guards that the same rules have the same digest, and that nobody can give
 * rules the digest of others.
 */
import { createHash } from 'node:crypto'
import { CompiledPolicy, encodeBuffer, type ICompiledPolicy } from './codec.js'

/** In hex; what `digest` of the policy says does not count. */
export function policyDigest(policy: ICompiledPolicy): string {
  const body = { ...policy, digest: null }
  return createHash('sha256').update(encodeBuffer(CompiledPolicy, body)).digest('hex')
}

/**
 * Policies that come in parts, because one message of their size could stop the connection for good (engine/policy-upload.ts). Guards that a
 * policy is what its name says, byte for byte, and that what is begun and never ended takes a bounded room.
 */
import { createHash } from 'node:crypto'
import { SluiceError } from '../base/error.js'
import type { ICompiledPolicy } from './codec.js'
import { policyOf } from './policy-bytes.js'
import { POLICY_BYTES_MAX } from './policy-size.js'

/** The ones that were begun before are dropped. */
const BEGUN_MAX = 2

interface Begun {
  readonly parts: Buffer[]
  readonly total: number
  bytes: number
}

export class PolicyParts {
  /** By name, the latest last. */
  readonly #begun = new Map<string, Begun>()

  /** `offset` 0 begins anew. Throws USAGE for a part that does not follow, LIMIT for too much. */
  add(name: string, { offset, part, total }: { offset: number; part: Uint8Array; total: number }): void {
    if (offset === 0) this.#begin(name, total)
    const begun = this.#begun.get(name)
    if (begun === undefined || begun.bytes !== offset) {
      throw new SluiceError('USAGE', 'a part of a policy does not follow what is here of it')
    }
    begun.bytes += part.length
    if (begun.bytes > Math.min(begun.total, POLICY_BYTES_MAX)) {
      this.#begun.delete(name)
      throw new SluiceError('LIMIT', `a policy has more bytes than it said, or than ${POLICY_BYTES_MAX}`)
    }
    // Copied: a part must not keep its whole message.
    begun.parts.push(Buffer.from(part))
  }

  /** Takes the policy out. Null: it is not here, or not yet whole. Throws USAGE where it is not what it is called. */
  take(name: string): ICompiledPolicy | null {
    const begun = this.#begun.get(name)
    if (begun === undefined || begun.bytes < begun.total) return null
    this.#begun.delete(name)
    const bytes = Buffer.concat(begun.parts)
    if (createHash('sha256').update(bytes).digest('base64') !== name) {
      throw new SluiceError('USAGE', 'the parts of a policy are not the policy that was named')
    }
    return policyOf(bytes)
  }

  #begin(name: string, total: number): void {
    this.#begun.delete(name)
    for (const oldest of this.#begun.keys()) {
      if (this.#begun.size < BEGUN_MAX) break
      this.#begun.delete(oldest)
    }
    this.#begun.set(name, { parts: [], total, bytes: 0 })
  }
}

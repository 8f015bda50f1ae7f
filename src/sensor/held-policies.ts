/**
 * What an engine that comes new to this sensor is told of policies: those that its sandboxes have, and had shortly before. Guards that each
 * is told once, in parts that fit a message, the current ones first, and that the whole has a bound.
 */
import { ConnectRequest, encodeBuffer, fromBigInt, type IPolicyHolder } from '../proto/codec.js'
import type { StoredPolicy } from './policy-store.js'

const PART_BYTES = 1024 * 1024
export const POLICIES_BYTES_MAX = 64 * 1024 * 1024

export interface PolicyHolder {
  readonly cgroupId: bigint
  readonly record: { readonly id: string }
}

export interface HeldPoliciesOptions {
  readonly sandboxes: readonly PolicyHolder[]
  /** Of a sandbox, the latest last. */
  stored(sandbox: bigint): readonly StoredPolicy[]
  /** That the kernel holds the sandbox to; 0: none. */
  generationOf(sandbox: bigint): number
  bytes(policy: StoredPolicy): Buffer | null
  /** So many are not told: there are too many. */
  onLeftOut(policies: number): void
}

/** Whole ConnectRequests. */
export function encodeHeldPolicies(options: HeldPoliciesOptions): Buffer[] {
  const messages: Buffer[] = []
  let bytes = 0
  let leftOut = 0
  for (const { policy, holders } of inOrder(options)) {
    const whole = bytes < POLICIES_BYTES_MAX ? options.bytes(policy) : null
    if (whole === null) leftOut += 1
    else messages.push(...inParts(whole, holders))
    bytes += whole?.length ?? 0
  }
  if (leftOut > 0) options.onLeftOut(leftOut)
  // That is all.
  messages.push(encodeBuffer(ConnectRequest, { heldPolicy: {} }))
  return messages
}

interface Told {
  readonly policy: StoredPolicy
  readonly holders: IPolicyHolder[]
}

function inOrder({ sandboxes, stored, generationOf }: HeldPoliciesOptions): Told[] {
  const byKey = new Map<string, Told>()
  for (const { cgroupId, record } of sandboxes) {
    const current = generationOf(cgroupId)
    for (const policy of stored(cgroupId)) {
      const told = byKey.get(policy.key) ?? { policy, holders: [] }
      byKey.set(policy.key, told)
      const { generation, origin } = policy
      const isCurrent = generation === current
      told.holders.push({ sandboxId: record.id, cgroupId: fromBigInt(cgroupId), generation, isCurrent, origin })
    }
  }
  const isCurrent = ({ holders }: Told) => Number(holders.some((holder) => holder.isCurrent))
  return [...byKey.values()].sort((a, b) => isCurrent(b) - isCurrent(a))
}

function inParts(whole: Buffer, holders: readonly IPolicyHolder[]): Buffer[] {
  const messages: Buffer[] = []
  for (let start = 0; start < whole.length; start += PART_BYTES) {
    const part = whole.subarray(start, start + PART_BYTES)
    messages.push(encodeBuffer(ConnectRequest, { heldPolicy: { part } }))
  }
  messages.push(encodeBuffer(ConnectRequest, { heldPolicy: { holders: [...holders] } }))
  return messages
}

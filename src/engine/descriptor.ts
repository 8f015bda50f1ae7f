/**
 * What the engine gives its sensor to keep with a sandbox, so that an engine that was started again knows whose it is. Guards that
 * what comes back is of the form that went out. The sensor does not look into it; it is not secret from it.
 */
import { z } from 'zod'
import { fromBigInt, type ISandbox } from '../proto/codec.js'

/** As the sensor keeps it at most. */
const DESCRIPTOR_BYTES_MAX = 16 * 1024

const descriptorSchema = z.strictObject({
  session: z.string().min(1).max(64),
  startUnixNs: z.string().regex(/^\d{1,20}$/),
  owner: z.int().min(0).max(0xfffffffe),
  id: z.string(),
  name: z.string(),
  agent: z.string(),
  task: z.string(),
  /** Left out where there are too many. */
  labels: z.record(z.string(), z.string()),
})

export interface Described {
  readonly sessionId: string
  readonly startUnixNs: bigint
  readonly ownerUid: number
  readonly sandbox: ISandbox
}

export function encodeDescriptor({ sessionId, startUnixNs, ownerUid, sandbox }: Described): Buffer {
  const { id, name, agent, task, labels } = sandbox
  const fields = { session: sessionId, startUnixNs: String(startUnixNs), owner: ownerUid, id, name, agent, task }
  const whole = Buffer.from(JSON.stringify({ ...fields, labels: labels ?? {} }))
  return whole.length <= DESCRIPTOR_BYTES_MAX ? whole : Buffer.from(JSON.stringify({ ...fields, labels: {} }))
}

/** Null for what is not ours. */
export function decodeDescriptor(
  bytes: Uint8Array | null | undefined,
  place: { cgroupId: bigint; cgroupPath: string },
): Described | null {
  try {
    const { session, startUnixNs, owner, ...rest } = descriptorSchema.parse(
      JSON.parse(Buffer.from(bytes ?? []).toString()),
    )
    const sandbox = { ...rest, cgroupId: fromBigInt(place.cgroupId), cgroupPath: place.cgroupPath }
    return { sessionId: session, startUnixNs: BigInt(startUnixNs), ownerUid: owner, sandbox }
  } catch {
    return null
  }
}

/** That a sandbox reached a limit, as a fact like those of the kernel's. The kernel side counted it; no ring held it, so none can lose it. */
import { ABI } from '../native/generated/abi.js'
import { EventBatch, fromBigInt } from '../proto/codec.js'

/** Of `cpu`, where no CPU made the record, as of facts about processes. */
const NO_CPU = 0xfff

export interface LimitReached {
  readonly sandbox: bigint
  /** The policy's key. */
  readonly what: string
  readonly refused: bigint
  /** CLOCK_BOOTTIME, before the first of them and behind the last. */
  readonly fromNs: bigint
  readonly toNs: bigint
  readonly enforced: boolean
  readonly throttled: boolean
  readonly generation: number
  readonly outcome: string
}

/** An `events` field of an EventBatch. @param seq numbers the facts of this sensor */
export function encodeLimitFact({ sandbox, refused, fromNs, toNs, ...rest }: LimitReached, seq: bigint): Buffer {
  const limit = { ...rest, refused: fromBigInt(refused), firstNs: fromBigInt(fromNs) }
  const event = {
    ...{ kind: ABI.enums.SL_KIND_LIMIT, timeNs: fromBigInt(toNs), cpuSeq: fromBigInt(seq), cpu: NO_CPU },
    ...{ sandbox: fromBigInt(sandbox), limit },
  }
  return Buffer.from(EventBatch.encode({ events: [event] }).finish())
}

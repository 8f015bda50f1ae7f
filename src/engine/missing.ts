/**
 * What a batch says, or shows, to be missing: the kernel's own counts of what it dropped, batches that a spool had no room for, holes
 * in the numbers, parts that can't be read. Guards that each loss is told once, and as exactly as it is known. Not here: to whom.
 */
import { messageOf } from '../base/error.js'
import { DroppedBatches, Stage, toBigInt } from '../proto/codec.js'
import type { SandboxCounters, WalkedBatch } from './frame-walk.js'
import { kindName } from './kernel-facts.js'
import type { Loss, LossLedger } from './loss-ledger.js'
import type { GapReport } from './session.js'

export type Missing = Omit<GapReport, 'fromUnixNs' | 'toUnixNs'> & {
  /** It was lost before anything that comes behind this batch happened. */
  readonly isBehindUs?: boolean
}

const UNDELIVERED = 'it was taken from a ring and not sent'

/**
 * Counts what the batch brings, too.
 *
 * @param before the number of the batch taken before it, and what was lost by then
 */
export function missingOf(batch: WalkedBatch, before: { last: bigint; losses: LossLedger }): Missing[] {
  const { last, losses } = before
  const missing: Missing[] = []
  const uplink = { stage: Stage.STAGE_UPLINK, kind: '', count: 1n, exact: false }
  let from = last + 1n
  if (batch.dropped !== null) {
    const dropped = decodeDropped(batch.dropped)
    if (typeof dropped === 'string') missing.push({ ...uplink, stage: Stage.STAGE_SPOOL, cause: dropped })
    else {
      missing.push(...spoolGaps(dropped, losses))
      // The batches that it stands for are no hole.
      if (toBigInt(dropped.firstBatchSeq) <= from) from = batch.batchSeq
    }
  }
  if (batch.batchSeq !== from && last !== 0n) {
    const cause = `batch ${batch.batchSeq} of the sensor follows batch ${last}`
    if (!losses.foundHole(cause)) missing.push({ ...uplink, cause })
  }
  for (const event of batch.events) losses.add(event.kind, BigInt(event.happened))
  if (batch.unreadable > 0) {
    const cause = 'a part of a batch from the sensor could not be read'
    const count = BigInt(batch.unreadable)
    missing.push({ stage: Stage.STAGE_DECODE, kind: '', count, exact: batch.unreadableExact, cause })
    losses.loseCount()
  }
  missing.push(...reported(batch, losses))
  return missing
}

function reported(batch: WalkedBatch, ledger: LossLedger): Missing[] {
  if (batch.losses.length === 0 && batch.counters === '') return []
  const { losses, unknown, cause } = ledger.report(batch)
  const missing = losses.flatMap((loss) => ringGaps(loss, cause ?? UNDELIVERED))
  return unknown === null ? missing : [{ ...unknownGap(unknown), isBehindUs: true }, ...missing]
}

/** What is missing of a hole of which nothing more will be heard. */
export function unknownGap(cause: string): Missing {
  return { stage: Stage.STAGE_UPLINK, kind: '', count: 0n, exact: false, cause }
}

function decodeDropped(bytes: Uint8Array): DroppedBatches | string {
  try {
    return DroppedBatches.decode(bytes)
  } catch (error) {
    return `what the sensor's spool dropped can't be read: ${messageOf(error)}`
  }
}

function spoolGaps({ events, unknown, cause }: DroppedBatches, losses: LossLedger): Missing[] {
  const stage = Stage.STAGE_SPOOL
  if (unknown) return losses.foundHole(cause ?? '') ? [] : [{ ...unknownGap(cause ?? ''), stage }]
  for (const { kind, count } of events) losses.add(kind ?? 0, toBigInt(count))
  return events.map(({ kind, count }) => ({
    ...{ stage, kind: kindName(kind ?? 0), count: toBigInt(count), exact: true },
    cause: cause ?? '',
  }))
}

/** Of one of several sandboxes: anything from nothing to all of it. */
export function partOf(missing: Missing): Missing {
  const { countMax = missing.exact ? missing.count : 0n } = missing
  return { ...missing, count: 0n, countMax, exact: false }
}

/** What one sandbox lost. */
export function sandboxGap({ kind, dropped }: Pick<SandboxCounters, 'kind' | 'dropped'>): Missing {
  const cause = 'the ring buffer was full, or the sandbox had its share of it'
  return { stage: Stage.STAGE_KERNEL_RING, kind: kindName(kind), exact: true, count: dropped, cause }
}

function ringGaps(loss: Loss, undeliveredCause: string): Missing[] {
  const common = { stage: Stage.STAGE_KERNEL_RING, kind: kindName(loss.kind), exact: true }
  const dropped = { ...common, count: loss.dropped, cause: 'the ring buffer was full' }
  const cause = 'the kernel skipped the program because it was already running on that CPU'
  const gaps: Missing[] = [dropped, { ...common, count: loss.missed, cause }].filter(({ count }) => count > 0n)
  const { undelivered: count, undeliveredMost: countMax } = loss
  if (countMax === 0n) return gaps
  const bounds = count === countMax ? { count, exact: true } : { count, countMax, exact: false }
  return [...gaps, { ...common, ...bounds, stage: Stage.STAGE_UPLINK, cause: undeliveredCause, isBehindUs: true }]
}

/**
 * How far a sensor's stream of batches has come here: which were taken, which need never be sent again, and where an engine that was
 * started again goes on. Guards that a batch counts once however often it is sent, and that a fact which an earlier engine gave
 * to its sessions is not given to them again. Not here: what is in a batch, and writing the state down.
 */
import { SLACK_NS } from './reorder.js'

/** Batches that are taken and hold something that was not given out yet. A sensor sends no more before it hears of them. */
export const UNCOMMITTED_MAX = 65_536

/** Taken between two passes of the sensor: what is older than `untilNs` was given out then, and nothing else. */
export interface PositionState {
  readonly stream: string
  /** All in these batches was given out. */
  readonly committed: bigint
  /** Last batch that was taken. */
  readonly taken: bigint
  readonly untilNs: number
  readonly releasedNs: number
  readonly watermarkNs: bigint
  readonly bootToUnixNs: bigint
}

export const BEGINNING: Omit<PositionState, 'stream'> = Object.freeze({
  ...{ committed: 0n, taken: 0n, untilNs: 0, releasedNs: 0, watermarkNs: 0n, bootToUnixNs: 0n },
})

interface Uncommitted {
  readonly seq: bigint
  /** CLOCK_BOOTTIME of its newest event. */
  readonly newestNs: number
}

export class StreamPosition {
  readonly stream: string
  /** Number of the last batch that was taken. */
  batchSeq: bigint
  bootToUnixNs: bigint
  watermarkNs: bigint
  /** All in the batches up to here has been given out. */
  committed: bigint
  /** Whether the last batch ended a pass: only then does `state` hold. */
  settled = true
  /** Batches that came again. */
  again = 0
  private readonly earlier: PositionState
  private readonly uncommitted: Uncommitted[] = []
  private untilNs: number

  constructor(state: PositionState) {
    this.stream = state.stream
    this.earlier = state
    this.committed = state.committed
    this.batchSeq = state.committed
    this.watermarkNs = state.watermarkNs
    this.bootToUnixNs = state.bootToUnixNs
    this.untilNs = state.untilNs
  }

  /** Whether an earlier engine took it: then only facts younger than `givenOutNs` are still to be given out, and nothing is reported. */
  wasTaken(seq: bigint): boolean {
    return seq <= this.earlier.taken
  }

  /** What an earlier engine gave out of the batches that it took is not younger than this. */
  get givenOutNs(): number {
    return this.earlier.untilNs
  }

  took(seq: bigint, newestNs: number): void {
    this.batchSeq = seq
    this.settled = false
    this.uncommitted.push({ seq, newestNs })
    if (this.uncommitted.length > UNCOMMITTED_MAX) this.committed = this.uncommitted.shift()?.seq ?? this.committed
  }

  /** A pass ended, and what is older than its watermark went out, or more if `releasedNs` says so. */
  passed(watermarkNs: bigint, releasedNs: number): void {
    if (watermarkNs > this.watermarkNs) this.watermarkNs = watermarkNs
    this.untilNs = Math.max(this.untilNs, Number(this.watermarkNs) - SLACK_NS, releasedNs)
    this.settled = !this.wasTaken(this.batchSeq + 1n)
    let count = 0
    while ((this.uncommitted[count]?.newestNs ?? Number.POSITIVE_INFINITY) <= this.untilNs) count++
    const last = this.uncommitted.splice(0, count).at(-1)
    if (last !== undefined) this.committed = last.seq
  }

  state(releasedNs: number): PositionState {
    const { stream, committed, untilNs, watermarkNs, bootToUnixNs } = this
    return { stream, committed, taken: this.batchSeq, untilNs, releasedNs, watermarkNs, bootToUnixNs }
  }
}

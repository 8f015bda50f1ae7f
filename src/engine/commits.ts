/**
 * When a sensor is told that it may forget its batches: when all that was in them was given to the sessions, the readers of these have
 * it, and the state by which another engine would go on is saved. Guards that nothing acknowledged is lost with this engine, and
 * that saving costs little however often something happens. Not here: what the state is, and the socket.
 */
import type { Pipeline } from './pipeline.js'
import type { PipelineState } from './pipeline-state.js'

/** Between two acknowledgements of a sensor that sends; the next one waits for this, or for many batches. */
const COMMIT_MS = 20
/** A sensor stops at some thousands. */
const COMMIT_BATCHES = 256n
/** Saving takes no more than one part in so many of the time. */
const COST_SHARE = 20

/** What readers have. */
export interface Readers {
  /** Sends what is gathered for them. */
  flush(): void
  /** Whether the reader of this session has all up to `seq`; true for one that has no reader. */
  has(sessionId: string, seq: bigint): boolean
}

export interface CommitsOptions {
  readonly pipeline: Pipeline
  readonly readers: Readers
  /** Null: there is no state file, and nothing to wait for. False = could not be saved. */
  readonly save: ((state: PipelineState) => { now(): boolean }) | null
  ack(batchSeq: bigint): void
}

interface Underway {
  readonly committed: bigint
  readonly needs: readonly { readonly id: string; readonly seq: bigint }[]
  save(): boolean
}

export class Commits {
  private readonly options: CommitsOptions
  private acked: bigint
  private underway: Underway | null = null
  private timer: NodeJS.Timeout | null = null
  private nextAt = 0

  constructor(options: CommitsOptions) {
    this.options = options
    this.acked = options.pipeline.committed
  }

  /** A batch was taken, a session opened, or a reader has more. */
  touch(): void {
    this.finish()
    if (this.underway !== null) return
    const ahead = this.options.pipeline.committed - this.acked
    if (ahead === 0n) return
    if (ahead < COMMIT_BATCHES && performance.now() < this.nextAt) this.later()
    else this.begin()
  }

  /** A session began or ended: whatever comes next, the state knows it. */
  now(): void {
    this.finish()
    if (this.underway === null) this.begin()
  }

  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    this.underway = null
  }

  private later(): void {
    this.timer ??= setTimeout(
      () => {
        this.timer = null
        this.touch()
      },
      Math.max(1, this.nextAt - performance.now()),
    )
  }

  private begin(): void {
    const { pipeline, readers, save } = this.options
    const { state } = pipeline
    if (state === null) return
    const began = performance.now()
    readers.flush()
    const { committed } = state.position
    if (save === null) {
      this.underway = { committed, needs: [], save: () => true }
    } else {
      const saving = save(state)
      const needs = [...state.sessions.values()].map(({ id, seq }) => ({ id, seq }))
      this.underway = { committed, needs, save: () => saving.now() }
    }
    this.finish()
    const now = performance.now()
    this.nextAt = now + Math.max(COMMIT_MS, COST_SHARE * (now - began))
  }

  private finish(): void {
    const { underway } = this
    const { readers, ack } = this.options
    if (underway === null || !underway.needs.every(({ id, seq }) => readers.has(id, seq))) return
    this.underway = null
    // A state that can't be saved is logged where that happens; a sensor that waited for it would stop reading.
    underway.save()
    if (underway.committed <= this.acked) return
    this.acked = underway.committed
    ack(underway.committed)
  }
}

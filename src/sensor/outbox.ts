/**
 * Where every batch goes: to the engine while there is one, to the spool while there is none, and again from the spool when there is
 * one again. Guards that the engine gets each batch that it has not acknowledged, in order of their numbers, or is told how many
 * events of which kind are gone; that what is underway has a limit; and that an answer overtakes no batch unless it may. For a sensor
 * that another one can follow, what is underway is in the spool too: that one goes on with it. Not here: the connection
 * (engine-link.ts), files (spool.ts).
 */
import type { DroppedBatches, Spool } from './spool.js'
import type { BatchFrame } from './spool-record.js'

/** Sent and not acknowledged yet. What is underway from the rings is kept in memory: these many bytes at most. */
export const UNACKED_BYTES_MAX = 24 * 1024 * 1024
export const UNACKED_FRAMES_MAX = 2_048

export interface EngineSide {
  /** False = taken, but send no more before `drained`. */
  send(bytes: Buffer): boolean
}

export interface OutboxOptions {
  readonly spool: Spool
  /** Whether what is underway is to outlive this process. */
  readonly keepsAll: boolean
  /** Of batches that a stand-in at the spool's beginning is for: that and the number of the stand-in. */
  readonly hole: { readonly first: number; readonly last: number } | null
  /** The bytes of a batch that stands in the place of others. */
  standIn(dropped: DroppedBatches): Buffer
  /** A `push` that returned false: there is room again. */
  onRoom(): void
}

interface Unacked {
  readonly seq: number
  readonly size: number
  /** Null for one that was sent from the spool. `isKept`: it is there too. */
  readonly live: { frame: BatchFrame; done: () => void; isKept: boolean } | null
}

export class Outbox {
  readonly #options: OutboxOptions
  #engine: EngineSide | null = null
  #engineFull = false
  /** Next to be sent from the spool; null: all of it was sent, batches go straight to the engine. */
  #next: number | null = null
  /** In order; live ones behind those in the spool. */
  #unacked: Unacked[] = []
  #unackedBytes = 0
  #answers: { after: number; bytes: Buffer }[] = []
  #last = 0
  #wanted = false

  constructor(options: OutboxOptions) {
    this.#options = options
    this.#last = options.spool.last
  }

  /** Number of the oldest batch that can still be sent, or told of; of the next one if there is none. */
  get first(): number {
    const { spool, hole } = this.#options
    const first = spool.dropped[0]?.first ?? (spool.first || this.#last + 1)
    return first === hole?.last ? hole.first : first
  }

  /** Whether batches go to the engine as they come. */
  get live(): boolean {
    return this.#engine !== null && this.#next === null
  }

  /** Takes a batch; calls `done` when its bytes may be used again, at once or later. False = taken, but push no more before `onRoom`. */
  push(frame: BatchFrame, done: () => void): boolean {
    this.#last = frame.seq
    if (!this.live) {
      this.#options.spool.append(frame)
      done()
      this.#sendSpooled()
      return true
    }
    const isKept = this.#keep(frame)
    this.#send({ seq: frame.seq, size: frame.bytes.length, live: { frame, done, isKept } }, frame.bytes)
    this.#wanted = this.#isFull()
    return !this.#wanted
  }

  /** Sent when all batches pushed so far were; dropped if the engine goes before that: nobody waits for it any more. */
  answer(bytes: Buffer): void {
    if (this.#engine === null) return
    if (this.#next === null) this.#engineFull = !this.#engine.send(bytes) || this.#engineFull
    else this.#answers.push({ after: this.#last, bytes })
  }

  /** As `answer`, for what no batch matters to: the engine may ask before it can take the batches. */
  answerAhead(bytes: Buffer): void {
    if (this.#engine?.send(bytes) === false) this.#engineFull = true
  }

  /** @param committed number of the last batch that this engine does not need any more */
  connected(engine: EngineSide, committed: number): void {
    this.disconnected()
    const { spool } = this.#options
    this.#engine = engine
    this.#engineFull = false
    spool.forget(committed)
    this.#next = committed + 1
    this.#sendSpooled()
  }

  /** What the engine had not acknowledged goes to the spool. */
  disconnected(): void {
    this.#engine = null
    this.#answers = []
    this.#spill()
    this.#offerRoom()
  }

  acked(seq: number): void {
    const count = this.#unacked.findIndex((each) => each.seq > seq)
    for (const { size, live } of this.#unacked.splice(0, count < 0 ? this.#unacked.length : count)) {
      this.#unackedBytes -= size
      live?.done()
    }
    this.#options.spool.forget(seq)
    this.#sendSpooled()
    this.#offerRoom()
  }

  /** The engine takes more. */
  drained(): void {
    this.#engineFull = false
    this.#sendSpooled()
    this.#offerRoom()
  }

  /** What is unacknowledged is on disk when this returns. */
  close(): void {
    this.disconnected()
    this.#options.spool.close()
  }

  /** Before it is sent: what an engine may have is there. Behind one for which there was no room there is none until that is acknowledged. */
  #keep(frame: BatchFrame): boolean {
    const { spool, keepsAll } = this.#options
    const follows = this.#unacked.at(-1)?.live?.isKept ?? true
    return keepsAll && follows && spool.keep(frame)
  }

  #spill(): void {
    for (const { live } of this.#unacked) {
      // Its buffer is not used again: the connection that broke may still hold it.
      if (live !== null && !live.isKept) this.#options.spool.append(live.frame)
    }
    this.#unacked = []
    this.#unackedBytes = 0
    this.#next = null
  }

  #isFull(): boolean {
    return this.#engineFull || this.#unackedBytes >= UNACKED_BYTES_MAX || this.#unacked.length >= UNACKED_FRAMES_MAX
  }

  #offerRoom(): void {
    if (!this.#wanted || (this.live && this.#isFull())) return
    this.#wanted = false
    this.#options.onRoom()
  }

  #sendSpooled(): void {
    const { spool, standIn } = this.#options
    while (this.#engine !== null && this.#next !== null && !this.#isFull()) {
      const next = this.#next
      const dropped = spool.dropped.find(({ last }) => last >= next)
      const frame = dropped === undefined ? spool.read(next) : { seq: dropped.last, bytes: standIn(dropped) }
      if (frame === null) {
        this.#next = null
      } else {
        this.#next = frame.seq + 1
        this.#send({ seq: frame.seq, size: frame.bytes.length, live: null }, frame.bytes)
      }
      this.#sendAnswers()
    }
  }

  #sendAnswers(): void {
    const reached = this.#next ?? Number.POSITIVE_INFINITY
    for (let first = this.#answers[0]; first !== undefined && first.after < reached; first = this.#answers[0]) {
      this.#answers.shift()
      if (this.#engine?.send(first.bytes) === false) this.#engineFull = true
    }
  }

  #send(unacked: Unacked, bytes: Buffer): void {
    this.#unacked.push(unacked)
    this.#unackedBytes += unacked.size
    this.#options.spool.sentUpTo = Math.max(this.#options.spool.sentUpTo, unacked.seq)
    if (this.#engine?.send(bytes) === false) this.#engineFull = true
  }
}

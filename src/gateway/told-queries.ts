/**
 * What engines were told of each sandbox's queries, in numbers: how many all in all, and how many of them the engine has not said yet that it
 * keeps, so that the next one can say how much an engine took along that was killed. Bounded.
 */
import { fromBigInt, type IToldQueries } from '../proto/codec.js'

/** Messages that are remembered by themselves; what came before them stays unkept. */
const MESSAGES_MAX = 4_096

interface Sent {
  /** Number of the last fact that had gone out by then. */
  readonly last: bigint
  readonly counts: ReadonlyMap<string, number>
}

export class ToldQueries {
  readonly #told = new Map<string, number>()
  readonly #unkept = new Map<string, number>()
  #sent: Sent[] = []

  /** A message went out. */
  sent(last: bigint, counts: ReadonlyMap<string, number>): void {
    for (const [id, count] of counts) {
      add(this.#told, id, count)
      add(this.#unkept, id, count)
    }
    this.#sent.push({ last, counts })
    if (this.#sent.length > MESSAGES_MAX) this.#sent.shift()
  }

  /** An engine that is started again knows of everything up to this fact. */
  kept(number: bigint): void {
    const first = this.#sent.findIndex(({ last }) => last > number)
    const kept = this.#sent.splice(0, first === -1 ? this.#sent.length : first)
    for (const { counts } of kept) {
      for (const [id, count] of counts) if (this.#unkept.has(id)) add(this.#unkept, id, -count)
    }
  }

  /** The sandbox is no more. */
  forget(sandboxId: string): void {
    this.#told.delete(sandboxId)
    this.#unkept.delete(sandboxId)
  }

  of(sandboxIds: readonly string[]): IToldQueries[] {
    const number = (of: ReadonlyMap<string, number>, id: string) => fromBigInt(BigInt(of.get(id) ?? 0))
    return sandboxIds.map((sandboxId) => {
      return { sandboxId, told: number(this.#told, sandboxId), unkept: number(this.#unkept, sandboxId) }
    })
  }
}

function add(to: Map<string, number>, id: string, count: number): void {
  to.set(id, (to.get(id) ?? 0) + count)
}

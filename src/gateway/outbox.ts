/**
 * What is to be told of queries, until an engine takes it: in order, so many to a message, in a queue with a limit, and beyond that counted
 * by sandbox and cause. Guards that each query that was taken is told, or counted as lost, once. Not here: the connection.
 */
import { fromBigInt, type IDnsFact, type IDnsFacts, type ILimitFact } from '../proto/codec.js'
import type { DnsFact, LimitFact } from './dns-fact.js'

const FACTS_MAX = 8_192
const FACTS_PER_MESSAGE = 256
const NS_PER_MS = 1_000_000n
const NO_BYTES = new Uint8Array(0)
const NO_ROOM = 'the gateway had no room for more of what was asked'

interface NumberedFact {
  readonly number: bigint
  readonly fact: DnsFact
}

interface NumberedLimit {
  readonly number: bigint
  readonly limit: LimitFact
}

interface Lost {
  readonly sandboxId: string
  readonly cause: string
  count: number
}

/** One message, and what it takes out of here. */
export interface Parcel {
  readonly message: IDnsFacts
  /** Number of the last fact that will have gone out with it. */
  readonly last: bigint
  /** Queries by sandbox. */
  readonly counts: ReadonlyMap<string, number>
}

export class Outbox {
  #facts: NumberedFact[] = []
  #limits: NumberedLimit[] = []
  #lost = new Map<string, Lost>()
  #lastNumber = 0n
  #lastSent = 0n

  get isEmpty(): boolean {
    return this.#facts.length === 0 && this.#limits.length === 0 && this.#lost.size === 0
  }

  tell(fact: DnsFact): void {
    const number = ++this.#lastNumber
    if (this.#facts.length < FACTS_MAX) this.#facts.push({ number, fact })
    else this.lose(fact.sandboxId, 1, NO_ROOM)
  }

  tellLimit(limit: LimitFact): void {
    const number = ++this.#lastNumber
    if (this.#limits.length < FACTS_MAX) this.#limits.push({ number, limit })
    else this.lose(limit.sandboxId, limit.refused, NO_ROOM)
  }

  /** Of these no more will be told. */
  lose(sandboxId: string, count: number, cause: string): void {
    const key = `${sandboxId}\0${cause}`
    const lost = this.#lost.get(key)
    if (lost === undefined) this.#lost.set(key, { sandboxId, cause, count })
    else lost.count += count
  }

  /** The next message; it stays here until it is `taken`. To be asked for where there is something. */
  next(): Parcel {
    const facts = this.#facts.slice(0, FACTS_PER_MESSAGE)
    const limits = this.#limits.slice(0, FACTS_PER_MESSAGE)
    const lost = [...this.#lost.values()].slice(0, FACTS_PER_MESSAGE)
    const counts = new Map<string, number>()
    const add = (id: string, count: number) => void counts.set(id, (counts.get(id) ?? 0) + count)
    for (const { fact } of facts) add(fact.sandboxId, 1)
    for (const { limit } of limits) add(limit.sandboxId, limit.refused)
    for (const { sandboxId, count } of lost) add(sandboxId, count)
    const last = [...facts.slice(-1), ...limits.slice(-1)].reduce(
      (most, { number }) => (number > most ? number : most),
      this.#lastSent,
    )
    const message = {
      facts: facts.map(encodedFact),
      limits: limits.map(encodedLimit),
      lost: lost.map(({ sandboxId, cause, count }) => ({ sandboxId, cause, count: fromBigInt(BigInt(count)) })),
    }
    return { message, last, counts }
  }

  taken({ message, last }: Parcel): void {
    this.#facts = this.#facts.slice(message.facts?.length ?? 0)
    this.#limits = this.#limits.slice(message.limits?.length ?? 0)
    const lost = new Set([...this.#lost.keys()].slice(0, message.lost?.length ?? 0))
    this.#lost = new Map([...this.#lost].filter(([key]) => !lost.has(key)))
    this.#lastSent = last
  }
}

function encodedFact({ number, fact }: NumberedFact): IDnsFact {
  const { timeMs, answers, ...rest } = fact
  return {
    ...rest,
    number: fromBigInt(number),
    timeUnixNs: fromBigInt(BigInt(timeMs) * NS_PER_MS),
    answers: answers.map(({ address, text }) => ({ address: address ?? NO_BYTES, text })),
  }
}

function encodedLimit({ number, limit }: NumberedLimit): ILimitFact {
  const { fromMs, toMs, refused, ...rest } = limit
  const unixNs = (ms: number) => fromBigInt(BigInt(ms) * NS_PER_MS)
  const window = { fromUnixNs: unixNs(fromMs), toUnixNs: unixNs(toMs) }
  return { ...rest, ...window, number: fromBigInt(number), refused: fromBigInt(BigInt(refused)) }
}

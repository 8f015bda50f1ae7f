/**
 * How much of what sandboxes asked a gateway has told this engine, in queries, held against what gateways say of themselves when they
 * connect: what one took along that was killed, and what another engine was told that was. Guards that each loss is told once, as exactly
 * as it is known. Not here: to whom.
 */
import { type IGatewayHello, toBigInt } from '../proto/codec.js'

/** A gateway serves no more. */
const SANDBOXES_MAX = 4_096

export interface MissingQueries {
  readonly count: bigint
  readonly exact: boolean
  /** Left out where nobody knows. */
  readonly countMax?: bigint
  /** One sentence. */
  readonly cause: string
  /** False: of other kinds than names, too. */
  readonly isOfNames: boolean
}

const KILLED = 'the gateway was killed and had not told yet what was asked of it'
const CUT_OFF = 'what was asked was told to a connection that broke'
const ENGINE_KILLED = 'an engine was killed and took along what it had been told of names'

export class GatewayLedger {
  /** Of the gateway that told it; empty: none did that did not end in order. */
  private instance = ''
  private readonly told = new Map<string, bigint>()

  /** One that did not end in order may have taken something along. */
  get isOpen(): boolean {
    return this.instance !== ''
  }

  /** What is missing, by sandbox. From here on it counts what this gateway tells. */
  hello({ instance, told, earlier, taken }: IGatewayHello): Map<string, MissingQueries> {
    const own = (told ?? []).slice(0, SANDBOXES_MAX)
    const earlierTaken = (taken ?? []).slice(0, SANDBOXES_MAX)
    const missing = new Map<string, MissingQueries>()
    const miss = (id: string | null | undefined, of: MissingQueries) => {
      if ((of.countMax ?? of.count) > 0n) missing.set(id ?? '', of)
    }
    const isSame = this.instance !== '' && this.instance === instance
    for (const { sandboxId, told: sent, unkept } of own) {
      if (isSame) miss(sandboxId, exactly(toBigInt(sent) - this.of(sandboxId), CUT_OFF))
      else miss(sandboxId, atMost(toBigInt(unkept), ENGINE_KILLED, false))
    }
    const isNext = this.instance !== '' && this.instance === earlier
    for (const { sandboxId, count } of earlierTaken) {
      if (isNext) miss(sandboxId, exactly(toBigInt(count) - this.of(sandboxId), KILLED))
      else miss(sandboxId, atMost(toBigInt(count), KILLED, true))
    }
    this.instance = instance ?? ''
    this.told.clear()
    for (const { sandboxId, told: sent } of own) this.told.set(sandboxId ?? '', toBigInt(sent))
    return missing
  }

  /** It told of so many, or that they are lost. */
  add(sandboxId: string | null | undefined, count: bigint): void {
    const id = sandboxId ?? ''
    if (this.told.has(id) || this.told.size < SANDBOXES_MAX) this.told.set(id, this.of(id) + count)
  }

  /** It told all of this sandbox. */
  forget(sandboxId: string): void {
    this.told.delete(sandboxId)
  }

  /** It told all. */
  close(): void {
    this.instance = ''
    this.told.clear()
  }

  private of(sandboxId: string | null | undefined): bigint {
    return this.told.get(sandboxId ?? '') ?? 0n
  }
}

/** What a gateway says that does not come back. */
export const GONE: MissingQueries = { count: 0n, exact: false, cause: KILLED, isOfNames: true }

function exactly(count: bigint, cause: string): MissingQueries {
  return { count, countMax: count, exact: true, cause, isOfNames: true }
}

/** Anything from nothing to so many. */
function atMost(countMax: bigint, cause: string, isOfNames: boolean): MissingQueries {
  return { count: 0n, countMax, exact: false, cause, isOfNames }
}

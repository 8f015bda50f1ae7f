/**
 * Big tables of addresses that no sandbox has, each nearly what one has: when that one changes a little, the few entries are changed here, aside,
 * and the sandbox gets this one instead. Filling fifty thousand entries anew takes the kernel longer than a change may. Guards that only
 * a table which no hook can still be looking at is changed, and that spares have a bound.
 */
import type { BpfObject } from '../native/addon.js'
import { ABI } from '../native/generated/abi.js'
import type { PolicyTable } from './policy-table.js'
import { policyKey } from './policy-values.js'
import { changesOf } from './table-changes.js'

/** Smaller ones are made anew in no time. */
const BIG_ENTRIES = 4_096
/** In which two tables may differ; beyond that a new one is made. */
const CHANGES_MAX = 2_048
/** Of all spares: some 400 bytes of the kernel's memory each. */
const ENTRIES_MAX = 131_072
/** A spare is made while nothing else is to be done, a step at a time. */
const PLANNED_MS = 300
const STEP_ENTRIES = 4_096

const { size: KEY } = ABI.structs.sl_net_key
const { size: VALUE } = ABI.structs.sl_net

/** Whether a spare of it is worth its room. */
export function isBig({ keys, isOrdered }: PolicyTable): boolean {
  return isOrdered && keys.length >= BIG_ENTRIES * KEY
}

export class SpareTables {
  readonly #object: BpfObject
  readonly #freeNumber: () => number
  /** By number in sl_policies, the latest last. */
  readonly #spares = new Map<number, PolicyTable>()
  #planned: NodeJS.Timeout | null = null
  #making: number | null = null

  /** @param freeNumber that no table has */
  constructor(object: BpfObject, freeNumber: () => number) {
    this.#object = object
    this.#freeNumber = freeNumber
  }

  has(number: number): boolean {
    return this.#spares.has(number) || this.#making === number
  }

  /** No sandbox has it and no hook can be looking at it: whether it is a spare from now on. */
  keep(number: number, table: PolicyTable | null): boolean {
    if (table === null || !isBig(table) || this.#isCovered(table) || !this.#makeRoom(table)) return false
    this.#spares.set(number, table)
    return true
  }

  /** The number of a table that has just these entries, which is no spare any more. Null: none is nearly like it. */
  become(table: PolicyTable): number | null {
    if (!isBig(table)) return null
    for (const [number, spare] of [...this.#spares].reverse()) {
      const changes = changesOf(spare, table, CHANGES_MAX)
      if (changes === null) continue
      this.#spares.delete(number)
      try {
        this.#object.changeInner('sl_policies', policyKey(number), changes.gone, changes.keys, changes.values)
        return number
      } catch {
        // Whatever it is now: it is nobody's.
        this.#remove(number)
        return null
      }
    }
    return null
  }

  /** A sandbox has this one now: there is to be a spare for what comes after it. */
  plan(table: PolicyTable): void {
    if (!isBig(table)) return
    if (this.#planned !== null) clearTimeout(this.#planned)
    this.#planned = setTimeout(() => {
      this.#planned = null
      if (!this.#isCovered(table) && this.#making === null && this.#makeRoom(table)) this.#begin(table)
    }, PLANNED_MS).unref()
  }

  /** No sandbox has a big one any more. */
  clear(): void {
    if (this.#planned !== null) clearTimeout(this.#planned)
    this.#planned = null
    const numbers = [...this.#spares.keys(), ...(this.#making === null ? [] : [this.#making])]
    this.#making = null
    this.#spares.clear()
    this.#remove(...numbers)
  }

  #isCovered(table: PolicyTable): boolean {
    return [...this.#spares.values()].some((spare) => changesOf(spare, table, CHANGES_MAX) !== null)
  }

  /** The oldest go. */
  #makeRoom({ keys }: PolicyTable): boolean {
    const left = ENTRIES_MAX - keys.length / KEY
    let held = [...this.#spares.values()].reduce((sum, spare) => sum + spare.keys.length / KEY, 0)
    for (const [number, spare] of this.#spares) {
      if (held <= left) break
      held -= spare.keys.length / KEY
      this.#spares.delete(number)
      this.#remove(number)
    }
    return held <= left
  }

  #begin(table: PolicyTable): void {
    const number = this.#freeNumber()
    this.#making = number
    try {
      this.#object.putInner('sl_policies', policyKey(number), ...entriesOf(table, 0))
    } catch {
      // No room, or the object is closed by now: what comes next is made anew, as the first one was.
      this.#making = null
      return
    }
    setImmediate(() => this.#goOn(number, table, STEP_ENTRIES))
  }

  #goOn(number: number, table: PolicyTable, from: number): void {
    // Given up meanwhile.
    if (this.#making !== number) return
    if (from * KEY >= table.keys.length) {
      this.#making = null
      this.#spares.set(number, table)
      return
    }
    try {
      this.#object.changeInner('sl_policies', policyKey(number), NOTHING, ...entriesOf(table, from))
    } catch {
      this.#making = null
      this.#remove(number)
      return
    }
    setImmediate(() => this.#goOn(number, table, from + STEP_ENTRIES))
  }

  #remove(...numbers: readonly number[]): void {
    if (numbers.length === 0) return
    try {
      this.#object.deleteMany('sl_policies', Buffer.concat(numbers.map(policyKey)))
    } catch {
      // As of policy-tables.ts: the next sensor removes what nobody has.
    }
  }
}

const NOTHING = Buffer.alloc(0)

/** One step of them. */
function entriesOf({ keys, values }: PolicyTable, from: number): [keys: Buffer, values: Buffer] {
  const to = from + STEP_ENTRIES
  return [keys.subarray(from * KEY, to * KEY), values.subarray(from * VALUE, to * VALUE)]
}

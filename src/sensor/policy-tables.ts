/**
 * Tables of addresses in the kernel, one for all sandboxes whose policies come to the same: made by who needs it first, removed a while after
 * nobody has it any more. It guards that none goes while a hook may still look for it, and that a thousand sandboxes with one policy hold
 * one table. What stands in a table is policy-table.ts's, who has which is policy-maps.ts's.
 */
import { createHash } from 'node:crypto'
import type { Addon, BpfObject } from '../native/addon.js'
import type { ICompiledPolicy } from '../proto/codec.js'
import { type PolicyTable, policyTable } from './policy-table.js'
import { policyKey } from './policy-values.js'
import { isBig, SpareTables } from './spare-tables.js'

/** Numbers above are the proof's (foreign-proof.ts). */
const NUMBER_MAX = 0x7fffffff
/** A table that nobody has is removed this much later, with all that are due by then: each removal makes the kernel wait. */
const RETIRE_MS = 1_000
/** Of tables that are made at once. */
const PREPARED_BYTES_MAX = 32 * 1024 * 1024
/** Of big tables whose entries are kept here, so that a change is a change of some entries. */
const KEPT_MAX = 8

function contentOf({ keys, values }: PolicyTable): string {
  return createHash('sha256').update(keys).update(values).digest('base64')
}

interface Table {
  /** Null: an earlier sensor made it, and nobody else is given it. */
  readonly content: string | null
  users: number
  /** When its last user let go of it. */
  freeSinceMs: number
  /** Of a big one. Null: not kept. */
  entries: PolicyTable | null
}

export class PolicyTables {
  readonly #addon: Addon
  readonly #object: BpfObject
  /** Oldest first. */
  readonly #tables = new Map<number, Table>()
  readonly #spares: SpareTables
  readonly #byContent = new Map<string, number>()
  /** What was counted out once need not be again: the same object is the same table. */
  readonly #byPolicy = new WeakMap<ICompiledPolicy, string>()
  #last = 0
  #removing: NodeJS.Timeout | null = null

  /** @param inUse tables of an earlier sensor's, one entry for each sandbox that has it */
  constructor(addon: Addon, object: BpfObject, inUse: readonly number[]) {
    this.#addon = addon
    this.#object = object
    this.#spares = new SpareTables(object, () => this.#nextNumber())
    for (const key of object.keys('sl_policies')) {
      const number = key.readUInt32LE()
      const users = inUse.filter((each) => each === number).length
      this.#tables.set(number, { content: null, users, freeSinceMs: 0, entries: null })
      this.#last = Math.max(this.#last, number)
    }
    for (const number of inUse) this.#last = Math.max(this.#last, number)
  }

  /**
   * Makes the tables that are missing for these, which are about to be taken: the kernel waits once for all of them, some milliseconds, and not
   * once for each. What can't be made is left to `take`, which says why.
   */
  prepare(policies: readonly ICompiledPolicy[]): void {
    const missing = new Map<string, PolicyTable>()
    let bytes = 0
    for (const policy of policies) {
      const found = bytes < PREPARED_BYTES_MAX ? this.#tableOf(policy) : null
      if (found === null || this.#byContent.has(found.content)) continue
      missing.set(found.content, found.table)
      bytes += found.table.values.length
    }
    if (missing.size > 1) this.#makeQuietly([...missing])
  }

  /**
   * The number of a table with what the policy says of addresses, for one more sandbox.
   * @throws SluiceError USAGE or LIMIT for a policy that can't be judged, NativeError where the kernel has no room.
   */
  take(policy: ICompiledPolicy): number {
    const known = this.#known(this.#byPolicy.get(policy))
    if (known !== null) return known
    const table = policyTable(policy, this.#latestKept())
    const content = contentOf(table)
    this.#byPolicy.set(policy, content)
    return this.#known(content) ?? this.#made(content, table)
  }

  /** One sandbox less has it. */
  letGo(number: number): void {
    const table = this.#tables.get(number)
    if (table === undefined) return
    table.users -= 1
    if (table.users > 0) return
    table.freeSinceMs = performance.now()
    this.#removeLater()
  }

  /** Those of an earlier sensor that no sandbox has, at once: no hook looks for what no entry names. */
  removeUnused(): void {
    const unused = [...this.#tables].filter(([, { users, content }]) => users <= 0 && content === null)
    this.#remove(unused.map(([number]) => number))
  }

  #known(content: string | undefined): number | null {
    const number = content === undefined ? undefined : this.#byContent.get(content)
    const table = number === undefined ? undefined : this.#tables.get(number)
    if (number === undefined || table === undefined) return null
    table.users += 1
    return number
  }

  /** Null: it is there already, or `take` will say why it can't be. */
  #tableOf(policy: ICompiledPolicy): { content: string; table: PolicyTable } | null {
    if (this.#byPolicy.has(policy)) return null
    try {
      const table = policyTable(policy, this.#latestKept())
      const content = contentOf(table)
      this.#byPolicy.set(policy, content)
      return { content, table }
    } catch {
      return null
    }
  }

  #makeQuietly(tables: readonly (readonly [string, PolicyTable])[]): void {
    try {
      this.#make(tables)
    } catch {
      return
    }
    this.#removeLater()
  }

  #made(content: string, table: PolicyTable): number {
    const spare = this.#spareFor(table)
    if (spare === null) this.#make([[content, table]])
    else this.#add(spare, content, table)
    this.#spares.plan(table)
    const number = this.#known(content)
    if (number === null) throw new Error('a table that was just made is gone')
    return number
  }

  /** A change comes soon after another one: what that one freed is taken, once no hook can be looking at it. */
  #spareFor(table: PolicyTable): number | null {
    const spare = this.#spares.become(table)
    if (spare !== null || !isBig(table)) return spare
    const free = [...this.#tables].filter(([, { users, entries }]) => users <= 0 && entries !== null)
    if (free.length === 0 || !this.#waitForPrograms()) return null
    for (const [number, { entries }] of free) if (this.#spares.keep(number, entries)) this.#drop(number)
    return this.#spares.become(table)
  }

  /** For nobody yet. All of them, or none. */
  #make(tables: readonly (readonly [content: string, table: PolicyTable])[]): void {
    const last = this.#last
    const made = tables.map(([content, table]) => ({ number: this.#nextNumber(), content, table }))
    try {
      const parts = made.flatMap(({ number, table: { keys, values } }) => [policyKey(number), keys, values])
      this.#object.putInner('sl_policies', ...parts)
    } catch (error) {
      this.#last = last
      throw error
    }
    for (const { number, content, table } of made) this.#add(number, content, table)
  }

  #nextNumber(): number {
    do this.#last = this.#last >= NUMBER_MAX ? 1 : this.#last + 1
    while (this.#tables.has(this.#last) || this.#spares.has(this.#last))
    return this.#last
  }

  #add(number: number, content: string, table: PolicyTable): void {
    const entries = isBig(table) ? table : null
    this.#tables.set(number, { content, users: 0, freeSinceMs: performance.now(), entries })
    this.#byContent.set(content, number)
    const kept = [...this.#tables.values()].filter((each) => each.entries !== null)
    for (const oldest of kept.slice(0, -KEPT_MAX)) oldest.entries = null
  }

  /** What a policy is most likely to be like. */
  #latestKept(): PolicyTable | null {
    return [...this.#tables.values()].findLast(({ entries }) => entries !== null)?.entries ?? null
  }

  #removeLater(): void {
    this.#removing ??= setTimeout(() => {
      this.#removing = null
      const since = performance.now() - RETIRE_MS
      const free = [...this.#tables].filter(([, { users }]) => users <= 0)
      const due = free.filter(([, { freeSinceMs }]) => freeSinceMs <= since)
      this.#remove(due.map(([number]) => number))
      if (due.length < free.length) this.#removeLater()
    }, RETIRE_MS).unref()
  }

  /** A hook that has read which table it is must still find it, as a missing one denies: those that run are waited for. */
  #remove(numbers: readonly number[]): void {
    if (numbers.length === 0) return
    const isSafe = this.#waitForPrograms()
    const entriesOf = (number: number) => this.#tables.get(number)?.entries ?? null
    const gone = numbers.filter((number) => !isSafe || !this.#spares.keep(number, entriesOf(number)))
    try {
      if (gone.length > 0) this.#object.deleteMany('sl_policies', Buffer.concat(gone.map(policyKey)))
    } catch {
      // The object is closed by now: what is left is removed by the next sensor, or gone with the maps.
      return
    }
    for (const number of numbers) this.#drop(number)
    if (![...this.#tables.values()].some(({ entries }) => entries !== null)) this.#spares.clear()
  }

  #drop(number: number): void {
    const content = this.#tables.get(number)?.content ?? null
    this.#tables.delete(number)
    if (content !== null && this.#byContent.get(content) === number) this.#byContent.delete(content)
  }

  /** Whether no program that runs now was running before. */
  #waitForPrograms(): boolean {
    try {
      this.#addon.waitForPrograms()
      return true
    } catch {
      // A kernel with nohz_full CPUs does not offer it; no program runs for as long as tables are kept anyway.
      return false
    }
  }
}

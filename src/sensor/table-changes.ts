/**
 * What makes one table of addresses another one: the entries to take out, and those to put in. Guards that the two come to the same, entry by entry,
 * and that one that is quite another is not gone through to its end. Of tables in order only. Pure.
 */
import { ADDRESS_BYTES } from '../base/special-addresses.js'
import { ABI } from '../native/generated/abi.js'

/** Entries that are compared at once, at most. */
const BLOCK_MAX = 8_192

const { size: KEY, fields: KEY_FIELDS } = ABI.structs.sl_net_key
const VALUE = ABI.structs.sl_net.size

export interface TableEntries {
  readonly keys: Buffer
  readonly values: Buffer
}

/** All end to end. */
export interface TableChanges extends TableEntries {
  readonly gone: Buffer
}

/** Null: more than `most` of its entries differ. */
export function changesOf(from: TableEntries, to: TableEntries, most: number): TableChanges | null {
  const walk = new Walk(from, to)
  while (walk.next()) if (walk.gone.length + walk.put.length > most) return null
  const picked = (whole: Buffer, size: number, indexes: readonly number[]) =>
    Buffer.concat(indexes.map((index) => whole.subarray(index * size, (index + 1) * size)))
  return {
    gone: picked(from.keys, KEY, walk.gone),
    keys: picked(to.keys, KEY, walk.put),
    values: picked(to.values, VALUE, walk.put),
  }
}

/** In which order two keys are in a table: by address, then by length. */
export function compareKeys(a: Buffer, atA: number, b: Buffer, atB: number): number {
  const [addrA, addrB] = [atA + KEY_FIELDS.addr, atB + KEY_FIELDS.addr]
  const byAddress = a.compare(b, addrB, addrB + ADDRESS_BYTES, addrA, addrA + ADDRESS_BYTES)
  if (byAddress !== 0) return byAddress
  return a.readUInt32LE(atA + KEY_FIELDS.prefix_length) - b.readUInt32LE(atB + KEY_FIELDS.prefix_length)
}

/** Along both at once. */
class Walk {
  readonly #from: TableEntries
  readonly #to: TableEntries
  readonly #counts: { readonly from: number; readonly to: number }
  /** Indexes of what is to go, and of what is to be put in. */
  readonly gone: number[] = []
  readonly put: number[] = []
  #atFrom = 0
  #atTo = 0

  constructor(from: TableEntries, to: TableEntries) {
    this.#from = from
    this.#to = to
    this.#counts = { from: from.keys.length / KEY, to: to.keys.length / KEY }
  }

  /** Past what is the same, and one difference. False: it is at the end. */
  next(): boolean {
    this.#passSame()
    const isFromOver = this.#atFrom >= this.#counts.from
    const isToOver = this.#atTo >= this.#counts.to
    if (isFromOver && isToOver) return false
    const order = isFromOver ? 1 : isToOver ? -1 : this.#compare()
    if (order < 0) this.gone.push(this.#atFrom++)
    else this.put.push(this.#atTo++)
    if (order === 0) this.#atFrom += 1
    return true
  }

  #compare(): number {
    return compareKeys(this.#from.keys, this.#atFrom * KEY, this.#to.keys, this.#atTo * KEY)
  }

  /** In steps that grow as long as all is the same, and then shrink down to the first entry that is not. */
  #passSame(): void {
    let isGrowing = true
    for (let block = 1; block >= 1; ) {
      const left = Math.min(this.#counts.from - this.#atFrom, this.#counts.to - this.#atTo)
      const count = Math.min(block, left)
      if (count === 0) return
      if (this.#isSame(count)) {
        this.#atFrom += count
        this.#atTo += count
        block = isGrowing ? Math.min(2 * block, BLOCK_MAX) : block
      } else {
        isGrowing = false
        block = Math.floor(count / 2)
      }
    }
  }

  #isSame(count: number): boolean {
    return (
      isEqual(this.#from.keys, this.#atFrom * KEY, this.#to.keys, this.#atTo * KEY, count * KEY) &&
      isEqual(this.#from.values, this.#atFrom * VALUE, this.#to.values, this.#atTo * VALUE, count * VALUE)
    )
  }
}

function isEqual(a: Buffer, atA: number, b: Buffer, atB: number, bytes: number): boolean {
  return a.compare(b, atB, atB + bytes, atA, atA + bytes) === 0
}

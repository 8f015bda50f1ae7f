/**
 * Many ranges of addresses at once: which of them hold an address or a range, by one look-up for each length that there is. It decides
 * nothing about them.
 */
import { ADDRESS_BITS, type AddressRange, isV4 } from './address-range.js'

export class RangeIndex<T> {
  readonly #byLength = new Map<number, Map<string, T[]>>()

  constructor(entries: readonly { range: AddressRange; value: T }[]) {
    for (const { range, value } of entries) {
      const length = this.#byLength.get(range.length) ?? new Map<string, T[]>()
      this.#byLength.set(range.length, length)
      const key = keyOf(range)
      const same = length.get(key)
      if (same === undefined) length.set(key, [value])
      else same.push(value)
    }
  }

  /** What is for ranges that hold the address, the widest first. */
  holding(address: Buffer): T[] {
    return this.holdingRange({ prefix: address, length: ADDRESS_BITS })
  }

  /** What is for ranges that hold all of this one. */
  holdingRange(inner: AddressRange): T[] {
    const lengths = [...this.#byLength.keys()].filter((length) => length <= inner.length).sort((a, b) => a - b)
    return lengths.flatMap((length) => {
      const range = { prefix: cut(inner.prefix, length), length }
      return isV4(range) === isV4(inner) ? (this.#byLength.get(length)?.get(keyOf(range)) ?? []) : []
    })
  }
}

function keyOf({ prefix }: AddressRange): string {
  return prefix.toString('latin1')
}

function cut(address: Buffer, length: number): Buffer {
  const prefix = Buffer.from(address)
  const whole = length >> 3
  if (whole < prefix.length) prefix[whole] = (prefix[whole] ?? 0) & (0xff << (8 - (length & 7)))
  return prefix.fill(0, Math.min(whole + 1, prefix.length))
}

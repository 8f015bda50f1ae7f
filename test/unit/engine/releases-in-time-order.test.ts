import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Reorder, SLACK_NS } from '../../../src/engine/reorder.js'

interface Item {
  timeNs: number
  sandbox: number
  n: number
}
const item = (ms: number, n = 0, sandbox = 1): Item => ({ timeNs: ms * 1_000_000, sandbox, n })

function collect(itemsMax?: number) {
  const out: Item[] = []
  const reorder = new Reorder<Item>((one) => out.push(one), itemsMax === undefined ? {} : { itemsMax })
  return { out, reorder, numbers: () => out.map((one) => one.n) }
}

describe('reorder', () => {
  it('holds until the watermark less the slack has passed', () => {
    const { reorder, numbers } = collect()
    reorder.add(item(5, 1))
    reorder.watermark(5_000_000 + SLACK_NS - 1)
    expect(numbers()).toEqual([])
    reorder.watermark(5_000_000 + SLACK_NS)
    expect(numbers()).toEqual([1])
  })

  it('emits two rings as one order, equal times as they came', () => {
    const { reorder, numbers } = collect()
    for (const [ms, n] of [
      [3, 3],
      [5, 5],
      [1, 1],
      [3, 4],
      [2, 2],
    ] as const)
      reorder.add(item(ms, n))
    reorder.watermark(100_000_000)
    expect(numbers()).toEqual([1, 2, 3, 4, 5])
  })

  it('emits a late item at once and counts it', () => {
    const { reorder, numbers } = collect()
    reorder.add(item(5, 1))
    reorder.watermark(10_000_000)
    reorder.add(item(4, 2))
    expect(numbers()).toEqual([1, 2])
    expect(reorder.late).toBe(1)
  })

  it('lets the oldest out early at the bound and counts them', () => {
    const { reorder, numbers } = collect(4)
    for (const n of [4, 2, 5, 1, 3]) reorder.add(item(n, n))
    expect(numbers()).toEqual([1, 2, 3])
    expect(reorder.early).toBe(3)
    expect(reorder.size).toBe(2)
  })

  it('flushes one sandbox and keeps the others', () => {
    const { reorder, numbers } = collect()
    reorder.add(item(2, 2, 7))
    reorder.add(item(3, 3, 8))
    reorder.add(item(1, 1, 7))
    reorder.flush(7)
    expect(numbers()).toEqual([1, 2])
    reorder.flushAll()
    expect(numbers()).toEqual([1, 2, 3])
  })

  it('loses nothing, and is in order as long as nothing is late or early', () => {
    const step = fc.record({ add: fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 8 }), mark: fc.nat(400) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), fc.integer({ min: 1, max: 20 }), (steps, itemsMax) => {
        const { out, reorder } = collect(itemsMax)
        let count = 0
        for (const { add, mark } of steps) {
          for (const ms of add) reorder.add(item(ms, count++))
          expect(reorder.size).toBeLessThanOrEqual(itemsMax)
          reorder.watermark(mark * 1_000_000)
        }
        reorder.flushAll()
        expect(out.map((one) => one.n).sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, n) => n))
        if (reorder.late === 0) {
          for (let i = 1; i < out.length; i++) expect((out[i]?.timeNs ?? 0) >= (out[i - 1]?.timeNs ?? 0)).toBe(true)
        }
      }),
    )
  })
})

/** What the gateway keeps of answers and how many queries it takes: within its limits, exactly. */
import { describe, expect, it } from 'vitest'
import { DnsCache, NAMES_MAX, SANDBOX_BYTES_MAX } from '../../../src/gateway/dns-cache.js'
import { QueryBudget } from '../../../src/gateway/query-budget.js'

describe('what is kept of answers', () => {
  const cache = (budget = { bytes: 0 }) => {
    let now = 0
    return { cache: new DnsCache<number>({ budget, nowMs: () => now }), pass: (ms: number) => (now += ms), budget }
  }

  it('has so many names, and the one that was not used for longest goes first', () => {
    const { cache: kept } = cache()
    for (let index = 0; index < NAMES_MAX; index++) kept.set(`${index}`, { value: index, bytes: 1, ttl: 60 })
    kept.get('0')
    kept.set('one more', { value: 1, bytes: 1, ttl: 60 })
    expect([kept.size, kept.get('0')?.value, kept.get('1')]).toEqual([NAMES_MAX, 0, null])
  })

  it('has so many bytes, which are given back', () => {
    const { cache: kept, budget, pass } = cache()
    for (let index = 0; index < 20; index++)
      kept.set(`${index}`, { value: index, bytes: SANDBOX_BYTES_MAX / 8, ttl: 60 })
    expect([kept.size, budget.bytes]).toEqual([8, SANDBOX_BYTES_MAX])
    pass(60_000)
    expect(kept.get('19')).toBeNull()
    expect(budget.bytes).toBe((SANDBOX_BYTES_MAX / 8) * 7)
    kept.clear()
    expect(budget.bytes).toBe(0)
  })

  it('is good for whole seconds, and not at the end of the last', () => {
    const { cache: kept, pass } = cache()
    kept.set('a', { value: 1, bytes: 1, ttl: 30 })
    expect(kept.get('a')?.ttl).toBe(30)
    pass(28_500)
    expect(kept.get('a')?.ttl).toBe(1)
    pass(600)
    expect(kept.get('a')).toBeNull()
  })

  it('of a sandbox that finds all taken by others is nothing, and nothing of theirs goes', () => {
    const budget = { bytes: 1e9 }
    const { cache: kept } = cache(budget)
    kept.set('a', { value: 1, bytes: 1, ttl: 30 })
    expect([kept.size, budget.bytes]).toEqual([0, 1e9])
  })
})

describe('the budget of queries', () => {
  it('is exactly its burst and its rate', () => {
    let now = 0
    const budget = new QueryBudget({ perSecond: 10, burst: 30 }, () => now)
    const spend = (times: number) => Array.from({ length: times }, () => budget.spend()).filter(Boolean).length
    expect(spend(100)).toBe(30)
    now += 1_000
    expect(spend(100)).toBe(10)
    now += 3_600_000
    expect(spend(100)).toBe(30)
  })
})

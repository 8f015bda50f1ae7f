/** Detections become alerts: grouped, with what was done, over in the end, and none without an alert, however many there are. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ResponseState } from '../../../../src/proto/codec.js'
import { AlertBook, type Kept } from '../../../../src/sinks/alerts/alert-book.js'
import { detection, EAGER, ended, json, response, started, tell } from './alert-events.js'

const {
  RESPONSE_STATE_APPLIED: APPLIED,
  RESPONSE_STATE_REVERTED: REVERTED,
  RESPONSE_STATE_REQUESTED: REQUESTED,
} = ResponseState
const OPTIONS = { minSeverity: 'MEDIUM', quietMs: 1_000 } as const

describe('alerts', () => {
  const made = (before?: readonly Kept[]) => new AlertBook(OPTIONS, before)

  it('are one for what one detector finds in one session, with what is usual and over which time', () => {
    const book = made()
    for (const seq of [1, 2, 3]) book.take(json(detection('a', seq)), 0)
    book.take(json(detection('b', 1)), 0)
    book.take(json(detection('a', 4, { detector: 'loop' })), 0)
    const [first, ...others] = tell(book, 0)
    expect(first).toMatchObject({
      ...{ id: detection('a', 1).uid, count: 3, severity: 'MEDIUM', sessionId: 'a', evidence: ['e1', 'e2', 'e3'] },
      detection: { detector: 'volume', reason: 'found 3', measured: 3, baseline: 3.2, windowMs: '10000' },
      resolved: null,
    })
    expect(others.map(({ sessionId, detection: { detector }, count }) => [sessionId, detector, count])).toEqual([
      ['b', 'volume', 1],
      ['a', 'loop', 1],
    ])
    expect(tell(book, 0)).toEqual([])
  })

  it('are of what is severe enough', () => {
    const book = made()
    expect(book.take(json(detection('a', 1, { severity: 2 })), 0)).toBe(false)
    expect(book.take(json(detection('a', 2, { severity: 4 })), 0)).toBe(true)
    expect(tell(book, 0)).toMatchObject([{ severity: 'HIGH', count: 1 }])
  })

  it('count an event once, however often it comes', () => {
    const book = made()
    for (const seq of [1, 2, 1, 2]) book.take(json(detection('a', seq)), 0)
    expect(tell(book, 0)).toMatchObject([{ count: 2 }])
  })

  it('tell of more of the same no sooner than a receiver likes, and of what was done at once', () => {
    const book = made()
    const pace = { ...EAGER, updateMs: 500 }
    const cause = detection('a', 1)
    book.take(json(cause), 0)
    expect(tell(book, 0, pace)).toHaveLength(1)
    book.take(json(detection('a', 2)), 100)
    book.take(json(response('a', 3, cause, REQUESTED)), 100)
    expect(tell(book, 100, pace)).toEqual([])
    book.take(json(response('a', 4, cause, APPLIED)), 200)
    expect(tell(book, 200, pace)).toMatchObject([{ count: 2, done: [{ action: 'THROTTLE', state: 'APPLIED' }] }])
    book.take(json(detection('a', 5)), 300)
    expect(tell(book, 699, pace)).toEqual([])
    expect(tell(book, 700, pace)).toMatchObject([{ count: 3 }])
  })

  it('are told again while they go on, where a receiver wants that', () => {
    const book = new AlertBook({ ...OPTIONS, quietMs: 100_000 })
    const pace = { ...EAGER, resendMs: 60 }
    book.take(json(detection('a', 1)), 0)
    expect([0, 59, 60, 119, 120].map((ms) => tell(book, ms, pace).length)).toEqual([1, 0, 1, 0, 1])
    // The clock went back by a day.
    expect([-86_400_000, -86_399_940].map((ms) => tell(book, ms, pace).length)).toEqual([0, 1])
  })

  it('are over when nothing more is found and nothing is held, and the next one is another', () => {
    const book = made()
    const cause = detection('a', 1)
    book.take(json(cause), 0)
    book.take(json(response('a', 2, cause, APPLIED)), 0)
    expect(tell(book, 0)).toMatchObject([{ resolved: null }])
    expect(tell(book, 5_000)).toEqual([])
    book.take(json(response('a', 3, cause, REVERTED)), 5_000)
    expect(tell(book, 5_000)).toMatchObject([
      { resolved: { why: 'nothing more was found' }, done: [{ state: 'REVERTED' }] },
    ])
    expect(book.kept).toEqual([])
    book.take(json(detection('a', 4)), 5_001)
    expect(tell(book, 5_001)).toMatchObject([{ id: detection('a', 4).uid, count: 1, resolved: null }])
  })

  it.each([
    ['its session', ended('a', 9), 'its session ended'],
    ['the machine', started('x', 'b2'), 'the machine was started anew'],
  ])('are over with %s, but not before somebody was told of them', (_, over, why) => {
    const book = made()
    book.take(json(detection('a', 1)), 0)
    book.take(json(over), 10)
    expect(tell(book, 10)).toMatchObject([{ resolved: null }])
    expect(tell(book, 10, { ...EAGER, openMinMs: 100 })).toEqual([])
    expect(tell(book, 110, { ...EAGER, openMinMs: 100 })).toMatchObject([{ resolved: { why } }])
    expect(tell(book, 5_000)).toEqual([])
  })

  it('lose no detection, whatever the order, the severity, and however often they are read from disk', () => {
    const step = fc.oneof(
      fc.record({ what: fc.constant('found' as const), session: fc.nat(3), severity: fc.integer({ min: 3, max: 4 }) }),
      fc.record({ what: fc.constantFrom('told' as const, 'again' as const, 'wait' as const, 'over' as const) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let book = made()
        let [now, found] = [0, 0]
        const told = new Map<string, number>()
        const tellAll = () => {
          for (const { id, count } of tell(book, now)) told.set(id, count)
        }
        for (const [at, each] of steps.entries()) {
          if (each.what === 'found') {
            found++
            book.take(json(detection(`s${each.session}`, at, { severity: each.severity })), now)
          } else if (each.what === 'over') book.take(json(ended('s1', at)), now)
          else if (each.what === 'wait') now += 600
          else if (each.what === 'told') tellAll()
          else book = made(JSON.parse(JSON.stringify(book.kept)) as Kept[])
        }
        for (let last = 0; last < 3; last++, now += 2_000) tellAll()
        expect([...told.values()].reduce((sum, count) => sum + count, 0)).toBe(found)
        expect(book.kept).toEqual([])
      }),
    )
  })

  it('are bounded: what has no room is counted in one, which says so, until there is room', () => {
    const book = made()
    for (let at = 0; at < 1_500; at++) book.take(json(detection(`s${at}`, 1, { severity: at < 1_000 ? 3 : 4 })), 0)
    expect(book.kept).toHaveLength(1_001)
    const all = tell(book, 0, { ...EAGER, alertsMax: 2_000 })
    expect(all[0]).toMatchObject({ severity: 'HIGH', count: 500, detection: { detector: 'many' } })
    expect(all.reduce((sum, { count }) => sum + count, 0)).toBe(1_500)
    book.take(json(detection('later', 1)), 1)
    expect(tell(book, 1)).toMatchObject([{ sessionId: 'later', count: 1 }])
    expect(book.kept.length).toBeLessThanOrEqual(1_001)
  })
})

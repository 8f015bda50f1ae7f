/** Which step follows which, by the times of what was detected. */
import { describe, expect, it } from 'vitest'
import { Ladders } from '../../../../src/engine/respond/ladders.js'
import { ResponseAction as A, fromBigInt, type ILadder } from '../../../../src/proto/codec.js'

const { RESPONSE_ACTION_ALERT: ALERT, RESPONSE_ACTION_THROTTLE: THROTTLE } = A
const { RESPONSE_ACTION_FREEZE: FREEZE, RESPONSE_ACTION_KILL: KILL } = A
const MINUTE = 60_000

function ladder(actions: readonly A[], ttlMs = 0): ILadder[] {
  return [{ detector: 'loop', steps: actions.map((action) => ({ action, ttlMs: fromBigInt(BigInt(ttlMs)) })) }]
}

function steps(given: readonly ILadder[], times: readonly number[], ladders = new Ladders()) {
  return times.map((timeMs) => ladders.next('loop', timeMs, given)?.action ?? null)
}

describe('a ladder', () => {
  it('is climbed while it goes on, and its last step is taken again and again', () => {
    const given = ladder([ALERT, THROTTLE, FREEZE])
    expect(steps(given, [0, 10, 3_000, 400_000])).toEqual([null, THROTTLE, FREEZE, FREEZE])
  })

  it('gives a step time to act before the next one', () => {
    expect(steps(ladder([FREEZE, KILL]), [0, 5, 1_999, 2_000])).toEqual([FREEZE, null, null, KILL])
  })

  it('begins anew when it has been quiet for long', () => {
    const given = ladder([THROTTLE, KILL], MINUTE)
    expect(steps(given, [0, 12 * MINUTE])).toEqual([THROTTLE, THROTTLE])
    expect(steps(given, [0, 10 * MINUTE])).toEqual([THROTTLE, KILL])
  })

  it('says how long, by the policy or by itself', () => {
    expect(new Ladders().next('loop', 0, ladder([FREEZE], 1_500))).toEqual({ action: FREEZE, ttlMs: 1_500, number: 1 })
    expect(new Ladders().next('loop', 0, ladder([THROTTLE]))?.ttlMs).toBe(MINUTE)
    expect(new Ladders().next('loop', 0, ladder([KILL]))?.ttlMs).toBe(0)
  })

  it('leaves a detector alone that the policy does not name, and each has its own', () => {
    const ladders = new Ladders()
    expect(ladders.next('volume', 0, ladder([FREEZE]))).toBeNull()
    const both = [...ladder([ALERT, FREEZE]), { detector: 'volume', steps: [{ action: ALERT }, { action: KILL }] }]
    expect(['loop', 'volume', 'loop', 'volume'].map((name) => ladders.next(name, 1, both)?.action ?? null)).toEqual([
      ...[null, null, FREEZE, KILL],
    ])
  })

  it('does not do what an operator undid, nor anything harder, until that is over; what is milder it does', () => {
    const ladders = new Ladders()
    ladders.hold(FREEZE, MINUTE)
    expect(steps(ladder([THROTTLE, FREEZE, KILL]), [0, 5_000, 10_000, 61_000], ladders)).toEqual([
      ...[THROTTLE, null, null, FREEZE],
    ])
    expect(steps(ladder([KILL]), [62_000], new Ladders(structuredClone(ladders.state)))).toEqual([KILL])
  })
})

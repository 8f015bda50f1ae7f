/** What is done, told and undone, whatever the hands say. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createLog } from '../../../../src/base/log.js'
import { HOLD_MS, Responder } from '../../../../src/engine/respond/responder.js'
import {
  type IDetection,
  type IResponse,
  ResponseAction,
  ResponseState,
  toBigInt,
} from '../../../../src/proto/codec.js'

const FREEZE = ResponseAction.RESPONSE_ACTION_FREEZE
const KILL = ResponseAction.RESPONSE_ACTION_KILL
const REQUEST = { sandboxId: 'box', action: FREEZE, trigger: 'uid-1', ttlMs: 1_000, step: 2 }
const log = createLog({ role: 'test', level: 'silent' })

function responding(fails: { apply?: string; undo?: string; tell?: boolean } = {}) {
  const done: string[] = []
  const told: IResponse[] = []
  const missed: IDetection[] = []
  const held: [ResponseAction, number][] = []
  const act = async (what: 'apply' | 'undo', action: ResponseAction) => {
    done.push(`${what} ${ResponseAction[action]?.slice('RESPONSE_ACTION_'.length)}`)
    if (fails[what] !== undefined) throw new Error(fails[what])
    return { text: 'seen', killed: 3 }
  }
  const responder = new Responder({
    ...{
      hands: { apply: (_, { action }) => act('apply', action), undo: (_, action) => act('undo', action) },
      log,
      nowUnixMs: () => Date.now(),
    },
    tell(_, kind) {
      if (fails.tell) return ''
      if ('response' in kind) told.push(kind.response)
      else missed.push(kind.detection)
      return `told-${told.length}`
    },
    changed() {},
    hold: (_, action, untilMs) => held.push([action, untilMs]),
  })
  const states = () => told.map(({ state }) => ResponseState[state ?? 0]?.slice('RESPONSE_STATE_'.length))
  return { responder, done, told, missed, held, states, fails }
}

const settle = () => vi.advanceTimersByTimeAsync(1)

describe('a responder', () => {
  beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }))
  afterEach(() => void vi.useRealTimers())

  it('applies, tells what was read back, and undoes it in its time', async () => {
    const { responder, done, told, states } = responding()
    responder.requested(REQUEST)
    await settle()
    expect(responder.of('box')).toEqual([{ action: FREEZE, trigger: 'uid-1', step: 2, untilMs: 1_001_000 }])
    expect(told[0]).toMatchObject({ action: FREEZE, trigger: 'uid-1', observed: 'seen', step: 2 })
    expect(toBigInt(told[0]?.untilUnixNs)).toBe(1_001_000_000_000n)
    await vi.advanceTimersByTimeAsync(998)
    expect(done).toEqual(['apply FREEZE'])
    await vi.advanceTimersByTimeAsync(2)
    expect(done).toEqual(['apply FREEZE', 'undo FREEZE'])
    expect(states()).toEqual(['APPLIED', 'REVERTED'])
    expect(told[1]).toMatchObject({ undoneBy: 'time', trigger: 'uid-1' })
    expect(responder.of('box')).toEqual([])
  })

  it('takes over what it finds so, tells it when the session goes on, and undoes it in its time', async () => {
    const { responder, fails, states, told } = responding({ tell: true })
    const before = { action: FREEZE, trigger: 'uid-1', step: 1, untilMs: Date.now() + 1_000 }
    responder.found('box', before, 'cgroup.events says frozen 1')
    expect(responder.of('box')).toEqual([before])
    await vi.advanceTimersByTimeAsync(450)
    fails.tell = false
    await vi.advanceTimersByTimeAsync(400)
    expect(told).toMatchObject([{ trigger: 'uid-1', observed: 'cgroup.events says frozen 1' }])
    await vi.advanceTimersByTimeAsync(200)
    expect(states()).toEqual(['APPLIED', 'REVERTED'])
  })

  it('drops and tells what is not so any more, and leaves alone what it knows', async () => {
    const { responder, done, states, told } = responding()
    responder.requested(REQUEST)
    await settle()
    responder.found('box', { action: FREEZE, trigger: 'other', step: 9, untilMs: 0 }, 'frozen 1')
    expect(responder.of('box')).toMatchObject([{ trigger: 'uid-1' }])
    responder.foundNot('box', KILL, 'nothing')
    responder.foundNot('box', FREEZE, 'cgroup.events says frozen 0')
    await vi.advanceTimersByTimeAsync(2_000)
    expect(states()).toEqual(['APPLIED', 'REVERTED'])
    expect(told[1]).toMatchObject({ observed: 'cgroup.events says frozen 0' })
    expect(done).toEqual(['apply FREEZE'])
  })

  it('renews what is asked for again, and does it once', async () => {
    const { responder, done } = responding()
    responder.requested(REQUEST)
    await vi.advanceTimersByTimeAsync(900)
    responder.requested({ ...REQUEST, trigger: 'uid-2' })
    await vi.advanceTimersByTimeAsync(900)
    expect(done).toEqual(['apply FREEZE'])
    await vi.advanceTimersByTimeAsync(200)
    expect(done).toEqual(['apply FREEZE', 'undo FREEZE'])
  })

  it('tells what did not take as a detection of its own, and keeps nothing', async () => {
    const { responder, missed, states } = responding({ apply: 'no sensor' })
    responder.requested(REQUEST)
    await settle()
    expect(states()).toEqual(['FAILED'])
    expect(missed).toMatchObject([{ detector: 'response_missed', reason: 'no sensor', evidence: ['uid-1', 'told-1'] }])
    expect(responder.of('box')).toEqual([])
  })

  it('tries again what can not be undone, says so once, and knows it until it is', async () => {
    const { responder, done, fails, states } = responding({ undo: 'busy' })
    responder.requested(REQUEST)
    await vi.advanceTimersByTimeAsync(12_000)
    expect(done.filter((each) => each === 'undo FREEZE')).toHaveLength(3)
    expect(states()).toEqual(['APPLIED', 'FAILED'])
    expect(responder.of('box')).toHaveLength(1)
    delete fails.undo
    await vi.advanceTimersByTimeAsync(5_000)
    expect(states()).toEqual(['APPLIED', 'FAILED', 'REVERTED'])
    expect(responder.of('box')).toEqual([])
  })

  it('lets an operator undo it, which holds, and is told', async () => {
    const { responder, held, told } = responding()
    responder.requested(REQUEST)
    await settle()
    await responder.order('box', FREEZE, { on: false, who: 'user 7' })
    expect(told.at(-1)).toMatchObject({
      ...{ state: ResponseState.RESPONSE_STATE_REVERTED, undoneBy: 'operator: user 7', trigger: 'uid-1' },
    })
    expect(held).toEqual([[FREEZE, Date.now() + HOLD_MS]])
    await vi.advanceTimersByTimeAsync(5_000)
    expect(told).toHaveLength(2)
  })

  it('does not undo by time what an operator ordered, and renews nothing of it', async () => {
    const { responder, done, states } = responding()
    await responder.order('box', FREEZE, { on: true, who: 'user 7' })
    responder.requested(REQUEST)
    await vi.advanceTimersByTimeAsync(60_000)
    expect(done).toEqual(['apply FREEZE'])
    expect(states()).toEqual(['REQUESTED', 'APPLIED', 'APPLIED'])
    expect(responder.of('box')).toMatchObject([{ trigger: 'operator', untilMs: 0 }])
  })

  it('says to an operator why it is not so, and how many were killed', async () => {
    const failing = responding({ apply: 'gone', undo: 'gone' })
    await expect(failing.responder.order('box', KILL, { on: true, who: 'user 7' })).rejects.toThrow('gone')
    await expect(failing.responder.order('box', FREEZE, { on: false, who: 'user 7' })).rejects.toThrow('gone')
    expect(await responding().responder.order('box', KILL, { on: true, who: 'user 7' })).toMatchObject({ killed: 3 })
  })

  it('undoes in its time what an engine before it began, and forgets what is over', async () => {
    const { responder, done } = responding()
    responder.goesOn('box', [{ action: FREEZE, trigger: 'uid-1', step: 1, untilMs: Date.now() - 5 }])
    responder.goesOn('over', [{ action: FREEZE, trigger: 'uid-1', step: 1, untilMs: Date.now() + 5 }])
    responder.forget('over')
    await vi.advanceTimersByTimeAsync(60_000)
    expect(done).toEqual(['undo FREEZE'])
  })

  it('tells that it undid it once somebody is there who is told, as an engine that has only just begun', async () => {
    const { responder, fails, states, told } = responding({ tell: true })
    responder.goesOn('box', [{ action: FREEZE, trigger: 'uid-1', step: 1, untilMs: Date.now() - 5 }])
    await vi.advanceTimersByTimeAsync(450)
    expect(told).toEqual([])
    fails.tell = false
    await vi.advanceTimersByTimeAsync(200)
    expect(states()).toEqual(['REVERTED'])
    expect(told[0]).toMatchObject({ undoneBy: 'time', observed: 'seen' })
  })

  it('undoes what it found, which it knows once', async () => {
    const { responder, done } = responding()
    const response = {
      action: ResponseAction.RESPONSE_ACTION_DENY,
      trigger: 'uid-1',
      step: 1,
      untilMs: Date.now() + 50,
    }
    responder.found('box', response)
    responder.found('box', { ...response, untilMs: 0 })
    await vi.advanceTimersByTimeAsync(61_000)
    expect(done).toEqual(['undo DENY'])
  })
})

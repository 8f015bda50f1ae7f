/** The same policy for many sandboxes goes to the sensor once; whatever the sensor has forgotten meanwhile, each sandbox gets its own. */
import { describe, expect, it } from 'vitest'
import type { CommandOutcome } from '../../../src/engine/command-outcome.js'
import { type NamedApply, PolicySender } from '../../../src/engine/policy-sender.js'
import { PART_BYTES } from '../../../src/engine/policy-upload.js'
import { SharedPolicies } from '../../../src/engine/shared-policies.js'
import type { ICompiledPolicy } from '../../../src/proto/codec.js'

const DONE: CommandOutcome = {
  ...{ ok: true, cgroupId: 0n, cgroupPath: '', killed: 0, processes: 0, degraded: [], sandboxId: '' },
  ...{ generation: 1, inUse: false },
}
const UNKNOWN: CommandOutcome = { ok: false, problem: 'unknown', unknownContent: true }
const FULL: CommandOutcome = { ok: false, problem: 'no room' }
const policy = (name: string): ICompiledPolicy => ({ name, mode: 2 })

/** A sensor that answers when it is told to, in order. */
function openSensor() {
  const asked: { apply: NamedApply; done(outcome: CommandOutcome): void }[] = []
  const parts: { offset: number; done(outcome: CommandOutcome): void }[] = []
  const sender = new PolicySender({
    apply: (apply, done) => void asked.push({ apply, done }),
    part: ({ offset }, done) => void parts.push({ offset, done }),
  })
  const outcomes = new Map<string, CommandOutcome>()
  return {
    /** Whole or by name, in order. */
    sent: () =>
      asked.map(({ apply }) => `${apply.sandboxId} ${apply.policy?.name ?? (apply.content ? 'by name' : 'none')}`),
    outcomes,
    parts,
    apply: (sandboxId: string, what: ICompiledPolicy | null) =>
      sender.apply({ sandboxId, policy: what }, (outcome) => outcomes.set(sandboxId, outcome)),
    answer(outcome: CommandOutcome) {
      asked.shift()?.done(outcome)
    },
  }
}

describe('a policy for many sandboxes', () => {
  it('is sent once, and named while that is underway and afterwards', () => {
    const sensor = openSensor()
    const big = policy('big')
    for (const sandbox of ['a', 'b']) sensor.apply(sandbox, big)
    sensor.apply('c', policy('big'))
    expect(sensor.sent()).toEqual(['a big', 'b by name', 'c by name'])
    for (let count = 0; count < 3; count += 1) sensor.answer(DONE)
    sensor.apply('d', big)
    expect(sensor.sent()).toEqual(['d by name'])
    sensor.apply('d', policy('other'))
    sensor.apply('d', null)
    expect(sensor.sent()).toEqual(['d by name', 'd other', 'd none'])
    expect([...outcomes(sensor)]).toEqual(['a', 'b', 'c'])
  })

  it('is sent again, once, where the sensor does not know it any more', () => {
    const sensor = openSensor()
    sensor.apply('a', policy('big'))
    sensor.answer(DONE)
    for (const sandbox of ['b', 'c']) sensor.apply(sandbox, policy('big'))
    sensor.answer(UNKNOWN)
    sensor.answer(UNKNOWN)
    expect(sensor.sent()).toEqual(['b big', 'c by name'])
    sensor.answer(DONE)
    sensor.answer(DONE)
    expect([sensor.outcomes.get('b'), sensor.outcomes.get('c')]).toEqual([DONE, DONE])
  })

  it('that is refused is refused to each, and not sent to each', () => {
    const sensor = openSensor()
    for (const sandbox of ['a', 'b', 'c']) sensor.apply(sandbox, policy('big'))
    const whole: string[] = []
    while (sensor.sent().length > 0) {
      const [next = ''] = sensor.sent()
      if (next.endsWith('big')) whole.push(next)
      sensor.answer(next.endsWith('big') ? FULL : UNKNOWN)
    }
    expect(whole.length).toBeLessThanOrEqual(3)
    expect([...sensor.outcomes.values()].every(({ ok }) => !ok)).toBe(true)
    expect(sensor.outcomes.size).toBe(3)
  })

  it('that is big goes in parts, two at a time, and is named when they are there', () => {
    const sensor = openSensor()
    const big = { ...policy('big'), unjudged: ['x'.repeat(3 * PART_BYTES)] }
    for (const sandbox of ['a', 'b']) sensor.apply(sandbox, big)
    const offsets: number[] = []
    while (sensor.parts.length > 0) {
      expect(sensor.parts.length).toBeLessThanOrEqual(2)
      expect(sensor.sent()).toEqual([])
      const [part] = sensor.parts.splice(0, 1)
      offsets.push(part?.offset ?? -1)
      part?.done(DONE)
    }
    expect(offsets).toEqual([0, 1, 2, 3].map((index) => index * PART_BYTES))
    expect(sensor.sent()).toEqual(['a by name', 'b by name'])
  })

  it('never takes the place of a later one of the same sandbox', () => {
    const sensor = openSensor()
    sensor.apply('x', policy('first'))
    sensor.answer(DONE)
    sensor.apply('a', policy('first'))
    sensor.apply('a', policy('second'))
    sensor.answer(UNKNOWN)
    expect(sensor.sent()).toEqual(['a second'])
    expect(sensor.outcomes.get('a')).toMatchObject({ ok: false, problem: expect.stringMatching(/took its place/) })
  })
})

describe('policies that say the same', () => {
  it('are one object, and others are not, whatever digest they claim', () => {
    const shared = new SharedPolicies()
    const [one, same, other] = [policy('p'), policy('p'), { ...policy('p'), allowBrokers: true }]
    expect(shared.one(one)).toBe(one)
    expect(shared.one(same)).toBe(one)
    expect(shared.one({ ...other, digest: 'd' })).not.toBe(one)
  })
})

function outcomes(sensor: { outcomes: Map<string, CommandOutcome> }): Iterable<string> {
  return sensor.outcomes.keys()
}

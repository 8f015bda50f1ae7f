/**
 * What a sandbox may do in a time holds exactly, counted where it arrives: never more than the burst and what the rate gave, on however many
 * threads and CPUs. And the ways around it.
 */
import { describe, expect, it } from 'vitest'
import {
  fromBigInt,
  type ICompiledPolicy,
  type IKernelEvent,
  type ILimits,
  Mode,
  toBigInt,
} from '../../../src/proto/codec.js'
import { openForAll, script } from '../../support/bypass.js'
import { SANDBOX_ID, testPolicy } from '../../support/policed-sandbox.js'
import { privileged } from '../../support/privileged.js'
import { waitFor } from '../../support/sensor-process.js'
import { ALLOWED, PORT } from '../../support/test-network.js'

const { skip, reason } = privileged('bpf')
const NS_PER_S = 1e9
const STORM_MS = 2_500
const THREADS = 8

const rate = (perSecond: number, burst: number) => ({ perSecond, burst: fromBigInt(BigInt(burst)) })
const limited = (limits: ILimits, changes: Partial<ICompiledPolicy> = {}) => testPolicy({ limits, ...changes })

describe.skipIf(skip)(`a sandbox with limits ${reason}`, () => {
  const bypass = openForAll(null)
  let storms = 0

  async function storm({ threads = THREADS, ms = STORM_MS, keep = false } = {}) {
    const { sandbox, network } = bypass()
    storms += 1
    const prefix = `storm${storms}`
    const program = bypass().program('connect_storm')
    const args = [String(threads), String(ms), ALLOWED.v4, String(PORT), prefix, keep ? '1' : '0']
    const { out } = await sandbox.run([program, ...args])
    const [through = 0, refused = 0, failed = 0, ns = 0] = out.trim().split(' ').map(Number)
    await bypass().settle()
    const arrived = new Set([...network.arrived].flatMap((line) => line.match(new RegExp(`${prefix}-\\d+\\.`)) ?? []))
      .size
    return { through, refused, failed, seconds: ns / NS_PER_S, arrived }
  }

  const hits = (what: string) =>
    bypass().sandbox.host.heard.events.flatMap(({ limit }) => (limit?.what === what ? [limit] : []))
  const hitSum = (what: string) => hits(what).reduce((sum, { refused }) => sum + toBigInt(refused), 0n)

  it('connects so often and not once more, on many threads', async () => {
    const before = hitSum('connects')
    await bypass().sandbox.apply(limited({ connects: rate(20, 60) }))
    const { through, refused, failed, seconds, arrived } = await storm()
    expect(failed).toBe(0)
    expect(arrived).toBe(through)
    expect(through).toBeLessThanOrEqual(60 + Math.floor(20 * seconds))
    // Nor much fewer, as it asked all the time, but for when the machine had others to run.
    expect(through).toBeGreaterThanOrEqual(60 + (20 * STORM_MS) / 1_000 - 20)
    expect(refused).toBeGreaterThan(100)
    await waitFor('all of it to be told', () => hitSum('connects') - before === BigInt(refused))
    expect(hits('connects').length).toBeLessThanOrEqual(2 + STORM_MS / 1_000 + 2)
  }, 60_000)

  it('is told which limit it was, with the first that was refused', async () => {
    const { sandbox } = bypass()
    const isRefused = ({ connect }: IKernelEvent) => connect?.judged?.why === 20
    const first = await waitFor('a refusal to be told', () => sandbox.events().find(isRefused))
    expect(first.connect).toMatchObject({ error: 1, judged: { verdict: 2 } })
    expect(hits('connects')[0]).toMatchObject({ enforced: true, throttled: false })
  })

  it('connects as it likes where the policy only looks on, and what would be refused is counted', async () => {
    const before = hitSum('connects')
    await bypass().sandbox.apply(limited({ connects: rate(20, 10) }, { mode: Mode.MODE_MONITOR }))
    const { through, refused, arrived } = await storm({ threads: 2, ms: 300 })
    expect(refused).toBe(0)
    expect(arrived).toBe(through)
    expect(through).toBeGreaterThan(20)
    await waitFor('that it is told', () => hitSum('connects') > before)
    expect(hits('connects').at(-1)).toMatchObject({ enforced: false })
  }, 60_000)

  it('has so many connections open at once and no more, and others when they are closed', async () => {
    await bypass().sandbox.apply(limited({ connections: 5 }))
    let kept = await storm({ ms: 500, keep: true })
    // One of before counts until its server has closed it, too.
    for (let tries = 0; kept.through < 5 && tries < 20; tries += 1) kept = await storm({ ms: 500, keep: true })
    expect(kept).toMatchObject({ through: 5, arrived: 5, failed: 0 })
    expect(kept.refused).toBeGreaterThan(10)
    const next = await storm({ threads: 2, ms: 500 })
    expect(next.through).toBeGreaterThan(20)
  }, 120_000)

  it('starts so many programs and no more; the others wait for their turn', async () => {
    const { sandbox } = bypass()
    await sandbox.apply(limited({ execs: rate(10, 10) }))
    const ended = endsOf(await sandbox.run(['python3', script('exec_storm.py'), '40']))
    expect(ended.map(({ how }) => how)).toEqual(Array(40).fill('0'))
    expect(mostAhead(ended, rate(10, 10))).toBeLessThanOrEqual(0)
    await waitFor('that it is told', () =>
      hits('execs').some(({ outcome }) => /were stopped until/.test(outcome ?? '')),
    )
  }, 90_000)

  it('gains nothing by waking those that wait', async () => {
    const { sandbox } = bypass()
    await sandbox.apply(limited({ execs: rate(5, 5) }))
    const ended = endsOf(await sandbox.run(['python3', script('exec_storm.py'), '20', 'wake']))
    const ran = ended.filter(({ how }) => how === '0')
    expect(mostAhead(ran, rate(5, 5))).toBeLessThanOrEqual(0)
    expect(ended.filter(({ how }) => how !== '0').every(({ how }) => how === '-9')).toBe(true)
  }, 90_000)

  it('loses those of which too many wait', async () => {
    const { sandbox } = bypass()
    await sandbox.apply(limited({ execs: rate(4, 2) }))
    const ended = endsOf(await sandbox.run(['python3', script('exec_storm.py'), '60']))
    expect(ended.some(({ how }) => how === '-9')).toBe(true)
    const ran = ended.filter(({ how }) => how === '0')
    expect(mostAhead(ran, rate(4, 2))).toBeLessThanOrEqual(0)
  }, 90_000)

  it('is throttled below its policy and back, and by no policy at all', async () => {
    const { sandbox } = bypass()
    const throttle = (limits: ILimits | null) =>
      sandbox.host.command({ setThrottle: { sandboxId: SANDBOX_ID, limits } })
    await sandbox.apply(limited({ connects: rate(1_000, 1_000) }))
    expect((await throttle({ connects: rate(10, 3) })).limits?.connects).toMatchObject({ perSecond: 10 })
    const slow = await storm({ ms: 800 })
    expect(slow).toMatchObject({ refused: 0, failed: 0, arrived: slow.through })
    expect(slow.through).toBeLessThanOrEqual(3 + Math.floor(10 * slow.seconds))
    await throttle(null)
    expect((await storm({ threads: 2, ms: 300 })).through).toBeGreaterThan(30)
    await sandbox.apply(null)
    await throttle({ connects: rate(10, 3) })
    const unpoliced = await storm({ ms: 800 })
    expect(unpoliced).toMatchObject({ refused: 0, failed: 0 })
    expect(unpoliced.through).toBeLessThanOrEqual(3 + Math.floor(10 * unpoliced.seconds))
    expect((await throttle(null)).limits ?? null).toBeNull()
  }, 90_000)

  it.each([
    ['for their turn', []],
    ['and gain nothing by waking one another', ['wake']],
    ['and by a signal that they handle', ['alarm']],
  ])(
    'has those that connect too soon wait while it is throttled, %s',
    async (_, how) => {
      const { sandbox } = bypass()
      const throttle = (limits: ILimits | null) =>
        sandbox.host.command({ setThrottle: { sandboxId: SANDBOX_ID, limits } })
      await sandbox.apply(null)
      await throttle({ connects: rate(10, 3) })
      const args = [script('connects_in_turn.py'), ALLOWED.v4, String(PORT), '3', '5', ...how]
      const ended = endsOf(await sandbox.run(['python3', ...args]))
      await throttle(null)
      expect(ended.map(({ how: error }) => error)).toEqual(Array(15).fill('0'))
      expect(mostAhead(ended, rate(10, 3))).toBeLessThanOrEqual(0)
      await waitFor('that it is told', () =>
        hits('connects').some(({ throttled, outcome }) => throttled && /until their turn/.test(outcome ?? '')),
      )
    },
    90_000,
  )
})

/** By how many more than the limit lets through had ended, at the worst moment. */
function mostAhead(ended: readonly { ms: number }[], { perSecond, burst }: ReturnType<typeof rate>): number {
  return Math.max(
    ...ended.map(({ ms }, index) => index + 1 - Number(toBigInt(burst)) - Math.floor((perSecond * ms) / 1_000)),
  )
}

function endsOf({ out }: { out: string }): { ms: number; how: string }[] {
  return out
    .trim()
    .split('\n')
    .map((line) => ({ ms: Number(line.split(' ')[0]), how: line.split(' ')[1] ?? '' }))
}

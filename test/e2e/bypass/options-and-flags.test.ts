/**
 * Ways out by what a socket is told beforehand, by flags of a send, and by calls that send what they were not given: each to the neighbour
 * that the policy allows and to the one that it does not.
 */
import { beforeAll, describe, expect, it } from 'vitest'
import {
  type Attempt,
  HELD,
  lastNumber,
  openForAll,
  type Pair,
  REFUSED,
  reachBy,
  script,
} from '../../support/bypass.js'
import { privileged } from '../../support/privileged.js'
import { ALLOWED, DENIED, PORT } from '../../support/test-network.js'

const { skip, reason } = privileged('bpf')
const TRIES_MS = 180_000

const BY_OPTION = ['device', 'mark', 'priority', 'transparent', 'packet-info', 'segmented']
const BY_FLAG = ['confirm', 'dont-route', 'urgent', 'zero-copy', 'disconnected']
const BY_OTHERS = ['splice-tcp', 'splice-udp', 'send-file', 'kernel-tls']
const V4_WAYS = [...BY_OPTION, ...BY_FLAG, ...BY_OTHERS]
const V6_WAYS = ['flow-label', 'device', 'confirm', 'splice-udp']
/** Packets that are not all they seem: to whom they go says a header of theirs, and each host on the way could change that. */
const NEVER_V4 = ['via-option', 'via-message']
const NEVER_V6 = ['via-header', 'hop-by-hop', 'destination-options']
const TO_MANY = [
  ['broadcast', '10.203.0.255'],
  ['broadcast', '255.255.255.255'],
  ['multicast', '224.0.0.251'],
  ['multicast', '239.1.2.3'],
  ['multicast', 'ff02::fb'],
] as const

describe.skipIf(skip)(`a sandbox that tells its sockets how to send ${reason}`, () => {
  const bypass = openForAll()
  let outcomes: ReadonlyMap<string, Pair | null>

  beforeAll(async () => {
    const odd = bypass().program('reach_odd')
    const attempts = (names: readonly string[], v6: boolean) =>
      names.map((name): [string, Attempt] => [`${name} ${v6}`, { way: reachBy(odd, name), v6 }])
    const all = [...attempts([...V4_WAYS, ...NEVER_V4], false), ...attempts([...V6_WAYS, ...NEVER_V6], true)]
    outcomes = await bypass().pairs(new Map(all))
  }, TRIES_MS)

  it.each(V4_WAYS)('gets through to the allowed one, and to nobody else, by %s', (way) => {
    const pair = outcomes.get(`${way} false`)
    if (pair !== null) expect(pair).toEqual(HELD)
  })

  it.each(V6_WAYS)('gets through to the allowed one, and to nobody else, over IPv6 by %s', (way) => {
    expect(outcomes.get(`${way} true`)).toEqual(HELD)
  })

  it.each([...NEVER_V4.map((way) => [way, false] as const), ...NEVER_V6.map((way) => [way, true] as const)])(
    'gets to nobody by %s',
    (way, v6) => {
      const pair = outcomes.get(`${way} ${v6}`)
      if (pair !== null) expect(pair).toEqual({ allowed: REFUSED, denied: REFUSED })
    },
  )

  it.each(TO_MANY)('gets to nobody by %s to %s', async (way, address) => {
    const text = bypass().text(way)
    const env = { REACH_INTERFACE: bypass().network.wire }
    const { out } = await bypass().sandbox.run([bypass().program('reach_odd'), way, address, String(PORT), text], {
      env,
    })
    expect(lastNumber(out)).toBe(REFUSED.errno)
    await bypass().settle()
    expect([...bypass().network.arrived].filter((line) => line.includes(text))).toEqual([])
  })

  it.each(['corked', 'corked-connect'])('sends by %s only where the first of it was to go', async (way) => {
    const text = bypass().text(way)
    const env = { REACH_ALLOWED: ALLOWED.v4 }
    await bypass().sandbox.run([bypass().program('reach_odd'), way, DENIED.v4, String(PORT), text], { env })
    await bypass().settle()
    expect(
      bypass()
        .deniedTexts()
        .filter((line) => line.includes(text)),
    ).toEqual([])
  })

  it('sends of many messages in one call those before the first that is refused, and nothing to the other', async () => {
    const { out } = await bypass().sandbox.run([
      bypass().program('many_messages'),
      ...[ALLOWED.v4, DENIED.v4, String(PORT)],
    ])
    expect(out).toBe('1 of 3: 0\n2 of 3: 0\n0 of 3: 1\n')
    expect(await bypass().network.arrives(ALLOWED.v4, 'mixed-first.')).toBe(true)
    await bypass().settle()
    expect(
      bypass()
        .deniedTexts()
        .filter((line) => line.includes('mixed-')),
    ).toEqual([])
  })

  it('gets nothing to the other by changing an address while the kernel reads it', async () => {
    const swaps = bypass().program('swapped_address')
    const { out } = await bypass().sandbox.run([swaps, ALLOWED.v4, DENIED.v4, String(PORT), 'swapped.'])
    const [sent = 0, refused = 0] = out.trim().split(' ').map(Number)
    // Both addresses were met, or nothing was tried.
    expect(sent).toBeGreaterThan(0)
    expect(refused).toBeGreaterThan(0)
    await bypass().settle()
    expect(
      bypass()
        .deniedTexts()
        .filter((line) => line.includes('swapped.')),
    ).toEqual([])
  })

  it('gets nothing to the other while it forks, hands sockets on and the policy changes', async () => {
    const storm = ['python3', script('fork_storm.py'), ALLOWED.v4, DENIED.v4, String(PORT)]
    await bypass().whilePoliciesChange(async () => {
      const { out } = await bypass().sandbox.run(storm)
      const [sent = 0, refused = 0] = out.trim().split(' ').map(Number)
      expect(sent).toBeGreaterThan(0)
      expect(refused).toBeGreaterThan(0)
    })
    await bypass().settle()
    expect(
      bypass()
        .deniedTexts()
        .filter((line) => line.includes('storm-denied')),
    ).toEqual([])
  })
})

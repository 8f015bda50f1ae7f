/**
 * Ways out of a sandbox by different calls and protocols. Each is tried to the neighbour that the policy allows and to the one that it
 * does not; what counts is what arrives there.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ABI } from '../../../src/native/generated/abi.js'
import type { IConnectFacts } from '../../../src/proto/codec.js'
import { compileC } from '../../support/c-program.js'
import {
  addressBytes,
  type Ended,
  openPolicedSandbox,
  type PolicedSandbox,
  testPolicy,
} from '../../support/policed-sandbox.js'
import { privileged } from '../../support/privileged.js'
import { tempDirForAll } from '../../support/sluice-run.js'
import {
  ALLOWED,
  ARRIVAL_MS,
  DENIED,
  INSIDE,
  OTHER_PORT,
  openTestNetwork,
  PORT,
  type TestNetwork,
} from '../../support/test-network.js'

const { skip, reason } = privileged('bpf')
const EPERM = 1
const ENOSYS = 38
const NOT_HERE = 1000

const V4_WAYS = [
  ...['tcp', 'tcp-mapped', 'mptcp', 'udp-connected', 'udp-reconnected', 'udp-sendto', 'udp-sendmsg', 'udp-sendmmsg'],
  ...['udp-mapped', 'tfo-sendto', 'tfo-option', 'ping', 'ping-connected', 'int80', 'x32'],
]
const V6_WAYS = ['tcp', 'mptcp', 'udp-connected', 'udp-sendto', 'udp-sendmsg', 'udp-sendmmsg', 'tfo-sendto', 'ping']
/** Of protocols that no rule can name, allowed or not. */
const NEVER_WAYS = ['sctp', 'dccp', 'udplite', 'raw-icmp', 'raw-header']
/** Of families that no hook refuses: who makes the socket is killed before it can use it. */
const KILLED_WAYS = ['packet', 'vsock']

/** A call that the kernel does not have was nobody's to judge. */
const isSeen = (connect: IConnectFacts) => connect.port === PORT && connect.error !== ENOSYS

interface Attempt {
  readonly errno: number
  readonly signal: NodeJS.Signals | null
  readonly arrived: boolean
}

describe.skipIf(skip)(`a sandbox whose policy allows one neighbour ${reason}`, () => {
  const dir = tempDirForAll()
  let network: TestNetwork
  let sandbox: PolicedSandbox
  let reach = ''
  const tried = new Map<string, { ended: Ended; address: string; token: string }>()

  beforeAll(async () => {
    reach = compileC('reach', dir())
    network = await openTestNetwork()
    sandbox = await openPolicedSandbox(network)
    await sandbox.apply(testPolicy())
    for (const way of V4_WAYS) for (const { v4 } of [ALLOWED, DENIED]) await attempt(way, v4, PORT)
    for (const way of V6_WAYS) for (const { v6 } of [ALLOWED, DENIED]) await attempt(way, v6, PORT)
    for (const way of ['tcp', 'udp-sendto', 'tcp-mapped']) await attempt(way, ALLOWED.v4, OTHER_PORT)
    for (const way of [...NEVER_WAYS, ...KILLED_WAYS]) await attempt(way, ALLOWED.v4, PORT)
    await sleep(ARRIVAL_MS)
  }, 120_000)

  afterAll(async () => {
    await sandbox?.close()
    await network?.close()
  }, 60_000)

  async function attempt(way: string, address: string, port: number): Promise<void> {
    const token = `${way}-${tried.size}`
    const env = { REACH_FROM: INSIDE.v4, REACH_INTERFACE: network.wire }
    const ended = await sandbox.run([reach, way, address, String(port), token], { env })
    tried.set(`${way} ${address} ${port}`, { ended, address, token })
  }

  /** What came of it; null where this machine does not have it. */
  function outcome(way: string, address: string, port: number = PORT): Attempt | null {
    const found = tried.get(`${way} ${address} ${port}`)
    if (found === undefined) throw new Error(`${way} to ${address} was not tried`)
    const { signal, out } = found.ended
    const errno = Number(out.trim().split(' ').at(-1) || Number.NaN)
    return errno === NOT_HERE ? null : { errno, signal, arrived: network.hasArrived(found.address, found.token) }
  }

  it.each(V4_WAYS)('gets through to it, and to nobody else, by %s', (way) => {
    const allowed = outcome(way, ALLOWED.v4)
    if (allowed !== null) expect(allowed).toEqual({ errno: 0, signal: null, arrived: true })
    expect(outcome(way, DENIED.v4)).toEqual(allowed && { errno: EPERM, signal: null, arrived: false })
  })

  it.each(V6_WAYS)('gets through to it, and to nobody else, over IPv6 by %s', (way) => {
    expect(outcome(way, ALLOWED.v6)).toEqual({ errno: 0, signal: null, arrived: true })
    // The kernel says nothing of an echo request over IPv6 that is dropped on its way out.
    expect(outcome(way, DENIED.v6)).toEqual({ errno: way === 'ping' ? 0 : EPERM, signal: null, arrived: false })
  })

  it.each(['tcp', 'udp-sendto', 'tcp-mapped'])('does not get to another port of it by %s', (way) => {
    expect(outcome(way, ALLOWED.v4, OTHER_PORT)).toEqual({ errno: EPERM, signal: null, arrived: false })
  })

  it.each(NEVER_WAYS)('gets to nobody by %s, which no rule can allow', (way) => {
    const never = outcome(way, ALLOWED.v4)
    expect(never).toEqual(never && { errno: EPERM, signal: null, arrived: false })
  })

  it.each(KILLED_WAYS)('is killed for a socket by %s', (way) => {
    const killed = outcome(way, ALLOWED.v4)
    expect(killed).toEqual(killed && { errno: Number.NaN, signal: 'SIGKILL', arrived: false })
  })

  it.each([
    ['', 'call'],
    [', and another thread writes something else over what was asked for', 'memory'],
  ])('is killed for a socket of the wire by the 32-bit entry%s', async (_, way) => {
    const { out, signal } = await sandbox.run([compileC('reach_twisted', dir()), way])
    expect(Number(out) === NOT_HERE ? 'SIGKILL' : signal).toBe('SIGKILL')
  })

  it('has told every refusal with its verdict, and every allowed one with its rule', () => {
    const told = sandbox.events().flatMap(({ connect }) => (connect ? [connect] : []))
    const judged = (address: string) => told.filter(({ addr }) => addr && addressBytes(address).equals(addr))
    const { SL_VERDICT_ALLOW, SL_VERDICT_DENY, SL_WHY_RULE, SL_WHY_DEFAULT } = ABI.enums
    for (const { v4, v6 } of [ALLOWED, DENIED]) {
      const isAllowed = v4 === ALLOWED.v4
      for (const each of [...judged(v4), ...judged(v6)].filter(isSeen)) {
        expect(each.judged).toMatchObject(
          isAllowed
            ? { verdict: SL_VERDICT_ALLOW, why: SL_WHY_RULE, rule: 1 }
            : { verdict: SL_VERDICT_DENY, why: SL_WHY_DEFAULT, rule: 0 },
        )
        if (!isAllowed) expect(each.error).toBe(EPERM)
      }
    }
    // What no call names comes by its packets.
    const packets = told.filter((each) => each.via === ABI.enums.SL_VIA_PACKET)
    expect(packets.map((each) => each.judged?.verdict)).toContain(SL_VERDICT_DENY)
  })
})

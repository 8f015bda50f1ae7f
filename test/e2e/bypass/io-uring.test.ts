/** Ways out by io_uring, which makes no system call for what it sends: each to the neighbour that the policy allows and to the other. */
import { beforeAll, describe, expect, it } from 'vitest'
import { ABI } from '../../../src/native/generated/abi.js'
import { type Attempt, HELD, KILLED, openForAll, type Pair, reachBy } from '../../support/bypass.js'
import { addressBytes } from '../../support/policed-sandbox.js'
import { privileged } from '../../support/privileged.js'
import { ALLOWED, DENIED } from '../../support/test-network.js'

const { skip, reason } = privileged('bpf')
const TRIES_MS = 120_000
const WAYS = [
  ...['connect', 'connect-async', 'connect-poll', 'connect-orphan', 'connect-fixed', 'connect-linked'],
  ...['sendmsg', 'send-to', 'send-zc'],
]
const KILLED_WAYS = ['packet', 'packet-by-type', 'vsock']

describe.skipIf(skip)(`a sandbox with io_uring ${reason}`, () => {
  const bypass = openForAll()
  let outcomes: ReadonlyMap<string, Pair | null>

  beforeAll(async () => {
    const program = bypass().program('reach_uring')
    const attempts = [...WAYS, ...KILLED_WAYS].map((way): [string, Attempt] => [way, { way: reachBy(program, way) }])
    outcomes = await bypass().pairs(new Map(attempts))
  }, TRIES_MS)

  it.each(WAYS)('gets nothing to the other by %s', (way) => {
    const pair = outcomes.get(way)
    if (pair !== null) expect(pair).toEqual(HELD)
  })

  it.each(KILLED_WAYS)('is killed for a socket by %s', (way) => {
    const pair = outcomes.get(way)
    if (pair !== null) expect(pair).toEqual({ allowed: KILLED, denied: KILLED })
  })

  it('has told each with its verdict', () => {
    const { SL_VERDICT_ALLOW, SL_VERDICT_DENY, SL_VIA_URING } = ABI.enums
    const told = bypass()
      .sandbox.events()
      .flatMap(({ connect }) => (connect?.via === SL_VIA_URING ? [connect] : []))
    const verdicts = (address: string) =>
      told.filter(({ addr }) => addr && addressBytes(address).equals(addr)).map(({ judged }) => judged?.verdict)
    if (outcomes.get('connect') === null) return
    expect(new Set(verdicts(ALLOWED.v4))).toEqual(new Set([SL_VERDICT_ALLOW]))
    expect(new Set(verdicts(DENIED.v4))).toEqual(new Set([SL_VERDICT_DENY]))
  })
})

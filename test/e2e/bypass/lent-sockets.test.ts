/**
 * Ways out by a socket that somebody outside made: inherited, passed, taken, or held when its process came into the sandbox; and what can be
 * done to such a socket so that nobody notices whose it is by now.
 */
import { execFileSync } from 'node:child_process'
import { beforeAll, describe, expect, it } from 'vitest'
import { ABI } from '../../../src/native/generated/abi.js'
import {
  type Attempt,
  HELD,
  lastNumber,
  openForAll,
  type Pair,
  reachBy,
  script,
  type Way,
} from '../../support/bypass.js'
import { net, TCP, testPolicy, UDP } from '../../support/policed-sandbox.js'
import { privileged } from '../../support/privileged.js'
import { ALLOWED, PORT } from '../../support/test-network.js'

const { skip, reason } = privileged('bpf')
const LENT = script('lent_socket.py')
const MANY = script('lent_many.py')
const LENT_MAX = ABI.limits.SL_LENT_OF_ONE
const TRIES_MS = 180_000
/** What the kernel gives to what is kept with each socket, in bytes; of one network namespace since 6.8, else of the machine. */
const ROOM = 'net.core.optmem_max'

/** At every port, as a neighbour that calls has one of its own. */
const anyPort = testPolicy({
  nets: [
    {
      ...net(ALLOWED.v4),
      ports: [TCP, UDP].map((protocol) => ({ rule: 1, deny: false, range: { protocol, first: 0, last: 0xffff } })),
    },
  ],
})

const HOWS = ['inherited', 'passed', 'taken', 'born']
/** Kinds of socket, and what is done to them first. */
const KINDS = ['tcp plain', 'tcp more', 'tcp cork', 'udp plain', 'udp encap', 'listener plain', 'listener more']
const WAYS = [...HOWS.flatMap((how) => KINDS.map((kind) => `${how} ${kind}`)), 'passed udp-open plain']
/** Sockets that no rule could allow. */
const NEVER = HOWS.flatMap((how) => ['packet', 'vsock'].map((kind) => `${how} ${kind} plain`))

describe.skipIf(skip)(`a sandbox that comes by a socket from outside ${reason}`, () => {
  const bypass = openForAll(anyPort)
  let outcomes: ReadonlyMap<string, Pair | null>

  const attempt = (name: string): [string, Attempt] => {
    const way: Way = (address, text) => [
      ...['python3', LENT, ...name.split(' '), address, String(PORT), text, bypass().sandbox.cgroup],
    ]
    return [name, { way, options: { outside: true } }]
  }

  beforeAll(async () => {
    outcomes = await bypass().pairs(new Map([...WAYS, ...NEVER].map(attempt)))
  }, TRIES_MS)

  const arrived = (pair: Pair | null | undefined) => pair && [pair.allowed.arrived, pair.denied.arrived]

  it.each(WAYS)('gets nothing to the denied one by what is %s', (name) => {
    expect(arrived(outcomes.get(name))).toEqual([HELD.allowed.arrived, HELD.denied.arrived])
  })

  it.each(NEVER)('gets nothing to anybody by what is %s', (name) => {
    expect(arrived(outcomes.get(name))).toEqual([false, false])
  })

  it('gets nothing to the denied one where nothing can be kept with a socket', async () => {
    const inside = (...args: string[]) => execFileSync('nsenter', [`--net=${bypass().network.inside}`, ...args])
    // Before 6.8 it is the whole machine's, and is not there in a namespace of one's own.
    const [before] = /\d+/.exec(inside('sysctl', '-e', '-n', ROOM).toString()) ?? []
    if (before === undefined) return
    inside('sysctl', '-q', '-w', `${ROOM}=64`)
    try {
      const ways = ['passed udp plain', 'passed tcp plain', 'passed tcp more']
      const found = await bypass().pairs(new Map(ways.map(attempt)))
      expect(ways.map((way) => arrived(found.get(way))?.at(-1))).toEqual([false, false, false])
      // Its own sockets are refused everything then, as what they send could not be judged later.
      const own = await bypass().pair(reachBy(bypass().program('reach'), 'tcp'))
      expect(own?.denied.arrived).toBe(false)
    } finally {
      inside('sysctl', '-q', '-w', `${ROOM}=${before}`)
    }
  }, 60_000)
})

describe.skipIf(skip)(`a sandbox that comes by very many sockets from outside ${reason}`, () => {
  const bypass = openForAll()

  it('gets as many as are noted for one sandbox, and those that follow end who takes them', async () => {
    const { sandbox } = bypass()
    const { out } = await sandbox.run(['python3', MANY, String(LENT_MAX + 50), sandbox.cgroup], { outside: true })
    expect(lastNumber(out)).toBe(LENT_MAX)
    expect(await bypass().pair(reachBy(bypass().program('reach'), 'tcp'))).toEqual(HELD)
  }, 60_000)
})

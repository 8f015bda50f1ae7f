/**
 * Ways out from another place: another cgroup, network namespace or process tree, and what the kernel itself does for a sandbox. What counts is
 * the task, wherever it is.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { EPERM, HELD, lastNumber, openForAll, script } from '../../support/bypass.js'
import { cgroupMount } from '../../support/cgroup-folder.js'
import { net, testPolicy } from '../../support/policed-sandbox.js'
import { privileged } from '../../support/privileged.js'
import { ALLOWED, DENIED, PORT } from '../../support/test-network.js'

const { skip, reason } = privileged('bpf')
const HERE = '-'
/** MPTCP servers: one for what is looked at, one to show that the kernel would open a flow to the other neighbour. */
const FLOWS = 7400
const CONTROL = 7401
const MPTCP = existsSync('/proc/sys/net/mptcp/enabled')

describe.skipIf(skip)(`a sandbox that goes elsewhere ${reason}`, () => {
  const bypass = openForAll()
  const root = () => cgroupMount() ?? ''

  it('gets nothing to the other from a network namespace that it made', async () => {
    const way = (address: string, text: string) => [
      ...['unshare', '--net', bypass().program('reach'), 'tcp', address, String(PORT), text],
    ]
    const pair = await bypass().pair(way)
    // There is nothing in it: not even the allowed one can be reached, and the policy still decides first.
    expect(pair?.allowed).toMatchObject({ arrived: false })
    expect(pair?.denied).toMatchObject({ errno: EPERM, arrived: false })
  }, 60_000)

  it.each(['tcp', 'udp-sendto'])(
    'gets nothing to the other from the neighbours’ own namespace, by %s',
    async (kind) => {
      const way = (address: string, text: string) => [
        ...[
          'nsenter',
          `--net=${bypass().network.outside}`,
          bypass().program('reach'),
          kind,
          address,
          String(PORT),
          text,
        ],
      ]
      expect(await bypass().pair(way)).toEqual(HELD)
    },
    60_000,
  )

  it('gets nothing to the other by a socket that it made in another namespace and took along', async () => {
    const way = (address: string, text: string) => [
      ...['python3', '-c', FROM_ELSEWHERE, bypass().network.outside, address, String(PORT), text],
    ]
    expect(await bypass().pair(way)).toEqual(HELD)
  }, 60_000)

  it.each([
    ['born in the root of all cgroups', () => root()],
    ['born in a cgroup below its own', () => join(bypass().sandbox.cgroup, 'below')],
    ['born in a cgroup beside its own', () => `${bypass().sandbox.cgroup}-beside`],
  ])(
    'gets nothing to the other by a child that is %s',
    async (_, place) => {
      mkdirSync(place(), { recursive: true })
      const way = (address: string, text: string) => [
        ...[bypass().program('born_elsewhere'), place(), bypass().program('reach'), 'tcp', address, String(PORT), text],
      ]
      const pair = await bypass().pair(way)
      if (place().endsWith('-beside')) rmdirSync(place())
      expect(pair).toEqual(HELD)
    },
    60_000,
  )

  it.skipIf(!MPTCP)(
    'gets nothing to the other by flows of MPTCP that the kernel opens, from wherever',
    async () => {
      const { network, sandbox } = bypass()
      const inside = (...args: string[]) => execFileSync('nsenter', [`--net=${network.inside}`, ...args])
      const outside = (...args: string[]) => execFileSync('nsenter', [`--net=${network.outside}`, ...args])
      inside('ip', 'mptcp', 'limits', 'set', 'subflows', '4', 'add_addr_accepted', '4')
      outside('ip', 'mptcp', 'limits', 'set', 'subflows', '4', 'add_addr_accepted', '4')
      outside('ip', 'mptcp', 'endpoint', 'add', DENIED.v4, 'signal')
      const serving = [`--net=${network.outside}`, 'python3', script('mptcp_server.py'), String(FLOWS), String(CONTROL)]
      const server = spawn('nsenter', serving, { stdio: ['pipe', 'pipe', 'inherit'] })
      await once(server.stdout, 'data')
      await sandbox.apply(testPolicy({ nets: [net(ALLOWED.v4, { port: FLOWS })] }))
      const flow = (place: string, port: number, text: string) => [
        ...['python3', script('subflow.py'), place, ALLOWED.v4, String(port), text],
      ]
      const stays = await sandbox.run(flow(HERE, FLOWS, 'flow-stays.'))
      const leaves = await sandbox.run(flow(root(), FLOWS, 'flow-leaves.'))
      inside(...flow(HERE, CONTROL, 'flow-control.'))
      await bypass().settle()
      server.stdin.end()
      await sandbox.apply(testPolicy())
      expect([stays, leaves].map(({ out }) => lastNumber(out))).toEqual([0, EPERM])
      expect(network.hasArrived(ALLOWED.v4, 'flow-stays.')).toBe(true)
      expect(network.hasArrived(DENIED.v4, `tcp:${CONTROL}`)).toBe(true)
      expect(network.hasArrived(DENIED.v4, `tcp:${FLOWS}`)).toBe(false)
    },
    60_000,
  )
})

const FROM_ELSEWHERE = `
import ctypes, os, socket, sys
space, address, port, text = sys.argv[1:]
setns = ctypes.CDLL(None, use_errno=True).setns
here, there = os.open("/proc/self/ns/net", os.O_RDONLY), os.open(space, os.O_RDONLY)
assert setns(there, 0) == 0
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
assert setns(here, 0) == 0
try:
    s.sendto(text.encode(), (address, int(port)))
    print(0)
except OSError as e:
    print(e.errno)
`

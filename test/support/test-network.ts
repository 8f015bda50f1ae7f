/**
 * Two network namespaces of a test's own with a wire between them: what is in the one can reach the other and nothing else, and the other
 * says what arrived. Guards that no test sends anything beyond this machine.
 */
import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { patient } from './patience.js'

const RECEIVER = fileURLToPath(new URL('programs/receiver.py', import.meta.url))
const CONNECT_ONCE = 'import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 30).close()'
/** What has not arrived after this does not. */
export const ARRIVAL_MS = 1_500
/** For what is expected, of a program that may not have begun yet. */
const ARRIVES_MS = patient(20_000)
const STEP_MS = 10
export const PORT = 7000
export const OTHER_PORT = 7001

/** Of the inner namespace, then of the outer one: two neighbours of which a policy allows one. */
export const INSIDE = { v4: '10.203.0.1', v6: 'fd00:5::1' } as const
export const ALLOWED = { v4: '10.203.0.2', v6: 'fd00:5::2' } as const
export const DENIED = { v4: '10.203.0.3', v6: 'fd00:5::3' } as const

export interface TestNetwork {
  /** Path of the inner namespace, for nsenter --net=. */
  readonly inside: string
  readonly outside: string
  /** Name of the wire's end inside. */
  readonly wire: string
  /** Texts that arrived, as "address port text". */
  readonly arrived: ReadonlySet<string>
  hasArrived(address: string, text: string): boolean
  /** Waits, at most a while, until the text has arrived at this address. */
  arrives(address: string, text: string): Promise<boolean>
  close(): Promise<void>
}

export async function openTestNetwork(): Promise<TestNetwork> {
  const tag = randomBytes(3).toString('hex')
  const [inner, outer] = [`sl-${tag}-in`, `sl-${tag}-out`]
  const wire = `sl${tag}a`
  const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] })
  ip('netns', 'add', inner)
  ip('netns', 'add', outer)
  ip('link', 'add', wire, 'netns', inner, 'type', 'veth', 'peer', 'name', 'wire', 'netns', outer)
  const place = (space: string, device: string, addresses: readonly string[]) => {
    for (const address of addresses) {
      const isV6 = address.includes(':')
      const options = isV6 ? ['nodad'] : []
      ip('-n', space, 'addr', 'add', `${address}/${isV6 ? 64 : 24}`, 'dev', device, ...options)
    }
    for (const each of ['lo', device]) ip('-n', space, 'link', 'set', each, 'up')
    const settings = ['net.ipv4.tcp_fastopen=1027', 'net.ipv4.ping_group_range=0 2147483647']
    execFileSync('nsenter', [`--net=/run/netns/${space}`, 'sysctl', '-q', '-w', ...settings])
  }
  place(inner, wire, [INSIDE.v4, INSIDE.v6])
  place(outer, 'wire', [ALLOWED.v4, DENIED.v4, ALLOWED.v6, DENIED.v6])
  const arrived = new Set<string>()
  const hasArrived = (address: string, text: string) =>
    [...arrived].some((line) => line.startsWith(`${address} `) && line.endsWith(` ${text}`))
  const receiver = await startReceiver(`/run/netns/${outer}`, arrived)
  // Somebody who is in no sandbox: until each address was found once, a first packet may wait for a second.
  for (const address of [ALLOWED.v4, DENIED.v4, ALLOWED.v6, DENIED.v6]) {
    execFileSync('nsenter', [`--net=/run/netns/${inner}`, 'python3', '-c', CONNECT_ONCE, address, String(PORT)])
  }
  return {
    inside: `/run/netns/${inner}`,
    outside: `/run/netns/${outer}`,
    wire,
    arrived,
    hasArrived,
    async arrives(address, text) {
      const end = performance.now() + ARRIVES_MS
      while (!hasArrived(address, text) && performance.now() < end) await sleep(STEP_MS)
      return hasArrived(address, text)
    },
    async close() {
      receiver.stdin.end()
      await once(receiver, 'exit')
      ip('netns', 'del', inner)
      ip('netns', 'del', outer)
    },
  }
}

async function startReceiver(
  space: string,
  arrived: Set<string>,
): Promise<ChildProcessByStdio<Writable, Readable, null>> {
  const addresses = [ALLOWED.v4, DENIED.v4, ALLOWED.v6, DENIED.v6]
  const args = [`--net=${space}`, 'python3', RECEIVER, 'wire', `${PORT},${OTHER_PORT}`, ...addresses]
  const receiver = spawn('nsenter', args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface(receiver.stdout)
  const ready = once(lines, 'line')
  lines.on('line', (line) => arrived.add(line))
  await ready
  return receiver
}

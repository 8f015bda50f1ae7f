/** The facts of a connect: the address the kernel was given, the socket, and how the call ended. All of it on loopback. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ConnectEvent, connects, expectComplete } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const EINPROGRESS = 115
const ECONNREFUSED = 111
const EAFNOSUPPORT = 97

/** Each prints [name, errno, local port]. */
const PYTHON = `
import json, socket, sys
open4, open6, closed = map(int, sys.argv[1:4])
keep = []
def attempt(name, family, kind, address, prepare=lambda s: None, call=None):
    s = socket.socket(family, kind); keep.append(s); prepare(s)
    try: (call or s.connect)(address); error = 0
    except OSError as e: error = e.errno
    print(json.dumps([name, error, s.getsockname()[1]]))
    return s
V4, V6, TCP, UDP = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM
attempt("tcp4", V4, TCP, ("127.0.0.1", open4))
attempt("tcp6", V6, TCP, ("::1", open6))
attempt("mapped", V6, TCP, ("::ffff:127.0.0.1", open4))
attempt("refused4", V4, TCP, ("127.0.0.1", closed))
attempt("refused6", V6, TCP, ("::1", closed))
attempt("bound", V4, TCP, ("127.0.0.1", open4), lambda s: s.bind(("127.0.0.2", 0)))
attempt("nonblocking", V4, TCP, ("127.0.0.3", open4), lambda s: s.setblocking(False))
u = attempt("udp4", V4, UDP, ("127.0.0.1", closed))
attempt("udp6", V6, UDP, ("::1", closed))
attempt("again", V4, UDP, ("127.0.0.5", 53), call=u.connect)
attempt("fast-open", V4, TCP, ("127.0.0.1", open4), call=lambda a: keep[-1].sendto(b"", 0x20000000, a))
# None of these connects to an address.
socket.socketpair()
socket.socket(V4, UDP).bind(("127.0.0.1", 0))
socket.socket(V4, TCP).connect_ex  # a socket that never connects
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.connect(999, b"\\x02\\x00" + bytes(14), 16)          # no socket
libc.connect(keep[0].fileno(), b"\\x02\\x00", 2)            # too short
`

async function listen(host: string): Promise<Server> {
  const server = createServer((socket) => socket.on('error', () => {}).end())
  server.listen(0, host)
  await once(server, 'listening')
  return server
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port

describe.skipIf(skip)(`a connect ${reason}`, () => {
  let servers: Server[] = []
  let ports: [number, number, number]
  let found = new Map<string, { errno: number; localPort: number; event: ConnectEvent | undefined }>()
  let all: ConnectEvent[] = []

  beforeAll(async () => {
    servers = [await listen('0.0.0.0'), await listen('::1')]
    const [closedOne] = [await listen('0.0.0.0')]
    const closed = portOf(closedOne)
    closedOne.close()
    ports = [portOf(servers[0] as Server), portOf(servers[1] as Server), closed]
    const run = await sluiceRun(['/usr/bin/python3', '-c', PYTHON, ...ports.map(String)])
    expect(run.exitCode, run.stderr).toBe(0)
    expectComplete(run.events)
    all = connects(run.events)
    const lines = run.stdout.split('\n').map((line) => JSON.parse(line) as [string, number, number])
    found = new Map(lines.map(([name, errno, localPort], i) => [name, { errno, localPort, event: all[i] }]))
  })

  afterAll(() => {
    for (const server of servers) server.close()
  })

  test('is in the record once for each call with an address, in order', () => {
    expect(all.length).toBe(found.size)
    for (const [name, { errno, event }] of found) expect(event?.connect.errno, name).toBe(errno)
    for (const event of all) {
      expect(event.connect).toMatchObject({
        via: 'CONNECT',
        resolved: true,
        count: '1',
        hostname: '',
        verdict: { decision: 'ALLOW', rule: 'none' },
      })
    }
  })

  test.each([
    { name: 'tcp4', address: '127.0.0.1', port: 0, protocol: 'TCP', errno: 0 },
    { name: 'tcp6', address: '::1', port: 1, protocol: 'TCP', errno: 0 },
    { name: 'mapped', address: '127.0.0.1', port: 0, protocol: 'TCP', errno: 0 },
    { name: 'refused4', address: '127.0.0.1', port: 2, protocol: 'TCP', errno: ECONNREFUSED },
    { name: 'refused6', address: '::1', port: 2, protocol: 'TCP', errno: ECONNREFUSED },
    { name: 'bound', address: '127.0.0.1', port: 0, protocol: 'TCP', errno: 0 },
    { name: 'nonblocking', address: '127.0.0.3', port: 0, protocol: 'TCP', errno: EINPROGRESS },
    { name: 'udp4', address: '127.0.0.1', port: 2, protocol: 'UDP', errno: 0 },
    { name: 'udp6', address: '::1', port: 2, protocol: 'UDP', errno: 0 },
    { name: 'fast-open', address: '127.0.0.1', port: 0, protocol: 'TCP', errno: 0 },
  ] as const)('has address, port, protocol, result and local port: $name', ({ name, port, ...expected }) => {
    const { event, localPort, errno } = found.get(name) ?? {}
    if (name.endsWith('6') && errno === EAFNOSUPPORT) return
    expect(event?.connect).toMatchObject({ ...expected, port: ports[port] })
    if (expected.errno === 0) expect(event?.connect.localPort).toBe(localPort)
    expect(event?.connect.connectionId).not.toBe('')
  })

  test('of one socket has one connection id, of another one another', () => {
    const ids = all.map((event) => event.connect.connectionId)
    expect(found.get('again')?.event?.connect.address).toBe('127.0.0.5')
    expect(found.get('again')?.event?.connect.connectionId).toBe(found.get('udp4')?.event?.connect.connectionId)
    expect(new Set(ids).size).toBe(all.length - 1)
  })
})

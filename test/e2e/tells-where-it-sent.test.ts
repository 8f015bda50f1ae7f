/**
 * Sends without a connect: where to, with which result, and how many. One socket's sends to one place are folded; what they add up
 * to is exact. All of it on loopback, or in a network namespace of its own.
 */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { compileC } from '../support/c-program.js'
import { type ConnectEvent, connects, expectComplete, listens, lost, sockets } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { type SluiceRun, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const PORT = 9
const EIO = 5
const ENOENT = 2
const EMSGSIZE = 90
const ECONNREFUSED = 111

const python = (script: string, ...args: string[]): Promise<SluiceRun> =>
  sluiceRun(['/usr/bin/python3', '-c', `import ctypes, os, socket, struct, sys, time\n${script}`, ...args])

/** As root of a user and a network namespace of its own, where even `run` leaves it raw sockets. */
const inNamespace = (script: string): Promise<SluiceRun> =>
  sluiceRun([
    ...['unshare', '--user', '--map-root-user', '--net', 'sh', '-c'],
    `ip link set lo up && exec /usr/bin/python3 -c "$0"`,
    `import socket, struct\n${script}`,
  ])

async function inC(...args: string[]): Promise<SluiceRun> {
  return withTempDir(async (dir) => sluiceRun([compileC('sends', dir), ...args]))
}

const sendsOf = (run: SluiceRun): ConnectEvent[] =>
  connects(run.events).filter(({ connect }) => connect.via === 'SENDMSG' && connect.protocol !== 'NETLINK')

/** How many sends went to each place, by address, port and errno. */
function tally(events: ConnectEvent[]): Map<string, number> {
  const sums = new Map<string, number>()
  for (const { connect } of events) {
    const key = `${connect.address} ${connect.port} ${connect.errno}`
    sums.set(key, (sums.get(key) ?? 0) + Number(connect.count))
  }
  return sums
}

describe.skipIf(skip)(`a send that names its destination ${reason}`, () => {
  test('is told with address, port, socket and result', async () => {
    const run = await python(`
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
v = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
lite = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136)
u.sendto(b"x", ("127.0.0.1", 9)); print(u.getsockname()[1])
u.sendmsg([b"x"], [], 0, ("127.0.0.2", 9))
v.sendto(b"x", ("::1", 9))
v.sendto(b"x", ("::ffff:127.0.0.3", 9))
lite.sendto(b"x", ("127.0.0.4", 9))
try: u.sendto(b"x" * 70000, ("127.0.0.5", 9))
except OSError: pass
`)
    expectComplete(run.events)
    const sends = sendsOf(run)
    expect(sends.map(({ connect }) => [connect.address, connect.port, connect.errno, connect.resolved])).toEqual([
      ['127.0.0.1', 9, 0, true],
      ['127.0.0.2', 9, 0, true],
      ['::1', 9, 0, true],
      ['127.0.0.3', 9, 0, true],
      ['127.0.0.4', 9, 0, true],
      // Refused before the hook: the address is what was passed.
      ['127.0.0.5', 9, EMSGSIZE, false],
    ])
    for (const { connect } of sends) {
      expect(connect).toMatchObject({ protocol: 'UDP', count: '1', verdict: { decision: 'ALLOW' } })
      expect(connect.connectionId).not.toBe('')
    }
    expect(sends[0]?.connect.localPort).toBe(Number(run.stdout))
    expect(new Set(sends.map(({ connect }) => connect.connectionId)).size).toBe(3)
  })

  test('is not told where the socket is connected and no destination is named', async () => {
    const run = await python(`
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(("127.0.0.1", 9))
for _ in range(3):
    try: u.send(b"x")
    except OSError: pass
u.sendto(b"x", ("127.0.0.7", 9))
`)
    expect(connects(run.events).map(({ connect }) => [connect.via, connect.address])).toEqual([
      ['CONNECT', '127.0.0.1'],
      ['SENDMSG', '127.0.0.7'],
    ])
  })

  test('is folded with its likes, exactly, and never with a failure or with another place', async () => {
    const run = await python(`
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
w = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(1000):
    u.sendto(b"x", ("127.0.0.1", 9))
    if i % 100 == 0: w.sendto(b"x", ("127.0.0.1", 9))
    if i % 250 == 0:
        try: u.sendto(b"x" * 70000, ("127.0.0.1", 9))
        except OSError: pass
    if i % 500 == 0: u.sendto(b"x", ("127.0.0.1", 10))
`)
    expectComplete(run.events)
    const sends = sendsOf(run)
    expect(tally(sends)).toEqual(
      new Map([
        ['127.0.0.1 9 0', 1010],
        ['127.0.0.1 9 90', 4],
        ['127.0.0.1 10 0', 2],
      ]),
    )
    // The first of each is told by itself, at once.
    expect(sends[0]?.connect).toMatchObject({ address: '127.0.0.1', port: 9, count: '1' })
    expect(sends.length).toBeLessThanOrEqual(10)
    const folded = sends.filter(({ connect }) => connect.count !== '1')
    expect(folded.length).toBeGreaterThan(0)
    for (const { connect, time } of folded) expect(connect.lastTime <= time).toBe(true)
  })

  test('is told every second while they go on', async () => {
    const run = await python(`
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
end = time.time() + 2.5; n = 0
while time.time() < end:
    u.sendto(b"x", ("127.0.0.1", 9)); n += 1; time.sleep(0.01)
print(n)
`)
    const counts = sendsOf(run).map(({ connect }) => Number(connect.count))
    // The first by itself, then what came since, at the end the rest. One fewer where the machine stood still for long.
    expect([3, 4]).toContain(counts.length)
    expect(counts.reduce((sum, count) => sum + count)).toBe(Number(run.stdout))
  })

  test('by sendmmsg is told for each of a thousand places', async () => {
    const run = await inC('many', String(PORT))
    expect(run.stdout).toBe('1024')
    const sends = sendsOf(run)
    expect(new Set(sends.map(({ connect }) => connect.address)).size + lost(run.events, 'connect')).toBe(1024)
    for (const { connect } of sends) expect(connect).toMatchObject({ errno: 0, count: '1', resolved: true })
  })

  test('by a sendmmsg that stops half-way is told for the message it stopped at, as failed', async () => {
    const run = await inC('stops', String(PORT))
    expect(run.stdout).toBe('2')
    expect(tally(sendsOf(run))).toEqual(
      new Map([
        [`127.0.0.1 ${PORT} 0`, 2],
        [`255.255.255.255 ${PORT} ${EIO}`, 1],
      ]),
    )
  })

  test('by 16 threads at once adds up to what was sent', async () => {
    const run = await inC('storm', String(PORT), '16')
    expect(run.exitCode).toBe(0)
    const sends = sendsOf(run)
    const sum = sends.reduce((count, { connect }) => count + Number(connect.count), 0)
    expect(sum + lost(run.events, 'connect')).toBe(160_000)
    expect(new Set(sends.map(({ process }) => process.tid)).size).toBe(16)
    expect(sends.length).toBeLessThan(1000)
  })

  test('by int 0x80 and socketcall is told like its 64-bit twin', async () => {
    const run = await inC('int80', String(PORT))
    expect(run.stdout).toBe('1 1 1 1 1 0 0')
    expect(sendsOf(run).map(({ connect }) => connect.address)).toEqual([2, 3, 4, 5, 6].map((host) => `127.0.0.${host}`))
    expect(listens(run.events).map(({ listen }) => [listen.protocol, listen.address, listen.port])).toEqual([
      ['TCP', '127.0.0.1', PORT],
    ])
  })
})

describe.skipIf(skip)(`a send or connect that no hook sees ${reason}`, () => {
  test('of a Unix socket has the path, absolute, or the abstract name', async () => {
    await withTempDir(async (dir) => {
      const run = await python(
        `
os.chdir(sys.argv[1]); os.mkdir("d"); os.symlink("d", "link")
s = socket.socket(socket.AF_UNIX); s.bind("d/s\\n\\udcff"); s.listen(8)
a = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); a.bind("\\0abs\\0tract")
d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); d.bind("dgram")
socket.socket(socket.AF_UNIX).connect("link/s\\n\\udcff")
c = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
c.sendto(b"x", "\\0abs\\0tract"); c.connect("\\0abs\\0tract")
c = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
c.sendto(b"x", "dgram")
os.chdir("d")
for name in ("dgram", "/nonexistent"):
    try: c.sendto(b"x", name)
    except OSError as e: pass
    try: socket.socket(socket.AF_UNIX).connect(name)
    except OSError as e: pass
`,
        dir,
      )
      expect(run.exitCode, run.stderr).toBe(0)
      expectComplete(run.events)
      const of = connects(run.events).filter(({ connect }) => connect.protocol === 'UNIX')
      expect(of.map(({ connect }) => [connect.via, connect.address, connect.errno, connect.resolved])).toEqual([
        // Where it really is, symlink or not.
        ['CONNECT', join(dir, 'd/s\n\\xff'), 0, true],
        ['SENDMSG', '@abs\0tract', 0, false],
        ['CONNECT', '@abs\0tract', 0, true],
        ['SENDMSG', join(dir, 'dgram'), 0, false],
        ['SENDMSG', join(dir, 'd/dgram'), ENOENT, false],
        ['CONNECT', join(dir, 'd/dgram'), ENOENT, false],
        ['SENDMSG', '/nonexistent', ENOENT, false],
        ['CONNECT', '/nonexistent', ENOENT, false],
      ])
      expect(listens(run.events).map(({ listen }) => [listen.protocol, listen.address])).toEqual([
        ['UNIX', join(dir, 'd/s\n\\xff')],
        ['UNIX', '@abs\0tract'],
        ['UNIX', join(dir, 'dgram')],
      ])
    })
  })

  test('of a Unix socket by sendmmsg is told for each message', async () => {
    const run = await inC('unix', '/nonexistent')
    expect(run.stdout).toBe('-1')
    expect(tally(sendsOf(run))).toEqual(new Map([[`/nonexistent 0 ${ENOENT}`, 1]]))
  })

  test('of raw, ping and packet sockets has the address that was passed, also one without a family', async () => {
    const run = await inNamespace(`
open("/proc/sys/net/ipv4/ping_group_range", "w").write("0 0")
echo = struct.pack("!BBHHH", 8, 0, 0xf7ff, 0, 0)
r = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); r.sendto(echo, ("127.0.0.1", 0))
r.connect(("127.0.0.2", 0)); r.send(echo)
r6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58); r6.sendto(b"\\x80" + bytes(7), ("::1", 0))
p = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1); p.sendto(echo, ("127.0.0.3", 0))
k = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0); k.sendto(b"x", ("lo", 0x88b5, 0, 0, bytes(6)))
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
bare = struct.pack("=HH4B8x", 0, 0, 127, 0, 0, 4)
q = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
assert libc.sendto(q.fileno(), echo, 8, 0, bare, 16) == 8
`)
    expect(run.exitCode, run.stderr).toBe(0)
    const told = connects(run.events).filter(
      ({ connect, process }) => process.exe.includes('python') && connect.protocol !== 'NETLINK',
    )
    expect(told.map(({ connect }) => [connect.protocol, connect.via, connect.address, connect.errno])).toEqual([
      ['RAW', 'SENDMSG', '127.0.0.1', 0],
      ['RAW', 'CONNECT', '127.0.0.2', 0],
      ['RAW', 'SENDMSG', '::1', 0],
      ['ICMP', expect.stringMatching(/SENDMSG/), '127.0.0.3', 0],
      ['PACKET', 'PACKET', '00:00:00:00:00:00%1', 0],
      ['RAW', 'SENDMSG', '127.0.0.4', 0],
    ])
    expect(told.at(-2)?.connect.port).toBe(0x88b5)
  })

  test('of netlink and vsock is told, with the error of what this machine lacks', async () => {
    const run = await python(`
n = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); n.sendto(struct.pack("=IHHII", 16, 18, 0x301, 1, 0), (0, 0))
try: v = socket.socket(40, 1); v.settimeout(1); v.connect((2, 4321))
except OSError: pass
`)
    const netlink = connects(run.events).find(({ connect }) => connect.protocol === 'NETLINK')
    expect(netlink?.connect).toMatchObject({ address: '0', errno: 0, via: 'SENDMSG' })
    const vsock = sockets(run.events).find(({ connect }) => connect.protocol === 'VSOCK')
    expect(vsock).toBeDefined()
    if (vsock?.connect.errno === 0) {
      const tried = connects(run.events).find(({ connect }) => connect.protocol === 'VSOCK')
      expect(tried?.connect).toMatchObject({ address: '2', port: 4321 })
    }
  })

  test('again on a connection that is there already is told with its error', async () => {
    const run = await python(`
t = socket.socket(); t.bind(("127.0.0.1", 0)); t.listen(1)
c = socket.socket(); c.connect(t.getsockname())
for address in (t.getsockname(), ("127.0.0.1", 1)):
    try: c.connect(address)
    except OSError as e: print(e.errno)
c.setblocking(False)
d = socket.socket()
try: d.connect(("127.0.0.1", 1))
except OSError as e: print(e.errno)
`)
    const errors = connects(run.events).map(({ connect }) => connect.errno)
    expect(errors).toEqual([0, ...run.stdout.split('\n').map(Number)])
    expect(errors.at(-1)).toBe(ECONNREFUSED)
  })
})

describe.skipIf(skip)(`a socket that came from elsewhere ${reason}`, () => {
  test('is used in the name of who uses it: passed by a descriptor, inherited, or duplicated', async () => {
    const run = await python(`
import array, subprocess
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
a, b = socket.socketpair()
if os.fork() == 0:
    _, data, *_ = b.recvmsg(1, 64)
    got = socket.socket(fileno=array.array("i", data[0][2])[0])
    got.sendto(b"x", ("127.0.0.2", 9)); print(os.getpid(), flush=True); os._exit(0)
a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [u.fileno()]))])
os.wait()
d = socket.socket(fileno=os.dup(u.fileno())); d.sendto(b"x", ("127.0.0.3", 9))
subprocess.run([sys.executable, "-c", "import socket; socket.socket(fileno=%d).sendto(b'x', ('127.0.0.4', 9))" % u.fileno()], pass_fds=[u.fileno()])
`)
    const sends = sendsOf(run)
    expect(sends.map(({ connect }) => connect.address)).toEqual(['127.0.0.2', '127.0.0.3', '127.0.0.4'])
    expect(new Set(sends.map(({ connect }) => connect.connectionId)).size).toBe(1)
    expect(new Set(sends.map(({ process }) => process.execId)).size).toBe(3)
    expect(sends[0]?.process.pid).toBe(Number(run.stdout))
  })

  test('is not lost with it: what a thread sent before it was killed is told', async () => {
    const run = await python(`
if os.fork() == 0:
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(500): u.sendto(b"x", ("127.0.0.1", 9))
    os.kill(os.getpid(), 9)
os.wait()
`)
    expect(tally(sendsOf(run))).toEqual(new Map([['127.0.0.1 9 0', 500]]))
  })
})

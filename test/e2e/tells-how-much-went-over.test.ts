/** The end of TCP connections: how many bytes went each way, to whom, and whose it was. All of it on loopback. */
import { describe, expect, test } from 'vitest'
import { closes, connects, execWith, expectComplete } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')

const python = (script: string, ...args: string[]) =>
  sluiceRun(['/usr/bin/python3', '-c', `import array, os, socket, sys, time\n${script}\ntime.sleep(0.2)`, ...args])

/** A pair of connected sockets, `c` outgoing and `a` accepted by `t`. */
const PAIR = `
def pair(family=socket.AF_INET, host="127.0.0.1", proto=0):
    t = socket.socket(family, socket.SOCK_STREAM, proto); t.bind((host, 0)); t.listen(1)
    c = socket.socket(family, socket.SOCK_STREAM, proto); c.connect(t.getsockname()); a, _ = t.accept(); t.close()
    return c, a
def finish(s, n):
    while n: n -= len(s.recv(n))
`

describe.skipIf(skip)(`the end of a connection ${reason}`, () => {
  test.each([
    { name: 'IPv4', family: 'socket.AF_INET', host: '127.0.0.1' },
    { name: 'IPv6', family: 'socket.AF_INET6', host: '::1' },
  ])('is told for both ends with exact counts: $name', async ({ family, host }) => {
    const run = await python(`${PAIR}
c, a = pair(${family}, "${host}")
c.sendall(b"x" * 100001); finish(a, 100001); a.sendall(b"y" * 7); finish(c, 7)
time.sleep(0.3)
c.close(); a.recv(1); a.close()
`)
    expect(run.exitCode, run.stderr).toBe(0)
    expectComplete(run.events)
    const [connect] = connects(run.events)
    const ends = closes(run.events).map((event) => event.connectionClosed)
    const [mine] = ends.filter((end) => !end.incoming)
    const [theirs] = ends.filter((end) => end.incoming)
    expect(ends.length).toBe(2)
    expect(mine).toMatchObject({ bytesSent: '100001', bytesReceived: '7', address: host, protocol: 'TCP' })
    expect(theirs).toMatchObject({ bytesSent: '7', bytesReceived: '100001', address: host })
    expect(mine?.connectionId).toBe(connect?.connect.connectionId)
    expect([mine?.port, mine?.localPort]).toEqual([connect?.connect.port, connect?.connect.localPort])
    expect([theirs?.localPort, theirs?.port]).toEqual([connect?.connect.port, connect?.connect.localPort])
    expect(Number(mine?.durationMs)).toBeGreaterThanOrEqual(300)
    expect(Number(mine?.durationMs)).toBeLessThan(30_000)
  })

  test('is told however it ends: by reset, by the other end first, half-closed, by a kill', async () => {
    const run = await python(`${PAIR}
import struct
c, a = pair(); c.sendall(b"1"); c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); c.close(); a.close()
c, a = pair(); c.sendall(b"22"); finish(a, 2); a.close(); c.recv(1); c.close()
c, a = pair(); c.sendall(b"333"); c.shutdown(socket.SHUT_WR); finish(a, 3); a.sendall(b"x"); a.close(); finish(c, 1); c.close()
c, a = pair(); c.sendall(b"4444"); finish(a, 4); a.close()
if os.fork() == 0: os.kill(os.getpid(), 9)
os.wait(); os.close(c.detach())
`)
    expectComplete(run.events)
    const sent = (incoming: boolean) =>
      closes(run.events)
        .filter(({ connectionClosed }) => connectionClosed.incoming === incoming)
        .map(({ connectionClosed }) => connectionClosed.bytesSent)
        .sort()
    expect(sent(false)).toEqual(['1', '2', '3', '4'])
    expect(sent(true)).toEqual(['0', '0', '0', '1'])
  })

  test('is not told of what was never a connection', async () => {
    const run = await python(`
socket.socket().connect_ex(("127.0.0.1", 1))
t = socket.socket(); t.bind(("127.0.0.1", 0)); t.listen(1); t.close()
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.close()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(("127.0.0.1", 9)); u.close()
`)
    expectComplete(run.events)
    expect(closes(run.events)).toEqual([])
  })

  test('is in the name of who connected, whoever closes it', async () => {
    const run = await python(`${PAIR}
c, a = pair()
os.set_inheritable(c.fileno(), True); a.close()
os.execv(sys.executable, [sys.executable, "-c", "import os, time; os.close(%d); time.sleep(0.3)" % c.fileno(), "closer"])
`)
    const [end] = closes(run.events).filter(({ connectionClosed }) => !connectionClosed.incoming)
    const closer = execWith(run.events, 'closer')
    expect(end?.process.pid).toBe(closer.process.pid)
    expect(end?.process.execId).not.toBe(closer.process.execId)
    expect(end?.process.execId).toBe(connects(run.events)[0]?.process.execId)
  })

  test('by MPTCP has the id of its connect', async () => {
    const run = await python(`${PAIR}
try: c, a = pair(proto=262)
except OSError: print("none"); sys.exit()
c.sendall(b"x" * 5000); finish(a, 5000); c.close(); a.recv(1); a.close(); time.sleep(0.5)
`)
    if (run.stdout === 'none') return
    const [connect] = connects(run.events)
    const mine = closes(run.events).find(
      ({ connectionClosed }) => connectionClosed.connectionId === connect?.connect.connectionId,
    )
    expect(mine?.connectionClosed).toMatchObject({ incoming: false, bytesSent: '5000' })
  })
})

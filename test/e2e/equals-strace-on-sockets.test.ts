/** strace as a second witness of what programs do with sockets: every destination with its result, every socket, every listener. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { compileC } from '../support/c-program.js'
import { connects, expectComplete, listens, sockets } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun, withTempDir } from '../support/sluice-run.js'
import { STRACE_ARGS } from '../support/strace.js'
import { parseStraceSockets, STRACE_SOCKET_CALLS } from '../support/strace-sockets.js'

const { skip, reason } = privileged('bpf')

const PYTHON = `
import os, socket, sys
here = sys.argv[1]
def attempt(call, *args):
    try: return call(*args)
    except OSError: pass
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); v = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
for n in range(300):
    attempt(u.sendto, b"x", ("127.0.0.%d" % (1 + n % 7), 9))
    if n % 50 == 0: attempt(u.sendto, b"x" * 70000, ("127.0.0.1", 9))
attempt(v.sendto, b"x", ("::1", 9)); u.sendmsg([b"x"], [], 0, ("127.0.0.2", 53))
attempt(u.sendto, b"x", ("255.255.255.255", 9)); attempt(u.sendto, b"x", ("127.0.0.1", 0))
d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); d.bind(here + "/d")
for path in (here + "/d", here + "/none"): attempt(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto, b"x", path)
s = socket.socket(socket.AF_UNIX); s.bind("\\0" + here); s.listen(2)
attempt(socket.socket(socket.AF_UNIX).connect, "\\0" + here); attempt(socket.socket(socket.AF_UNIX).connect, here + "/none")
t = socket.socket(); t.bind(("127.0.0.1", 0)); t.listen(1); attempt(socket.socket().bind, t.getsockname())
c = socket.socket(); c.connect(t.getsockname()); attempt(c.connect, t.getsockname()); attempt(socket.socket().connect, ("127.0.0.1", 1))
n = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); n.sendto(b"\\x14\\0\\0\\0\\x12\\0\\x01\\x03" + bytes(12), (0, 0))
for family, kind in ((17, 3), (2, 3), (99, 1), (40, 1)): attempt(socket.socket, family, kind)
for _ in socket.getaddrinfo("localhost", 80): pass
`

const SCENARIOS: { name: string; command(dir: string): string[] }[] = [
  { name: 'a Python script', command: (dir) => ['/usr/bin/python3', '-c', PYTHON, dir] },
  { name: 'a sendmmsg to a thousand places', command: (dir) => [compileC('sends', dir), 'many', '9'] },
  { name: 'a sendmmsg that stops half-way', command: (dir) => [compileC('sends', dir), 'stops', '9'] },
]

const line = (...parts: (string | number)[]) => parts.join(' ')

/** Each as often as its count. */
function repeated(texts: { text: string; count: number }[]): string[] {
  return texts.flatMap(({ text, count }) => Array.from({ length: count }, () => text)).sort()
}

describe.skipIf(skip)(`calls on sockets equal strace's ${reason}`, () => {
  test.each(SCENARIOS)('$name', async ({ command }) => {
    await withTempDir(async (dir) => {
      const log = join(dir, 'strace.txt')
      const run = await sluiceRun([
        'strace',
        ...STRACE_ARGS,
        '-v',
        '-e',
        STRACE_SOCKET_CALLS,
        '-o',
        log,
        ...command(dir),
      ])
      expect(run.exitCode, run.stderr).toBe(0)
      expectComplete(run.events)
      const theirs = parseStraceSockets(readFileSync(log, 'utf8'))
      const mine = run.events.filter((event) => !event.process?.exe.endsWith('/strace'))
      const ours = connects(mine).map(({ connect, process }) => ({
        text: line(process.tid, connect.via, connect.address, connect.port, connect.errno),
        count: Number(connect.count),
      }))
      expect(theirs.endpoints.length).toBeGreaterThan(0)
      expect(repeated(ours)).toEqual(
        theirs.endpoints.map(({ tid, via, address, port, errno }) => line(tid, via, address, port, errno)).sort(),
      )
      expect(sockets(mine).map(({ connect }) => connect.errno)).toEqual(theirs.made)
      const listened = listens(mine).filter(({ listen }) => !(listen.errno === 0 && listen.address === join(dir, 'd')))
      expect(listened.map(({ listen }) => listen.errno)).toEqual(theirs.listens)
    })
  })
})

/** Sockets that others can reach, sockets that were made, and what failed of either. All of it on loopback. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { expectComplete, listens, sockets } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const EPERM = 1
const EACCES = 13
const EADDRINUSE = 98
const EPROTONOSUPPORT = 93

const python = (script: string, ...args: string[]) =>
  sluiceRun(['/usr/bin/python3', '-c', `import os, socket, sys\n${script}`, ...args])

describe.skipIf(skip)(`a listener ${reason}`, () => {
  test('is told with the address that it really has', async () => {
    const run = await python(`
a = socket.socket(); a.bind(("127.0.0.1", 0)); a.listen(5); print(a.getsockname()[1])
b = socket.socket(socket.AF_INET6); b.bind(("::1", 0)); b.listen(); print(b.getsockname()[1])
c = socket.socket(); c.listen(); print(c.getsockname()[1])
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("127.0.0.1", 0)); print(u.getsockname()[1])
# None of these can be reached: a client that chose its port, a sender, a pair.
d = socket.socket(); d.bind(("127.0.0.1", 0))
v = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); v.sendto(b"x", ("127.0.0.1", 9))
socket.socketpair()
`)
    expect(run.exitCode, run.stderr).toBe(0)
    expectComplete(run.events)
    const ports = run.stdout.split('\n').map(Number)
    expect(listens(run.events).map(({ listen }) => [listen.protocol, listen.address, listen.port])).toEqual([
      ['TCP', '127.0.0.1', ports[0]],
      ['TCP', '::1', ports[1]],
      ['TCP', '0.0.0.0', ports[2]],
      ['UDP', '127.0.0.1', ports[3]],
    ])
    for (const { listen } of listens(run.events)) {
      expect(listen).toMatchObject({ errno: 0, resolved: true, verdict: { decision: 'ALLOW', rule: 'none' } })
    }
  })

  test('that failed is told with what was asked for, and the error', async () => {
    await withTempDir(async (dir) => {
      const run = await python(
        `
a = socket.socket(); a.bind(("127.0.0.1", 0)); a.listen(); port = a.getsockname()[1]; print(port)
def attempt(call):
    try: call()
    except OSError as e: pass
attempt(lambda: socket.socket().bind(("127.0.0.1", port)))
path = sys.argv[1] + "/s"
socket.socket(socket.AF_UNIX).bind(path)
attempt(lambda: socket.socket(socket.AF_UNIX).bind(path))
`,
        dir,
      )
      expect(run.exitCode, run.stderr).toBe(0)
      const port = Number(run.stdout)
      expect(
        listens(run.events).map(({ listen }) => [listen.address, listen.port, listen.errno, listen.resolved]),
      ).toEqual([
        ['127.0.0.1', port, 0, true],
        ['127.0.0.1', port, EADDRINUSE, false],
        [join(dir, 's'), 0, EADDRINUSE, false],
      ])
    })
  })
})

describe.skipIf(skip)(`a socket that is made ${reason}`, () => {
  test('is told whatever its family, also where it is refused, and counts as no connection', async () => {
    const run = await python(`
for family, kind, protocol in ((2, 1, 0), (2, 2, 0), (2, 1, 262), (1, 1, 0), (16, 3, 0), (17, 3, 3), (2, 3, 1), (38, 5, 0), (40, 1, 0), (2, 1, 255)):
    try: socket.socket(family, kind, protocol); errno = 0
    except OSError as e: errno = e.errno
    print(errno)
socket.socketpair(); socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
`)
    expect(run.exitCode, run.stderr).toBe(0)
    expectComplete(run.events)
    const errors = run.stdout.split('\n').map(Number)
    const made = sockets(run.events)
    expect(made.map(({ connect }) => connect.errno)).toEqual(errors)
    expect(made.map(({ connect }) => connect.protocol)).toEqual([
      ...['TCP', 'UDP', 'TCP', 'UNIX', 'NETLINK', 'PACKET', 'RAW', 'ALG', 'VSOCK', 'OTHER'],
    ])
    // run takes raw sockets away.
    expect([errors[5], errors[6], errors[9]]).toEqual([EPERM, EPERM, EPROTONOSUPPORT])
    for (const { connect } of made) expect(connect).toMatchObject({ address: '', port: 0, via: 'SOCKET', count: '1' })
    const last = run.events.at(-1)
    expect(last && 'sandboxEnded' in last && last.sandboxEnded.summary).toMatchObject({
      connects: '0',
      destinations: [],
    })
  })
})

test.skipIf(skip)('a port that only root may have is refused to others, and told', async () => {
  const run = await sluiceRun(
    [
      '/usr/bin/python3',
      '-c',
      'import socket\ntry: socket.socket().bind(("127.0.0.1", 81))\nexcept OSError as e: print(e.errno)',
    ],
    { options: ['--user', 'nobody'], cwd: '/' },
  )
  expect(run.stdout).toBe(String(EACCES))
  expect(listens(run.events)[0]?.listen).toMatchObject({ address: '127.0.0.1', port: 81, errno: EACCES })
})

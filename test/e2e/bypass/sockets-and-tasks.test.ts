/**
 * Ways out of a sandbox that use a socket of an earlier time, a task that moved, other listeners of this machine, or the moment in which a policy
 * changes. Sockets that somebody else lends are in lent-sockets.test.ts, other places in places.test.ts.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { basename, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { EPERM, HELD, lastNumber, openForAll } from '../../support/bypass.js'
import { cgroupMount, freeCgroupPath, removeCgroupTree } from '../../support/cgroup-folder.js'
import { testPolicy } from '../../support/policed-sandbox.js'
import { privileged } from '../../support/privileged.js'
import { ALLOWED, DENIED, PORT } from '../../support/test-network.js'

const { skip, reason } = privileged('bpf')
const LOCAL_PORT = 7100
const { ECONNABORTED } = constants.errno
const LATE = 'late'
const SWAPPING_S = 2
const SWAPS_MIN = 3

/** Connects while nobody watches it, and sends by both until one of them is refused; prints what each ended with. */
const heldFromBefore = (policed: string) => `import os, socket, time
made = {'tcp': socket.create_connection(('${DENIED.v4}', ${PORT})), 'udp': socket.socket(socket.AF_INET, socket.SOCK_DGRAM)}
made['udp'].connect(('${DENIED.v4}', ${PORT}))
for name, each in made.items(): each.send((name + '-unwatched').encode())
for _ in range(3000):
    if os.path.exists('${policed}'): break
    time.sleep(0.01)
def ends(name):
    for _ in range(1500):
        try: made[name].send((name + '-adopted').encode())
        except OSError as error: return error.errno
        time.sleep(0.02)
    return 0
print(ends('tcp'), ends('udp'))`

describe.skipIf(skip)(`a sandbox whose policy allows one neighbour ${reason}`, () => {
  const bypass = openForAll()
  const reach = () => bypass().program('reach')
  const tcp = (address: string, text: string) => [reach(), 'tcp', address, String(PORT), text]

  it('gets nothing more to the other by a socket that it connected before it had a policy', async () => {
    const policed = join(bypass().dir, 'policed')
    const script = `import os, socket, sys, time
s = socket.create_connection(('${DENIED.v4}', ${PORT}))
s.send(b'before-policy ')
while not os.path.exists('${policed}'): time.sleep(0.01)
try:
    for _ in range(3):
        s.send(b'after-policy ')
        time.sleep(0.3)
except OSError as error: print(error.errno)
`
    const { network, sandbox } = bypass()
    await sandbox.apply(null)
    const ended = sandbox.run(['python3', '-c', script.replace(/ '\)/g, "')")])
    expect(await network.arrives(DENIED.v4, 'before-policy')).toBe(true)
    await sandbox.apply(testPolicy())
    writeFileSync(policed, '')
    expect((await ended).out).toBe(`${ECONNABORTED}\n`)
    await bypass().settle()
    expect(existsSync(policed)).toBe(true)
    expect([...network.arrived].filter((line) => line.includes('after-policy'))).toEqual([])
  }, 60_000)

  it('gets nothing more to the other by what it connected before its cgroup was anybody’s sandbox', async () => {
    const { network, sandbox, dir } = bypass()
    const cgroup = freeCgroupPath()
    const policed = join(dir, 'adopted')
    mkdirSync(cgroup)
    try {
      const ended = sandbox.run(['python3', '-c', heldFromBefore(policed)], { cgroup })
      for (const text of ['tcp', 'udp']) expect(await network.arrives(DENIED.v4, `${text}-unwatched`)).toBe(true)
      await sandbox.host.command({ adoptSandbox: { sandboxId: LATE, cgroupPath: `/${basename(cgroup)}` } })
      await sandbox.host.command({ applyPolicy: { sandboxId: LATE, policy: testPolicy() } })
      writeFileSync(policed, '')
      expect((await ended).out).toBe(`${ECONNABORTED} ${EPERM}\n`)
      await bypass().settle()
      expect([...network.arrived].filter((line) => line.includes('-adopted'))).toEqual([])
    } finally {
      await sandbox.host.command({ releaseSandbox: { sandboxId: LATE } }).catch(() => {})
      await removeCgroupTree(cgroup)
    }
  }, 60_000)

  it.each([
    ['a cgroup below', (cgroup: string) => `mkdir -p "${cgroup}/below" && echo $$ > "${cgroup}/below/cgroup.procs"`],
    ['the root of all cgroups', () => `echo $$ > "${cgroupMount()}/cgroup.procs"`],
  ])(
    'gets nothing to the other from %s',
    async (_, move) => {
      const moved = (address: string, text: string) => [
        ...['sh', '-c', `${move(bypass().sandbox.cgroup)} && exec "$@"`, 'sh', ...tcp(address, text)],
      ]
      expect(await bypass().pair(moved)).toEqual(HELD)
    },
    60_000,
  )

  it('reaches listeners of its own by loopback, and those of others never', async () => {
    const { network, sandbox } = bypass()
    const listen = `import socket, sys
l = socket.socket(); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); l.bind(('127.0.0.1', ${LOCAL_PORT})); l.listen()
print('ready', flush=True); sys.stdin.read()`
    const other = spawn('nsenter', [`--net=${network.inside}`, 'python3', '-c', listen], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    await once(other.stdout, 'data')
    const outside = await sandbox.run([
      ...[reach(), 'tcp', '127.0.0.1', String(LOCAL_PORT), 'x', 'tcp-mapped', '127.0.0.1', String(LOCAL_PORT), 'x'],
    ])
    const unnamed = await sandbox.run([reach(), 'tcp', '0.0.0.0', String(LOCAL_PORT), 'x'])
    other.stdin.end()
    await once(other, 'exit')
    expect(outside.out).toBe(`tcp 127.0.0.1 ${EPERM}\ntcp-mapped 127.0.0.1 ${EPERM}\n`)
    expect(lastNumber(unnamed.out)).toBe(EPERM)
    const own = `import socket
l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen()
c = socket.create_connection(l.getsockname()); a = l.accept()[0]
c.send(b'there'); print(a.recv(9)); a.send(b'back'); print(c.recv(9))`
    expect((await sandbox.run(['python3', '-c', own])).out).toBe("b'there'\nb'back'\n")
  }, 60_000)

  it('sees no wrong verdict while policies take each other’s place', async () => {
    const sends = `import socket, time
u, wrong, tries, end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0, 0, time.time() + ${SWAPPING_S}
def refused(address, text):
    try: u.sendto(text, (address, ${PORT}))
    except PermissionError: return True
    return False
while time.time() < end:
    tries += 1
    wrong += not refused('${DENIED.v4}', b'swap-denied')
    wrong += refused('${ALLOWED.v4}', b'swap-allowed')
print(tries > 1000, wrong)`
    let out = ''
    const swaps = await bypass().whilePoliciesChange(async () => {
      out = (await bypass().sandbox.run(['python3', '-c', sends])).out
    })
    expect(swaps).toBeGreaterThan(SWAPS_MIN)
    expect(out.trim()).toBe('True 0')
    await bypass().settle()
    expect(
      bypass()
        .deniedTexts()
        .filter((line) => line.includes('swap-denied')),
    ).toEqual([])
  }, 60_000)
})

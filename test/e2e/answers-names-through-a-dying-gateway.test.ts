/**
 * The gateway killed while names are asked for without pause: a query is answered rightly, refused or not answered, and never answered
 * wrongly; and names are answered again. Real clients besides: what their resolvers do differs more than their interfaces.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { privileged } from '../support/privileged.js'
import { sluiceRun, tempDirForAll } from '../support/sluice-run.js'
import { ALLOWED, DENIED, openTestNetwork, PORT, type TestNetwork } from '../support/test-network.js'
import { startUnbound, type Unbound } from '../support/unbound.js'

const { skip, reason } = privileged('bpf')
const GO_RESOLVER = fileURLToPath(new URL('../support/programs/go-resolver.py', import.meta.url))
const GETADDRINFO = fileURLToPath(new URL('../support/programs/getaddrinfo.c', import.meta.url))
const MUSL = '/usr/bin/musl-gcc'
const KILLS = 3
const BETWEEN_MS = 2_500

const POLICY = `version: 1
name: by-name
mode: enforce
egress:
  - host: "*.example.net"
    ports: [${PORT}]
    allow_private: [10.203.0.0/24, "fd00:5::/64"]
`
const MANY = 60
const ZONE = [
  `api A ${ALLOWED.v4}`,
  `api AAAA ${ALLOWED.v6}`,
  ...Array.from({ length: MANY }, (_, index) => `many A 10.203.0.${index + 10}`),
].join('\n')

/** Asks until a file is there, a right name and a wrong one in turns, and counts what came of it. */
const ASKS = `
import collections, errno, os, socket, struct, sys, time
def query(name):
    labels = b"".join(bytes([len(p)]) + p.encode() for p in name.split("."))
    return os.urandom(2) + struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0) + labels + b"\\0" + struct.pack(">HH", 1, 1)
def ask(name):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.3)
    q = query(name)
    try:
        s.sendto(q, ("192.0.2.1", 53)); a = s.recv(4096)
    except socket.timeout: return "silent"
    except OSError as e: return errno.errorcode[e.errno]
    finally: s.close()
    if a[:2] != q[:2] or a[12:12 + len(q) - 12] != q[12:]: return "WRONG"
    rcode, count = a[3] & 15, struct.unpack(">H", a[6:8])[0]
    if rcode or not count: return "rcode %d" % rcode
    return "right" if name.endswith("example.net") and count == 1 and a[-4:] == socket.inet_aton("${ALLOWED.v4}") else "WRONG"
counts, last = collections.Counter(), collections.deque(maxlen=20)
end = time.monotonic() + 300
while not os.path.exists(sys.argv[1]) and time.monotonic() < end:
    time.sleep(0.02)
    last.append(ask("api.example.net")); counts["api " + last[-1]] += 1
    counts["other " + ask("other.example.org")] += 1
    t = socket.socket(); t.settimeout(0.3)
    try: t.connect(("${DENIED.v4}", ${PORT})); counts["WRONG connected"] += 1
    except OSError: pass
    t.close()
print("right" in last); print("\\n".join("%s=%d" % item for item in sorted(counts.items())))
`

describe.skipIf(skip)(`a run whose names are asked for ${reason}`, () => {
  const dir = tempDirForAll()
  let network: TestNetwork
  let unbound: Unbound

  beforeAll(async () => {
    network = await openTestNetwork()
    const through = ['nsenter', `--net=${network.inside}`]
    unbound = await startUnbound({ 'example.net': ZONE, 'example.org': `other A ${DENIED.v4}` }, { through, port: 53 })
    writeFileSync(join(dir(), 'resolv.conf'), 'nameserver 127.0.0.1\n')
    writeFileSync(join(dir(), 'policy.yaml'), POLICY)
    writeFileSync(join(dir(), 'asks.py'), ASKS)
  }, 60_000)

  afterAll(async () => {
    await unbound?.stop()
    await network?.close()
  }, 60_000)

  const run = (command: readonly string[]) =>
    sluiceRun([...command], {
      options: ['--own', '--policy', join(dir(), 'policy.yaml')],
      through: [
        ...['nsenter', `--net=${network.inside}`, 'unshare', '--mount', 'sh', '-c'],
        `mount --bind ${join(dir(), 'resolv.conf')} /etc/resolv.conf && exec "$@"`,
        'sh',
      ],
    })

  /** Of the network that is this test's: no other run's. */
  const gateways = (): number[] => {
    const own = `net:[${statSync(network.inside).ino}]`
    return readdirSync('/proc').flatMap((name) => {
      try {
        const isGateway = readFileSync(`/proc/${Number(name)}/cmdline`, 'utf8').includes('dist/gateway/main.js')
        return isGateway && readlinkSync(`/proc/${name}/ns/net`) === own ? [Number(name)] : []
      } catch {
        return []
      }
    })
  }

  it('is never told anything wrong while its gateway is killed again and again, and is answered at the end', async () => {
    const stop = join(dir(), 'stop')
    const running = run(['python3', join(dir(), 'asks.py'), stop])
    const killed = new Set<number>()
    for (let count = 0; count < KILLS; count++) {
      for (let tries = 0; tries < 100 && gateways().every((pid) => killed.has(pid)); tries++) await sleep(100)
      await sleep(BETWEEN_MS)
      for (const pid of gateways()) {
        process.kill(pid, 'SIGKILL')
        killed.add(pid)
      }
    }
    await sleep(2 * BETWEEN_MS)
    writeFileSync(stop, '')
    const { stdout } = await running
    expect(killed.size).toBe(KILLS)
    const [last, ...lines] = stdout.split('\n')
    const counts = new Map(lines.map((line) => [line.split('=')[0], Number(line.split('=')[1])] as const))
    expect(last).toBe('True')
    expect([...counts.keys()].filter((what) => what?.includes('WRONG') || what === 'other right')).toEqual([])
    expect(counts.get('api right')).toBeGreaterThan(10)
    expect(counts.get('other rcode 5')).toBeGreaterThan(10)
    const unanswered = [...counts].filter(([what]) => what?.startsWith('api ') && what !== 'api right')
    expect(unanswered.reduce((sum, [, count]) => sum + count, 0)).toBeGreaterThan(0)
  }, 60_000)

  it('is answered as Go asks: both kinds at once, and by TCP what is cut off', async () => {
    const ask = (name: string) => `python3 ${GO_RESOLVER} 192.0.2.1 ${name}.example.net`
    const { stdout } = await run([
      'sh',
      '-c',
      `${ask('api')}; ${ask('many')}; python3 ${GO_RESOLVER} 2001:db8::53 api.example.net`,
    ])
    const both = [`udp 0 ${ALLOWED.v4}`, `udp 0 ${ALLOWED.v6}`]
    const all = Array.from({ length: MANY }, (_, index) => `10.203.0.${index + 10}`).sort()
    expect(stdout.split('\n')).toEqual([...both, `udp 0 ${all.join(' ')}`, 'udp 0', ...both])
  }, 60_000)

  it.skipIf(!existsSync(MUSL))(
    'is answered through musl, which takes no answer but from whom it asked',
    async () => {
      const program = join(dir(), 'getaddrinfo')
      execFileSync(MUSL, ['-static', '-o', program, GETADDRINFO])
      const { stdout } = await run(['sh', '-c', `${program} api.example.net; ${program} other.example.org`])
      const [refused, ...found] = stdout.split('\n').reverse()
      expect(found.sort()).toEqual([ALLOWED.v4, ALLOWED.v6].sort())
      expect(refused).toMatch(/Try again|does not resolve|Non-recoverable/i)
    },
    60_000,
  )
})

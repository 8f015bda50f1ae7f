/**
 * Names in monitor mode: nothing is redirected and nobody is refused; answers are read as they come by, so that the record has them, that
 * connections have a name, and that verdicts say what the policy would have done. A real resolver, in a network of the test's own.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ConnectJson, DnsJson, EventJson } from '../../src/proto/event-json.js'
import { privileged } from '../support/privileged.js'
import { sluiceRun, tempDirForAll } from '../support/sluice-run.js'
import { ALLOWED, DENIED, openTestNetwork, PORT, type TestNetwork } from '../support/test-network.js'
import { startUnbound, type Unbound } from '../support/unbound.js'

const { skip, reason } = privileged('bpf')

const POLICY = `version: 1
name: watched
mode: monitor
egress:
  - host: "*.example.net"
    ports: [${PORT}]
    allow_private: [10.203.0.0/24]
  - deny: {host: bad.example.net}
    reason: not this one
`

const MANY = 60
const ZONE = [
  `api A ${ALLOWED.v4}`,
  `api AAAA ${ALLOWED.v6}`,
  'alias CNAME api',
  `bad A ${DENIED.v4}`,
  ...Array.from({ length: MANY }, (_, index) => `many A 192.0.2.${index + 1}`),
].join('\n')

/** Connects to each name's address, and prints how it ended. */
const PROGRAM = `
import socket, sys
for target in sys.argv[1:]:
    try:
        address = socket.getaddrinfo(target, ${PORT}, socket.AF_INET, socket.SOCK_STREAM)[0][4]
        socket.create_connection(address, 3).close(); print(target, "connected")
    except OSError as e: print(target, e)
`

describe.skipIf(skip)(`a run that is only watched ${reason}`, () => {
  const dir = tempDirForAll()
  let network: TestNetwork
  let unbound: Unbound

  beforeAll(async () => {
    network = await openTestNetwork()
    const through = ['nsenter', `--net=${network.inside}`]
    const zones = { 'example.net': ZONE, 'example.org': `other A ${DENIED.v4}` }
    unbound = await startUnbound(zones, { through, port: 53 })
    writeFileSync(join(dir(), 'resolv.conf'), 'nameserver 127.0.0.1\n')
    writeFileSync(join(dir(), 'policy.yaml'), POLICY)
    writeFileSync(join(dir(), 'connects.py'), PROGRAM)
  }, 60_000)

  afterAll(async () => {
    await unbound?.stop()
    await network?.close()
  }, 60_000)

  const run = (command: readonly string[], options: readonly string[] = ['--policy', join(dir(), 'policy.yaml')]) =>
    sluiceRun([...command], {
      options: [...options],
      through: [
        ...['nsenter', `--net=${network.inside}`, 'unshare', '--mount', 'sh', '-c'],
        `mount --bind ${join(dir(), 'resolv.conf')} /etc/resolv.conf && exec "$@"`,
        'sh',
      ],
    })
  const dnsOf = (events: readonly EventJson[]): DnsJson[] =>
    events.flatMap((event) => ('dns' in event ? [event.dns] : []))
  const connectTo = (events: readonly EventJson[], address: string): ConnectJson | undefined =>
    events
      .flatMap((event) => ('connect' in event ? [event.connect] : []))
      .find((connect) => connect.address === address && connect.port === PORT)
  const connects = (...names: string[]) => ['python3', join(dir(), 'connects.py'), ...names]

  it('is told the names that it asked for, and would-deny by name', async () => {
    const names = ['alias.example.net', 'other.example.org']
    const { stdout, events } = await run(connects(...names))
    expect(stdout.split('\n')).toEqual(names.map((name) => `${name} connected`))
    const asked = new Map(dnsOf(events).map((dns) => [dns.name, dns]))
    expect(asked.get('alias.example.net')).toMatchObject({
      ...{ type: 'A', rcode: 'NOERROR', resolver: '127.0.0.1:53' },
      answers: ['CNAME api.example.net', ALLOWED.v4],
      verdict: { decision: 'ALLOW', rule: 'egress[0]', policy: 'watched', enforcedBy: 'none' },
    })
    expect(asked.get('other.example.org')?.verdict).toMatchObject({ decision: 'WOULD_DENY', rule: 'default' })
    const event = events.find((each) => 'dns' in each)
    expect(event).toMatchObject({ source: 'cgroup_skb/ingress', process: { exe: expect.stringMatching(/python/) } })
    expect(connectTo(events, ALLOWED.v4)).toMatchObject({
      hostname: 'alias.example.net',
      verdict: { decision: 'ALLOW', rule: 'egress[0]', enforcedBy: 'none' },
    })
    expect(connectTo(events, DENIED.v4)).toMatchObject({
      hostname: 'other.example.org',
      verdict: { decision: 'WOULD_DENY', rule: 'default' },
    })
    const queries = events.flatMap((each) => ('connect' in each && each.connect.port === 53 ? [each.connect] : []))
    expect(new Set(queries.map(({ verdict }) => `${verdict.decision} ${verdict.rule}`))).toEqual(new Set(['ALLOW dns']))
  }, 60_000)

  it('would be denied a name that a rule denies, and its address', async () => {
    const { stdout, events } = await run(connects('bad.example.net'))
    expect(stdout).toBe('bad.example.net connected')
    expect(dnsOf(events)[0]?.verdict).toMatchObject({
      decision: 'WOULD_DENY',
      rule: 'egress[1]',
      reason: 'not this one',
    })
    expect(connectTo(events, DENIED.v4)?.verdict.decision).toBe('WOULD_DENY')
  }, 60_000)

  it('is told what comes by TCP and over IPv6, an answer that is cut off, and one that there is not', async () => {
    const dig = (rest: string) => `dig +tries=1 +time=3 +short ${rest} > /dev/null`
    const asks = ['+tcp @127.0.0.1 api', '@::1 AAAA api', '+noedns @127.0.0.1 many', '@127.0.0.1 none']
    const script = asks.map((ask) => dig(ask.replace(/(\w+)$/, '$1.example.net'))).join('; ')
    const { events } = await run(['sh', '-c', script])
    const told = dnsOf(events).map(({ name, type, rcode, answers, resolver }) => [
      ...[name.split('.')[0], type, rcode, resolver, answers.length],
    ])
    expect(told).toEqual([
      ['api', 'A', 'NOERROR', '127.0.0.1:53', 1],
      ['api', 'AAAA', 'NOERROR', '[::1]:53', 1],
      ['many', 'A', 'NOERROR', '127.0.0.1:53', 0],
      ['many', 'A', 'NOERROR', '127.0.0.1:53', 32],
      ['none', 'A', 'NXDOMAIN', '127.0.0.1:53', 0],
    ])
    expect(events.filter((event) => 'gap' in event)).toEqual([])
  }, 60_000)

  it('is told names without any policy, too', async () => {
    const { events } = await run(connects('api.example.net'), [])
    expect(dnsOf(events)[0]).toMatchObject({ name: 'api.example.net', verdict: { decision: 'ALLOW', rule: 'none' } })
    expect(connectTo(events, ALLOWED.v4)).toMatchObject({ hostname: 'api.example.net', verdict: { rule: 'none' } })
  }, 60_000)

  it('that talks something else on port 53 shows as just that', async () => {
    const server = `import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.9", 53)); d,a=s.recvfrom(99); s.sendto(b"stolen", a)`
    const client = `import socket,time; time.sleep(0.5); c=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); c.settimeout(3); c.sendto(b"x",("127.0.0.9",53)); print(c.recv(99))`
    const { stdout, events } = await run(['sh', '-c', `python3 -c '${server}' & python3 -c '${client}'; wait`], [])
    expect(stdout).toBe("b'stolen'")
    expect(dnsOf(events)).toMatchObject([
      { name: '', rcode: 'UNREADABLE', type: '6 bytes over UDP', resolver: '127.0.0.9:53' },
    ])
  }, 60_000)
})

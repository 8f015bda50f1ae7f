/**
 * A run whose policy names hosts: the whole product, in a network of the test's own, before a recursive resolver. What a name leads to is
 * reached by that name's rule and no other way; looked at where it would arrive.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ConnectJson, DnsJson, EventJson } from '../../../src/proto/event-json.js'
import { privileged } from '../../support/privileged.js'
import { sluiceRun, tempDirForAll } from '../../support/sluice-run.js'
import { ALLOWED, DENIED, OTHER_PORT, openTestNetwork, PORT, type TestNetwork } from '../../support/test-network.js'
import { startUnbound, type Unbound } from '../../support/unbound.js'

const { skip, reason } = privileged('bpf')
const NEIGHBOURS = '10.203.0.0/24'

const POLICY = `version: 1
name: by-name
mode: enforce
egress:
  - host: "*.example.net"
    ports: [${PORT}]
    allow_private: [${NEIGHBOURS}]
  - host: public.example.net
    ports: [${PORT}]
  - deny: {host: bad.example.net}
    reason: this name is not to be asked for
`

const ZONE = [
  `api A ${ALLOWED.v4}`,
  `alias CNAME api`,
  `bad A ${DENIED.v4}`,
  'rebound 0 A 127.0.0.1',
  'meta A 169.254.169.254',
].join('\n')

/** As if a public resolver were a neighbour. */
const RESOLVER_ZONE = `www A ${ALLOWED.v4}\ndns A ${ALLOWED.v4}`

/** Sends its token by TCP to a name or an address, and prints how each try ended. */
const PROGRAM = `
import socket, sys, errno
def tries(target, port, token):
    try:
        s = socket.create_connection((target, int(port)), 3)
        s.sendall(token.encode()); s.close()
        return "sent"
    except socket.gaierror as e: return "no name"
    except OSError as e: return errno.errorcode.get(e.errno, str(e))
for each in sys.argv[1:]:
    target, port, token = each.split(",")
    print(target, tries(target, port, token))
`

describe.skipIf(skip)(`a run whose policy names hosts ${reason}`, () => {
  const dir = tempDirForAll()
  let network: TestNetwork
  let unbound: Unbound

  beforeAll(async () => {
    network = await openTestNetwork()
    const through = ['nsenter', `--net=${network.inside}`]
    unbound = await startUnbound(
      { 'example.net': ZONE, 'example.org': `other A ${ALLOWED.v4}`, 'quad9.net': RESOLVER_ZONE },
      { through, port: 53 },
    )
    writeFileSync(join(dir(), 'resolv.conf'), 'nameserver 127.0.0.1\n')
    writeFileSync(join(dir(), 'policy.yaml'), POLICY)
    writeFileSync(join(dir(), 'tries.py'), PROGRAM)
  }, 60_000)

  afterAll(async () => {
    await unbound?.stop()
    await network?.close()
  }, 60_000)

  const run = (
    command: readonly string[],
    given: { options?: readonly string[]; policy?: string; resolvConf?: string } = {},
  ) => {
    const { options = [], policy = 'policy.yaml', resolvConf = 'resolv.conf' } = given
    return sluiceRun([...command], {
      options: ['--policy', join(dir(), policy), ...options],
      through: [
        ...['nsenter', `--net=${network.inside}`, 'unshare', '--mount', 'sh', '-c'],
        `mount --bind ${join(dir(), resolvConf)} /etc/resolv.conf && exec "$@"`,
        'sh',
      ],
    })
  }
  const tries = (...each: string[]) => ['python3', join(dir(), 'tries.py'), ...each]
  const dnsOf = (events: readonly EventJson[]): DnsJson[] =>
    events.flatMap((event) => ('dns' in event ? [event.dns] : []))
  const connectsOf = (events: readonly EventJson[]): ConnectJson[] =>
    events.flatMap((event) => ('connect' in event ? [event.connect] : []))

  it('reaches an allowed name and its aliases, by that name and at its ports alone', async () => {
    const { stdout, events } = await run(
      tries(
        `${ALLOWED.v4},${PORT},early`,
        `api.example.net,${PORT},by-name`,
        `alias.example.net,${PORT},by-alias`,
        `${ALLOWED.v4},${OTHER_PORT},other-port`,
        `${DENIED.v4},${PORT},neighbour`,
      ),
    )
    expect(stdout.split('\n')).toEqual([
      `${ALLOWED.v4} EPERM`,
      'api.example.net sent',
      'alias.example.net sent',
      `${ALLOWED.v4} EPERM`,
      `${DENIED.v4} EPERM`,
    ])
    for (const token of ['by-name', 'by-alias']) expect(await network.arrives(ALLOWED.v4, token)).toBe(true)
    for (const token of ['early', 'other-port']) expect(network.hasArrived(ALLOWED.v4, token)).toBe(false)
    expect(network.hasArrived(DENIED.v4, 'neighbour')).toBe(false)
    expect(dnsOf(events).find(({ name, type }) => name === 'api.example.net' && type === 'A')).toMatchObject({
      ...{ rcode: 'NOERROR', answers: [ALLOWED.v4] },
      verdict: { decision: 'ALLOW', rule: 'egress[0]', policy: 'by-name', enforcedBy: 'gateway' },
    })
    const asked = connectsOf(events).find(({ port }) => port === 53)
    expect(asked).toMatchObject({
      address: '127.0.0.1',
      errno: 0,
      verdict: { decision: 'REDIRECT', rule: 'dns', enforcedBy: 'cgroup/connect' },
    })
    const sent = connectsOf(events).find(
      ({ address, verdict }) => address === ALLOWED.v4 && verdict.decision === 'ALLOW',
    )
    expect(sent).toMatchObject({
      port: PORT,
      hostname: 'api.example.net',
      verdict: { decision: 'ALLOW', rule: 'egress[0]' },
    })
  }, 60_000)

  it('is told no name that is denied, not named, or leads inside', async () => {
    const { stdout, events } = await run(
      tries(
        ...[
          'bad.example.net',
          'other.example.org',
          'rebound.example.net',
          'meta.example.net',
          'public.example.net',
        ].map((name) => `${name},${PORT},never`),
      ),
    )
    expect(stdout.split('\n').map((line) => line.split(' ').slice(1).join(' '))).toEqual(Array(5).fill('no name'))
    const told = new Map(dnsOf(events).flatMap(({ name, type, verdict }) => (type === 'A' ? [[name, verdict]] : [])))
    expect(told.get('bad.example.net')).toMatchObject({ decision: 'DENY', rule: 'egress[2]' })
    expect(told.get('bad.example.net')?.reason).toBe('this name is not to be asked for')
    expect(told.get('other.example.org')).toMatchObject({ decision: 'DENY', rule: 'default' })
    expect(told.get('rebound.example.net')?.reason).toMatch(/loopback/)
    expect(told.get('meta.example.net')?.reason).toMatch(/metadata/)
    expect([...network.arrived].some((line) => line.endsWith(' never'))).toBe(false)
  }, 60_000)

  it('asks no other resolver: by UDP and TCP the gateway answers, and DNS over TLS is refused', async () => {
    const script = [
      `dig +tries=1 +time=2 @${ALLOWED.v4} api.example.net +short`,
      `dig +tries=1 +time=2 +tcp @${DENIED.v4} api.example.net +short`,
      `dig +tries=1 +time=2 @${ALLOWED.v4} -p 853 +tcp api.example.net | grep -c 'permission denied'`,
      `dig +tries=1 +time=2 @${ALLOWED.v4} other.example.org | grep -o 'status: [A-Z]*'`,
    ].join('; ')
    const { stdout } = await run(['sh', '-c', script])
    expect(stdout.split('\n')).toEqual([ALLOWED.v4, ALLOWED.v4, '1', 'status: REFUSED'])
  }, 60_000)

  it('is told no name of a public resolver, and gets to none of its addresses, by rules that are wide enough for them', async () => {
    const status = (name: string) => `dig +tries=1 +time=2 @192.0.2.1 ${name} | grep -o 'status: [A-Z]*'`
    const script = `${status('www.quad9.net')}; ${status('dns.quad9.net')}; python3 ${join(dir(), 'tries.py')} 9.9.9.9,443,doh`
    const ask = async (more = '') => {
      const rules = `egress:\n  - host: "*.quad9.net"\n    allow_private: [${NEIGHBOURS}]\n  - cidr: 9.9.0.0/16\n    ports: [443]\n`
      writeFileSync(join(dir(), 'wide.yaml'), `version: 1\nname: wide\nmode: enforce\n${rules}${more}`)
      const { stdout, events } = await run(['sh', '-c', script], { policy: 'wide.yaml' })
      return { lines: stdout.split('\n'), dns: dnsOf(events) }
    }
    const wide = await ask()
    expect(wide.lines).toEqual(['status: NOERROR', 'status: REFUSED', '9.9.9.9 EPERM'])
    expect(wide.dns.find(({ name }) => name === 'dns.quad9.net')?.verdict).toMatchObject({
      decision: 'DENY',
      reason: expect.stringContaining('public resolver'),
    })
    const named = await ask(`  - host: dns.quad9.net\n    allow_private: [${NEIGHBOURS}]\n`)
    // Who is named is reached, by its addresses too: from here there is no way there.
    expect(named.lines).toEqual(['status: NOERROR', 'status: NOERROR', '9.9.9.9 ENETUNREACH'])
  }, 60_000)

  it('is answered by the gateway and refused nothing where the wire is only observed', async () => {
    writeFileSync(
      join(dir(), 'observed.yaml'),
      POLICY.replace('mode: enforce', 'mode: monitor\nwire: observe\ndns: {mode: observe}'),
    )
    const ask = (name: string) => `dig +tries=1 +time=2 @192.0.2.1 ${name} | grep -o 'status: [A-Z]*'`
    const script = `${ask('api.example.net')}; ${ask('other.example.org')}; python3 ${join(dir(), 'tries.py')} ${DENIED.v4},${PORT},observed`
    const { stdout, events } = await run(['sh', '-c', script], { policy: 'observed.yaml' })
    expect(stdout.split('\n')).toEqual(['status: NOERROR', 'status: NOERROR', `${DENIED.v4} sent`])
    expect(await network.arrives(DENIED.v4, 'observed')).toBe(true)
    expect(dnsOf(events).map(({ name, verdict }) => `${name} ${verdict.decision}`)).toEqual([
      'api.example.net ALLOW',
      'other.example.org WOULD_DENY',
    ])
  }, 60_000)

  it('is told names in a network namespace that it makes itself, and those of policy alone', async () => {
    const ask = (name: string) => `dig +tries=1 +time=2 @192.0.2.1 ${name} | grep -o 'status: [A-Z]*'`
    const inside = `ip link set lo up; sleep 1; ${ask('api.example.net')}; ${ask('other.example.org')}`
    const { stdout, events } = await run(['unshare', '--user', '--map-root-user', '--net', 'sh', '-c', inside])
    expect(stdout.split('\n')).toEqual(['status: NOERROR', 'status: REFUSED'])
    expect(dnsOf(events).map(({ name, verdict }) => `${name} ${verdict.decision}`)).toEqual([
      'api.example.net ALLOW',
      'other.example.org DENY',
    ])
  }, 60_000)

  it('is told no more names than its limit allows, and the record says how many were refused', async () => {
    writeFileSync(join(dir(), 'limited.yaml'), `${POLICY}limits:\n  dns: {rate: 1/min, burst: 4}\n`)
    const ask = "dig +tries=1 +time=2 @192.0.2.1 api.example.net | grep -o 'status: [A-Z]*'"
    const script = `for i in 1 2 3 4 5 6 7 8 9; do ${ask}; done; sleep 1`
    const { stdout, events } = await run(['sh', '-c', script], { policy: 'limited.yaml' })
    expect(stdout.split('\n').map((line) => line.slice('status: '.length))).toEqual([
      ...Array(4).fill('NOERROR'),
      ...Array(5).fill('REFUSED'),
    ])
    const hits = events.flatMap((event) => ('limitHit' in event ? [event.limitHit] : []))
    expect(hits.reduce((sum, { refused }) => sum + Number(refused), 0)).toBe(5)
    const verdict = { decision: 'DENY', rule: 'limits.dns', policy: 'by-name', enforcedBy: 'gateway' }
    expect(hits[0]).toMatchObject({ what: 'dns', refused: '1', verdict })
    expect(hits.length).toBeLessThanOrEqual(4)
    expect(dnsOf(events)).toHaveLength(4)
  }, 60_000)

  it('is answered by configured resolvers in place of the machine’s, and by those that it changes to', async () => {
    const ask = "dig +tries=1 +time=4 @192.0.2.1 api.example.net | grep -o 'status: [A-Z]*'"
    writeFileSync(join(dir(), 'nobody.conf'), 'nameserver 127.0.0.77\n')
    writeFileSync(join(dir(), 'config.yaml'), 'gateway: {resolvers: ["127.0.0.53"]}\n')
    const configured = await run(['sh', '-c', ask], {
      resolvConf: 'nobody.conf',
      options: ['--config', join(dir(), 'config.yaml')],
    })
    expect(configured.stdout).toBe('status: NOERROR')
    // As systemd-resolved writes it.
    const stub = 'nameserver 127.0.0.53\\noptions edns0 trust-ad\\nsearch .\\n'
    const script = `${ask}; printf '${stub}' > ${join(dir(), 'nobody.conf')}; sleep 3; ${ask}`
    const changed = await run(['sh', '-c', script], { resolvConf: 'nobody.conf' })
    expect(changed.stdout.split('\n')).toEqual(['status: SERVFAIL', 'status: NOERROR'])
  }, 60_000)

  it('refuses nothing and answers nothing itself with --mode monitor', async () => {
    const { stdout, events } = await run(tries(`other.example.org,${PORT},watched`), { options: ['--mode', 'monitor'] })
    expect(stdout).toBe('other.example.org sent')
    expect(await network.arrives(ALLOWED.v4, 'watched')).toBe(true)
    const told = dnsOf(events).filter(({ name }) => name === 'other.example.org')
    expect(new Set(told.map(({ verdict }) => `${verdict.decision} by ${verdict.enforcedBy}`))).toEqual(
      new Set(['WOULD_DENY by none']),
    )
  }, 60_000)
})

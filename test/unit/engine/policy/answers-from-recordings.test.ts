/** learn, replay and why: what a recording shows is what they say, and what it does not show is never allowed. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Context } from '../../../../src/engine/policy/commands/context.js'
import { learn } from '../../../../src/engine/policy/commands/learn.js'
import { replay } from '../../../../src/engine/policy/commands/replay.js'
import { why } from '../../../../src/engine/policy/commands/why.js'
import { Decision, Protocol, Via } from '../../../../src/proto/codec.js'
import { ENFORCE, findings, MONITOR } from './policies.js'
import { type Happened, recording, uidOf } from './recordings.js'

const {
  PROTOCOL_UDP: UDP,
  PROTOCOL_ICMP: ICMP,
  PROTOCOL_UNIX: UNIX,
  PROTOCOL_PACKET: PACKET,
  PROTOCOL_NETLINK: NETLINK,
} = Protocol
const { DECISION_DENY: DENY, DECISION_WOULD_DENY: WOULD_DENY } = Decision

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-record-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

interface Said {
  exitCode: number
  out: string[]
  err: string[]
}

async function said(ask: (context: Context) => Promise<number>): Promise<Said> {
  const [out, err]: string[][] = [[], []]
  const machine = { root: '/nonexistent', home: null, variables: {} }
  const exitCode = await ask({ machine, here: null, out: (line) => out?.push(line), err: (line) => err?.push(line) })
  return { exitCode, out: out ?? [], err: err ?? [] }
}

function policyFile(text: string, name = 'p.yaml'): string {
  const path = join(dir, name)
  writeFileSync(path, text)
  return path
}

const replayed = (policy: string, record: string) =>
  said((context) => replay({ policies: [policyFile(policy)], files: [record], json: false }, context))
const learnt = (...records: string[]) => said((context) => learn({ files: records, name: 'learnt' }, context))

const EXAMPLE: Happened[] = [
  { dns: { name: 'api.example.com', answers: ['93.184.216.34'] } },
  { connect: { address: '93.184.216.34', errno: 115, count: 3 } },
  { connect: { address: '93.184.216.34', port: 8443 } },
  { connect: { address: '203.0.113.9', port: 22, errno: 111 } },
  { connect: { address: '127.0.0.1', port: 5000 } },
  { listen: { port: 6000 } },
  { connect: { address: '127.0.0.1', port: 6000 } },
  { connect: { address: '10.0.0.2', port: 53, protocol: UDP, via: Via.VIA_SENDMSG } },
  { connect: { protocol: UNIX, address: '/run/app.sock', port: 0 } },
]

describe('replay', () => {
  it('says what would be denied, how often and why, and exits 3', async () => {
    const record = recording(dir, EXAMPLE)
    const { exitCode, out, err } = await replayed(`${ENFORCE}egress: [{host: api.example.com}]\n`, record)
    expect(exitCode).toBe(3)
    expect(out).toEqual([
      'now denied  127.0.0.1:5000/tcp  1×  local.listeners: what listens there is not the sandbox',
      'now denied  203.0.113.9:22/tcp  1×  default: no rule allows it',
      'now denied  api.example.com:8443/tcp  1×  default: no rule allows it',
      'now denied  unix /run/app.sock  1×  local.unix: no rule allows the socket',
    ])
    expect(err).toEqual(['p: of 10 attempts 4 would be denied that were not, 0 the other way round'])
  })

  it('exits 0 where everything that got through gets through', async () => {
    const policy = `${ENFORCE}egress:
  - {host: api.example.com, ports: [443, 8443]}
  - {cidr: 203.0.113.0/24, ports: [22]}
local: {listeners: any, unix: [/run/app.sock]}
`
    expect(await replayed(policy, recording(dir, EXAMPLE))).toMatchObject({ exitCode: 0, out: [] })
  })

  it('tells what a policy would open, and does not count it as a denial', async () => {
    const record = recording(dir, [
      { connect: { address: '203.0.113.9', decision: DENY, rule: 'default' } },
      { connect: { address: '203.0.113.8', decision: WOULD_DENY, rule: 'default' } },
    ])
    const { exitCode, out } = await replayed(`${ENFORCE}egress: [{cidr: 203.0.113.9/32}]\n`, record)
    expect(exitCode).toBe(0)
    expect(out).toEqual(['now allowed  203.0.113.9:443/tcp  1×  egress[0]'])
  })

  it('does not take an address for a name that only another session was given', async () => {
    const record = recording(dir, [
      { session: 'a', dns: { name: 'api.example.com', answers: ['93.184.216.34'] } },
      { session: 'b', connect: { address: '93.184.216.34' } },
    ])
    const { exitCode, out } = await replayed(`${ENFORCE}egress: [{host: api.example.com}]\n`, record)
    expect(exitCode).toBe(3)
    expect(out).toEqual([
      'now denied  93.184.216.34:443/tcp  1×  default: no rule allows the address, and the record has no name for it',
    ])
  })

  const NAMED: [title: string, text: string, denied: string[]][] = [
    [
      'a private answer',
      'egress: [{host: in.example.com}]',
      ['egress[0]: the name led to 10.9.9.9, which is inside; allow_private allows it'],
    ],
    ['a private answer that is meant', 'egress: [{host: in.example.com, allow_private: [10.9.0.0/16]}]', []],
    [
      'a name that is denied',
      'egress: [{host: .example.com, allow_private: [10.0.0.0/8]}, {deny: {host: in.example.com}, reason: no}]',
      ['egress[1]: no', 'egress[1]: no'],
    ],
    [
      'a range that is denied',
      'egress: [{host: in.example.com, allow_private: [10.0.0.0/8]}, {deny: {cidr: 10.9.9.0/24}, reason: not there}]',
      ['egress[1]: not there'],
    ],
  ]
  it.each(NAMED)('judges %s', async (_, text, denied) => {
    const record = recording(dir, [
      { dns: { name: 'in.example.com', answers: ['10.9.9.9'] } },
      { connect: { address: '10.9.9.9' } },
    ])
    const { out } = await replayed(`${ENFORCE}${text}\n`, record)
    expect(out.map((line) => line.replace(/^.*1× {2}/, '')).sort()).toEqual(denied)
  })

  it('denies what no rule can allow, and lets a mere socket and netlink be', async () => {
    const record = recording(dir, [
      { connect: { protocol: PACKET, address: '', via: Via.VIA_SOCKET } },
      { connect: { protocol: NETLINK, address: '0' } },
      { connect: { address: '', port: 0, via: Via.VIA_SOCKET } },
      { connect: { address: '169.254.169.254', port: 80 } },
      { connect: { protocol: ICMP, address: '203.0.113.9', port: 0 } },
    ])
    const { out } = await replayed(
      `${ENFORCE}egress: [{cidr: 0.0.0.0/0, ports: [1-65535]}, {cidr: 203.0.113.0/24, protocol: icmp}]\n`,
      record,
    )
    expect(out).toEqual([
      "now denied  169.254.169.254:80/tcp  1×  builtin.metadata: the cloud's metadata service gives out this machine's own credentials",
      'now denied  packet  1×  default: no rule can allow PACKET',
    ])
  })

  it('counts bad lines and goes on, and refuses a bad policy', async () => {
    const record = recording(dir, [{ connect: { address: '203.0.113.9' } }])
    appendFileSync(record, 'not json\n{"a":1}\n')
    const { err, exitCode } = await replayed(`${ENFORCE}egress: [{cidr: 203.0.113.9/32}]\n`, record)
    expect(exitCode).toBe(0)
    expect(err).toContain('sluice: 2 bad lines skipped')
    expect((await replayed(`${ENFORCE}egres: []\n`, record)).exitCode).toBe(1)
  })
})

describe('learn', () => {
  it('writes what was reached, with counts and times, and what it left out', async () => {
    const record = recording(dir, [
      ...EXAMPLE,
      { connect: { address: '169.254.169.254', port: 80 } },
      { connect: { address: '198.51.100.7', errno: 101 } },
      { connect: { address: '198.51.100.8', decision: DENY, rule: 'egress[4]' } },
      { connect: { protocol: UNIX, address: '/var/run/docker.sock', port: 0 } },
      { dns: { name: 'db.corp.example', answers: ['10.1.2.3'] } },
      { connect: { address: '10.1.2.3', port: 5432 } },
      { connect: { protocol: ICMP, address: '203.0.113.9', port: 0 } },
    ])
    const { exitCode, out, err } = await learnt(record)
    expect(exitCode).toBe(0)
    expect(
      `${out.join('\n')}\n`,
    ).toBe(`# Learnt from what was recorded: a proposal. What should not have happened is in it too: read it, then change the mode.
version: 1
name: learnt
mode: monitor
egress:
  # 4×, 2026-01-31T14:23:08Z to 2026-01-31T14:23:09Z
  - host: api.example.com
    ports: [443, 8443]
  # 1×, 2026-01-31T14:23:21Z
  - host: db.corp.example
    ports: [5432]
    allow_private: ["10.1.2.3/32"]
  # 1×, 2026-01-31T14:23:10Z; the record has no name for it
  - cidr: "203.0.113.9/32"
    ports: [22]
  # 1×, 2026-01-31T14:23:22Z; the record has no name for it
  - cidr: "203.0.113.9/32"
    protocol: icmp
local:
  unix:
    - "/run/app.sock" # 1×, 2026-01-31T14:23:15Z
# Left out:
#   /var/run/docker.sock: a container engine does work for others outside of the sandbox (1×, 2026-01-31T14:23:19Z)
#   127.0.0.1 5000/tcp: what listens there is not the sandbox; \`local: {listeners: any}\` would allow it, and all else on this machine (1×, 2026-01-31T14:23:11Z)
#   169.254.169.254 80/tcp: the cloud's metadata service gives out this machine's own credentials (1×, 2026-01-31T14:23:16Z)
#   198.51.100.7 443/tcp: it could not be reached (1×, 2026-01-31T14:23:17Z)
#   198.51.100.8 443/tcp: it was denied by egress[4] (1×, 2026-01-31T14:23:18Z)
`)
    expect(err.at(-1)).toBe('learnt 4 rules, left out 5; read it before you enforce it')
  })

  const named = (name: string, address: string): Happened[] => [
    { dns: { name, answers: [address] } },
    { connect: { address } },
  ]
  const many = (count: number, suffix: string) =>
    Array.from({ length: count }, (_, index) => named(`n${index}.${suffix}`, `93.184.216.${index + 1}`)).flat()

  it('makes one rule of names only where enough stand right beside each other', async () => {
    const rules = async (happened: Happened[]) =>
      (await learnt(recording(dir, happened))).out.filter((line) => /host:/.test(line))
    expect(await rules(many(5, 'example.com'))).toEqual(['  - host: "*.example.com"'])
    expect(await rules(many(4, 'example.com'))).toHaveLength(4)
    // Where strangers have names, and where anybody can register one.
    expect(await rules(many(6, 'github.io'))).toHaveLength(6)
    expect(await rules(many(6, 'com'))).toHaveLength(6)
  })

  it('says of which names a wildcard was made', async () => {
    const { out } = await learnt(recording(dir, many(10, 'example.com')))
    expect(out).toContain(
      '  # 10×, 2026-01-31T14:23:08Z to 2026-01-31T14:23:26Z; 10 names: n0, n1, n2, n3, n4, n5, n6, n7 and 2 more',
    )
  })

  const NAMES = [
    'a.example.com',
    'b.example.com',
    'c.d.example.com',
    'x.github.io',
    'db',
    'localhost',
    'evil\n- host: "*"',
    '*',
    'é.example',
    'a b',
  ]
  const ADDRESSES = ['93.184.216.1', '203.0.113.2', '10.1.1.1', '2a00:1450::1', 'fd00::1']
  const happened = fc.array(
    fc.oneof(
      fc.record({ dns: fc.record({ name: fc.constantFrom(...NAMES), answers: fc.subarray(ADDRESSES) }) }),
      fc.record({
        connect: fc.record({
          protocol: fc.constantFrom(Protocol.PROTOCOL_TCP, UDP, ICMP),
          address: fc.constantFrom(...ADDRESSES),
          port: fc.constantFrom(22, 443, 853, 8080, 65535),
        }),
      }),
      fc.record({
        connect: fc.record({
          protocol: fc.constant(UNIX),
          address: fc.constantFrom('/run/a.sock', '/tmp/b: #x', '/tmp/\'q"'),
        }),
      }),
    ),
    { maxLength: 30 },
  )

  it('allows all that it learnt from, and is a policy that is right', async () => {
    await fc.assert(
      fc.asyncProperty(happened, async (events) => {
        const record = recording(dir, events)
        const { exitCode, out } = await learnt(record)
        expect(exitCode).toBe(0)
        const text = `${out.join('\n')}\n`
        expect(findings(text).filter((line) => line.includes(' error: '))).toEqual([])
        const after = await replayed(text, record)
        expect(after.out.filter((line) => !line.includes('name '))).toEqual([])
      }),
      { numRuns: 25 },
    )
  })

  it('never writes a line that the recording chose', async () => {
    const odd = 'a\nmode: enforce\n# '
    const record = recording(dir, [
      { connect: { protocol: UNIX, address: `/run/${odd}`, port: 0 } },
      { connect: { protocol: UNIX, address: `@${odd}`, port: 0 } },
      { connect: { address: '203.0.113.1', hostname: odd } },
      { connect: { address: '203.0.113.2', decision: DENY, rule: odd } },
    ])
    const { out } = await learnt(record)
    expect(out.filter((line) => line.startsWith('mode:'))).toEqual(['mode: monitor'])
  })
})

describe('why', () => {
  const POLICY = `${MONITOR}egress:
  - host: "*.example.com"
    ports: [8443]
  - host: api.example.com
    binary: [/usr/bin/git]
  - cidr: 93.184.0.0/16
    ports: [22]
  - deny: {host: .example.com, ports: [443]}
    reason: not over HTTPS
`
  const ask = (index: number, record: string, policies: string[]) =>
    said((context) => why({ uid: uidOf(index), policies, files: [record], json: false }, context))

  it('shows the verdict, and every rule that was considered with its line', async () => {
    const record = recording(dir, EXAMPLE)
    const { exitCode, out } = await ask(1, record, [policyFile(POLICY)])
    expect(exitCode).toBe(0)
    expect(out).toEqual([
      '2026-01-31T14:23:08.000000000Z api.example.com:443/tcp by /usr/bin/curl',
      '  at 93.184.216.34',
      'recorded: ALLOW, there was no policy',
      '  egress[3] line 11 denies: .example.com has api.example.com: not over HTTPS',
      '  egress[0] line 5 does not apply: *.example.com has api.example.com, but not port 443/tcp',
      '  egress[1] line 7 does not apply: api.example.com has api.example.com, but only for /usr/bin/git, and this was /usr/bin/curl',
      '  egress[2] line 9 does not apply: 93.184.0.0/16 has 93.184.216.34, but not port 443/tcp',
      'p: DENY, egress[3]: not over HTTPS',
    ])
  })

  it('without a policy shows what was recorded, and how to see more', async () => {
    const { exitCode, out, err } = await ask(0, recording(dir, EXAMPLE), [])
    expect(exitCode).toBe(0)
    expect(out).toEqual([
      '2026-01-31T14:23:07.000000000Z name api.example.com by /usr/bin/curl',
      'recorded: ALLOW, there was no policy',
    ])
    expect(err).toEqual(['give the policy with --policy to see every rule that was considered'])
  })

  it('says that there is no such event', async () => {
    await expect(ask(99, recording(dir, EXAMPLE), [])).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining(uidOf(99)),
    })
  })
})

/**
 * kill -9 of an agent's parts, each and together, and of the agent itself, while a sandbox connects all the time: what its policy denies is
 * reached in no instant, what was leased goes on, new names are answered again, and events are told by the policy's own rules.
 */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ConnectJson, DnsJson, EventJson } from '../../../src/proto/event-json.js'
import { startTestAgent, type TestAgent } from '../../support/agent-process.js'
import { privileged } from '../../support/privileged.js'
import { isAlive, until } from '../../support/sluice-process.js'
import { readRecord, SLUICE_BIN, tempDirForAll } from '../../support/sluice-run.js'
import { ALLOWED, DENIED, openTestNetwork, PORT, type TestNetwork } from '../../support/test-network.js'
import { startUnbound, type Unbound } from '../../support/unbound.js'

const { skip, reason } = privileged('bpf')
const PROGRAM = fileURLToPath(new URL('../../support/programs/keeps_connecting.py', import.meta.url))
const NEIGHBOURS = '10.203.0.0/24'
const POLICY = `version: 1
name: by-name
mode: enforce
egress:
  - host: "*.example.net"
    ports: [${PORT}]
    allow_private: [${NEIGHBOURS}]
`
type Part = 'sensor' | 'engine' | 'gateway'
/** The agent itself, and with it all, is another agent's to go on. */
const KILLS: readonly (readonly (Part | 'agent')[])[] = [
  ['sensor'],
  ['engine'],
  ['gateway'],
  ['sensor', 'engine'],
  ['sensor', 'engine', 'gateway'],
  ['agent'],
  ['agent', 'sensor', 'engine', 'gateway'],
]

interface Try {
  readonly what: string
  readonly how: string
}

describe.skipIf(skip)(`restarts under a policy ${reason}`, () => {
  const dir = tempDirForAll()
  let network: TestNetwork
  let unbound: Unbound
  let agent: TestAgent

  beforeAll(async () => {
    network = await openTestNetwork()
    const through = ['nsenter', `--net=${network.inside}`]
    unbound = await startUnbound({ 'example.net': `* A ${ALLOWED.v4}` }, { through, port: 53 })
    writeFileSync(join(dir(), 'resolv.conf'), 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n')
    writeFileSync(join(dir(), 'policy.yaml'), POLICY)
  }, 60_000)

  afterAll(async () => {
    await unbound?.stop()
    await network?.close()
  }, 60_000)

  /** In the network of the test, with its resolver. */
  const under = () => [
    ...['nsenter', `--net=${network.inside}`, 'unshare', '--mount', 'sh', '-c'],
    `mount --bind ${join(dir(), 'resolv.conf')} /etc/resolv.conf && exec "$@"`,
    'sh',
  ]

  beforeEach(async () => {
    agent = await startTestAgent({ under: under() })
  }, 60_000)
  afterEach(async () => {
    await agent?.stop()
  }, 60_000)

  function startLoop() {
    const [stop, record] = [join(dir(), 'stop'), join(dir(), 'record.jsonl')]
    const denied = [DENIED.v4, DENIED.v6].join(',')
    const command = ['python3', PROGRAM, stop, 'example.net', ALLOWED.v4, denied, String(PORT)]
    const options = ['--socket', agent.socket, '--policy', join(dir(), 'policy.yaml'), '--record', record]
    const [program = '', ...before] = under()
    const child = spawn(program, [...before, SLUICE_BIN, 'run', ...options, '-q', '--', ...command], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
    return {
      tries(): Try[] {
        const lines = text.split('\n').slice(0, -1)
        return lines.map((line) => line.split(' ')).map(([what = '', , how = '']) => ({ what, how }))
      },
      async end(): Promise<{ exitCode: number | null; events: EventJson[] }> {
        writeFileSync(stop, '')
        const exitCode = await exited
        return { exitCode, events: readRecord(record) }
      },
    }
  }

  async function kill(parts: readonly (Part | 'agent')[]): Promise<void> {
    const before = agent.pids()
    const pids = parts.map((part) => (part === 'agent' ? (agent.child.pid ?? 0) : before[part]))
    for (const pid of pids) process.kill(pid, 'SIGKILL')
    if (parts.includes('agent')) {
      await agent.exited
      await until('its parts are gone', () => !Object.values(before).some(isAlive))
      agent = await startTestAgent({ after: agent, under: under() })
      return
    }
    await until('they are back', () => {
      const now = agent.pids()
      return parts.every((part) => part === 'agent' || (now[part] !== before[part] && isAlive(now[part])))
    })
  }

  function expectVerdicts(events: readonly EventJson[]): void {
    const connects = events.flatMap((event): ConnectJson[] => ('connect' in event ? [event.connect] : []))
    const sent = connects.filter(({ address, port }) => address === ALLOWED.v4 && port === PORT)
    expect(sent.length).toBeGreaterThan(50)
    const allows = sent.filter(({ verdict }) => verdict.decision === 'ALLOW')
    expect(new Set(allows.map(({ verdict }) => `${verdict.rule} of ${verdict.policy}`))).toEqual(
      new Set(['egress[0] of by-name']),
    )
    const denied = connects.filter(({ address }) => address === DENIED.v4 || address === DENIED.v6)
    expect(denied.length).toBeGreaterThan(50)
    expect(new Set(denied.map(({ verdict: { decision, rule, policy } }) => `${decision} ${rule} ${policy}`))).toEqual(
      new Set(['DENY default by-name']),
    )
    const asked = events.flatMap((event): DnsJson[] => ('dns' in event ? [event.dns] : []))
    // One that nobody could answer, as parts were away, has no rule.
    const answered = asked.filter(({ rcode }) => rcode === 'NOERROR')
    expect(new Set(answered.map(({ verdict }) => `${verdict.rule} of ${verdict.policy}`))).toEqual(
      new Set(['egress[0] of by-name']),
    )
  }

  it('open nothing that was denied, close nothing that is leased, and answer new names again', async () => {
    const loop = startLoop()
    const sentBy = (what: string) => loop.tries().filter((each) => each.what === what && each.how === 'sent').length
    const grows = async (when: string) => {
      const before = sentBy('name')
      await until(`names are answered ${when}`, () => sentBy('name') > before + 10)
    }
    await grows('at first')
    const first = loop.tries().findIndex(({ what, how }) => what === 'leased' && how === 'sent')
    for (const parts of KILLS) {
      await kill(parts)
      await grows(`after the end of ${parts.join(', ')}`)
    }
    const { exitCode, events } = await loop.end()
    expect(exitCode).toBe(0)
    const tries = loop.tries()
    expect(new Set(tries.filter(({ what }) => what === 'denied').map(({ how }) => how))).toEqual(new Set(['EPERM']))
    expect([...network.arrived].filter((line) => line.includes('never'))).toEqual([])
    const leased = tries.slice(first).filter(({ what }) => what === 'leased')
    expect(new Set(leased.map(({ how }) => how))).toEqual(new Set(['sent']))
    expectVerdicts(events)
  }, 240_000)
})

/**
 * An agent whose disk is full, whose spool was removed and whose sink's certificate has expired: what is denied is denied and what is found is found, each
 * fault is an event and a number, and when it is put right everything arrives without a restart.
 */
import { execFileSync } from 'node:child_process'
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EventJson } from '../../src/proto/event-json.js'
import { startTestAgent, type TestAgent, withLogOf } from '../support/agent-process.js'
import { type Authority, makeAuthority } from '../support/certificates.js'
import { freePort } from '../support/free-port.js'
import { type Answering, httpReceiver, type Receiver, reply } from '../support/http-receiver.js'
import { patient } from '../support/patience.js'
import { privileged } from '../support/privileged.js'
import { type SluiceRun, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const WAIT = { timeout: patient(60_000), interval: 100 }
/** A sink that failed for long waits for up to a minute before it tries again. */
const ARRIVAL = { timeout: patient(120_000), interval: 100 }
const TEST_MS = patient(400_000)
const DISK_BYTES = 4 * 1024 * 1024
const POLICY = 'version: 1\nname: shut\nmode: enforce\nallow_brokers: true\negress: []\n'
/** A secret is read, and an attempt is made to reach somebody. */
const COMMAND = `import socket
open("/etc/shadow").close()
try: socket.create_connection(("198.51.100.7", 81), 1)
except OSError: pass
`

describe.skipIf(skip)(`an agent whose events stay where they are ${reason}`, () => {
  let agent: TestAgent
  let receiver: Receiver
  let authority: Authority
  let metrics = 0
  const seen = new Set<string>()
  const told: string[] = []
  let disk = ''
  const answering: Answering = ({ body }, answer) => {
    for (const event of eventsOf(body)) if (!seen.has(event.uid)) take(event)
    reply(answer, 200)
  }
  const take = (event: EventJson) => {
    seen.add(event.uid)
    if ('detection' in event && event.detection.detector === 'delivery') told.push(event.detection.title)
  }
  const inFile = () => eventsOf(readOr(join(agent.dir, 'out', 'events.jsonl')))
  const toldInFile = () =>
    inFile().flatMap((event) =>
      'detection' in event && event.detection.detector === 'delivery' ? [event.detection] : [],
    )
  const files = (name: string, days: number) => {
    const { cert, key } = authority.sign(name, { san: 'IP:127.0.0.1', days })
    return { cert: readFileSync(cert), key: readFileSync(key) }
  }
  const number = async (line: string) => {
    const response = await fetch(`http://127.0.0.1:${metrics}/metrics`)
    const found = (await response.text()).split('\n').find((each) => each.startsWith(`${line} `))
    return found === undefined ? null : Number(found.slice(line.length + 1))
  }
  const failing = (part: string) => number(`sluice_failing{part="${part}"}`)

  beforeAll(async () => {
    metrics = await freePort()
    const port = await freePort()
    agent = await startTestAgent({
      config(dir) {
        for (const name of ['out', 'certs', 'disk']) mkdirSync(join(dir, name))
        // The engine's user writes there.
        chmodSync(join(dir, 'out'), 0o777)
        execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES},mode=755`, 'tmpfs', join(dir, 'disk')])
        disk = join(dir, 'disk')
        authority = makeAuthority(join(dir, 'certs'))
        const batch = { seconds: 0.2 }
        const lines = { type: 'file', path: join(dir, 'out', 'events.jsonl'), batch }
        const web = { type: 'http', url: `https://127.0.0.1:${port}/`, tls: { ca: authority.ca }, batch }
        return {
          sinks: { lines, web },
          spool: { dir: join(dir, 'disk', 'spool') },
          metrics: { listen: `127.0.0.1:${metrics}` },
        }
      },
    })
    receiver = await httpReceiver(answering, files('old', -1), port)
  })
  afterAll(async () => {
    if (disk !== '') execFileSync('umount', ['-l', disk])
    await agent?.stop()
    await receiver?.close()
  })

  const arrived = ({ events }: SluiceRun) =>
    expect.poll(() => events.filter(({ uid }) => !seen.has(uid)).length, ARRIVAL).toBe(0)

  /** Denied and found, whatever else is the matter. */
  const heldAndWatched = async (): Promise<SluiceRun> =>
    withTempDir(async (dir) => {
      const policy = join(dir, 'policy.yaml')
      writeFileSync(policy, POLICY)
      const run = await sluiceRun(['python3', '-c', COMMAND], {
        options: ['--socket', agent.socket, '--policy', policy],
      })
      const { events } = run
      expect(events.some((event) => 'connect' in event && event.connect.verdict.decision === 'DENY')).toBe(true)
      expect(events.some((event) => 'detection' in event && event.detection.detector === 'secret_access')).toBe(true)
      return run
    })

  test(
    'goes on through an expired certificate, a full disk and a spool that was removed',
    () => withLogOf(agent, faultsAndTheirEnds),
    TEST_MS,
  )

  async function faultsAndTheirEnds(): Promise<void> {
    const first = await heldAndWatched()
    await expect.poll(() => toldInFile().map(({ title }) => title), WAIT).toContain('the sink web fails')
    expect(toldInFile()[0]?.reason).toMatch(/expired/)
    expect(await failing('sink:web')).toBe(1)
    expect(await failing('sink:lines')).toBe(0)
    const { port } = receiver
    await receiver.close()
    receiver = await httpReceiver(answering, files('new', 2), port)

    const ballast = join(disk, 'ballast')
    // What the spool gives back by itself is taken, too.
    const fill = () => orFull(() => appendFileSync(ballast, Buffer.alloc(64 * 1024)))
    while (fill());
    await expect
      .poll(() => {
        fill()
        return failing('spool')
      }, WAIT)
      .toBe(1)
    const second = await heldAndWatched()
    rmSync(ballast)
    await expect.poll(() => failing('spool'), WAIT).toBe(0)

    // Before what is for the other sink goes with it.
    await arrived(first)
    await arrived(second)
    for (const log of ['', '-wal', '-shm']) rmSync(join(disk, 'spool', `spool.db${log}`), { force: true })
    await expect.poll(() => number('sluice_spool_faults_total'), WAIT).toBeGreaterThan(1)
    const third = await heldAndWatched()

    await arrived(third)
    await expect.poll(() => failing('sink:web'), WAIT).toBe(0)
    await expect.poll(() => told, WAIT).toContain('the sink web works again')
  }
})

function eventsOf(lines: string): EventJson[] {
  return lines
    .slice(0, lines.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as EventJson)
}

function readOr(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}

/** False: there is no room left. */
function orFull(write: () => void): boolean {
  try {
    write()
    return true
  } catch {
    return false
  }
}

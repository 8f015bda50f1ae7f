/**
 * An agent whose events go to a real server of NATS: the stream has every event of a run once and in order, though the server and the process that
 * runs the sinks are killed meanwhile.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestAgent, type TestAgent } from '../support/agent-process.js'
import { compileC } from '../support/c-program.js'
import { NatsServer } from '../support/nats-server.js'
import { patient } from '../support/patience.js'
import { privileged } from '../support/privileged.js'
import { childrenOf, commandLine, until } from '../support/sluice-process.js'
import { SLUICE_BIN, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const EXECS = 150
const WAIT = { timeout: patient(60_000), interval: 100 }

describe.skipIf(skip)(`an agent and a server of NATS ${reason}`, () => {
  let dir = ''
  let agent: TestAgent
  let server: NatsServer
  const sluice = (...args: string[]) => execa(SLUICE_BIN, [...args, '--config', agent.config], { reject: false })
  const sinksProcess = () =>
    until('the sinks run', () =>
      childrenOf(agent.child.pid ?? 0).find((pid) => commandLine(pid).includes('/dist/sinks/main.js')),
    )
  const listed = async () => (await sluice('sinks', 'ls')).stdout

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-nats-'))
    server = await NatsServer.start(join(dir, 'nats'))
    const batch = { events: 100, seconds: 0.2 }
    const fleet = {
      type: 'nats',
      servers: [server.url],
      cluster: 'test',
      stream: { create: true },
      timeoutSeconds: 2,
      batch,
    }
    agent = await startTestAgent({ config: { sinks: { fleet } } })
  })
  afterAll(async () => {
    await agent?.stop()
    await server?.stop()
    rmSync(dir, { recursive: true, force: true })
  })

  test('leaves it every event of a run once, in order, though both are killed in the middle', async () => {
    expect(await sluice('sinks', 'test')).toMatchObject({ exitCode: 0, stdout: 'fleet: a test event arrived' })
    await withTempDir(async (place) => {
      const storm = compileC('storm', place)
      const running = sluiceRun([storm, 'execs', String(EXECS)], { options: ['--socket', agent.socket] })
      await delivered(100)
      process.kill(await sinksProcess(), 'SIGKILL')
      await delivered(400)
      await server.stop('SIGKILL')
      await server.begin()
      process.kill(await sinksProcess(), 'SIGKILL')
      const { events, exitCode } = await running
      expect(exitCode).toBe(0)
      const session = events[0]?.sessionId
      const ofRun = async () =>
        (await server.messages()).filter(({ subject }) => subject.endsWith(`.${session}`) && subject.includes('.test.'))
      const lacks = async () => {
        const there = new Set((await ofRun()).flatMap(({ uids }) => uids))
        return events.filter(({ uid }) => !there.has(uid)).length
      }
      await expect.poll(lacks, WAIT).toBe(0)
      const got = (await ofRun()).filter(({ subject }) => subject.startsWith('sluice.ev.')).flatMap(({ uids }) => uids)
      const wanted = events.filter((event) => !('detection' in event || 'response' in event || 'quarantine' in event))
      expect(got).toEqual(wanted.map(({ uid }) => uid))
    })
    await expect.poll(listed, WAIT).toMatch(/^fleet nats OK behind=\d+ delivered=\d+ filtered=0 failures=\d+ dead=0$/m)
  })

  /** By what the stream has. */
  const delivered = (count: number) =>
    expect.poll(async () => (await server.messages()).flatMap(({ uids }) => uids).length, WAIT).toBeGreaterThan(count)
})

/**
 * An agent whose events go to librdkafka's mock of Kafka: the topic has every event of a run, in order, though the process that runs the sinks is killed
 * meanwhile; what comes twice is of batches that were underway.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestAgent, type TestAgent } from '../support/agent-process.js'
import { compileC } from '../support/c-program.js'
import { KafkaBroker, TOPIC } from '../support/kafka-broker.js'
import { patient } from '../support/patience.js'
import { privileged } from '../support/privileged.js'
import { childrenOf, commandLine, until } from '../support/sluice-process.js'
import { SLUICE_BIN, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const EXECS = 150
const BATCH = 100
const KILLS = 2
const WAIT = { timeout: patient(60_000), interval: 100 }

describe.skipIf(skip)(`an agent and a broker of Kafka ${reason}`, () => {
  let dir = ''
  let agent: TestAgent
  let broker: KafkaBroker
  const sluice = (...args: string[]) => execa(SLUICE_BIN, [...args, '--config', agent.config], { reject: false })
  const sinksProcess = () =>
    until('the sinks run', () =>
      childrenOf(agent.child.pid ?? 0).find((pid) => commandLine(pid).includes('/dist/sinks/main.js')),
    )
  const listed = async () => (await sluice('sinks', 'ls')).stdout

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-kafka-'))
    broker = await KafkaBroker.start()
    const batch = { events: BATCH, seconds: 0.2 }
    const bus = { type: 'kafka', brokers: [broker.address], topic: TOPIC, timeoutSeconds: 2, batch }
    agent = await startTestAgent({ config: { sinks: { bus } } })
  })
  afterAll(async () => {
    await agent?.stop()
    await broker?.stop()
    rmSync(dir, { recursive: true, force: true })
  })

  test('leaves it every event of a run, in order, though what sends them is killed in the middle', async () => {
    expect(await sluice('sinks', 'test')).toMatchObject({ exitCode: 0, stdout: 'bus: a test event arrived' })
    await withTempDir(async (place) => {
      const storm = compileC('storm', place)
      const running = sluiceRun([storm, 'execs', String(EXECS)], { options: ['--socket', agent.socket] })
      for (const count of [100, 300]) {
        await expect.poll(async () => (await broker.messages()).length, WAIT).toBeGreaterThan(count)
        process.kill(await sinksProcess(), 'SIGKILL')
      }
      const { events, exitCode } = await running
      expect(exitCode).toBe(0)
      const session = events[0]?.sessionId
      const ofRun = async () =>
        (await broker.messages()).filter(({ key }) => key === session).map(({ payload }) => JSON.parse(payload).uid)
      const wanted = events.map(({ uid }) => uid)
      const known = new Set(wanted)
      const firsts = async () => [...new Set(await ofRun())].filter((uid) => known.has(uid))
      await expect.poll(async () => (await firsts()).length, WAIT).toBe(wanted.length)
      expect(await firsts()).toEqual(wanted)
      const got = await ofRun()
      expect(got.length - new Set(got).size).toBeLessThanOrEqual(KILLS * BATCH)
    })
    await expect.poll(listed, WAIT).toMatch(/^bus kafka OK behind=\d+ delivered=\d+ filtered=0 failures=\d+ dead=0$/m)
  })
})

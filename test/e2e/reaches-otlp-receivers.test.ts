/**
 * An agent whose events go to a receiver of OTLP over gRPC, and to one over HTTP that is added while it runs: each has every event of a run, in order, though the process that runs the sinks
 * is killed meanwhile and the first receiver fails; what comes twice is of batches that were underway.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { status } from '@grpc/grpc-js'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestAgent, type TestAgent } from '../support/agent-process.js'
import { compileC } from '../support/c-program.js'
import type { OtlpRecord } from '../support/otlp-messages.js'
import { type OtlpReceiver, otlpReceiver } from '../support/otlp-receiver.js'
import { patient } from '../support/patience.js'
import { privileged } from '../support/privileged.js'
import { childrenOf, commandLine, until } from '../support/sluice-process.js'
import { SLUICE_BIN, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const EXECS = 60
const BATCH = 40
const WAIT = { timeout: patient(60_000), interval: 50 }

describe.skipIf(skip)(`an agent and receivers of OTLP ${reason}`, () => {
  let agent: TestAgent
  const got = { grpc: [] as OtlpRecord[], http: [] as OtlpRecord[] }
  const receivers: OtlpReceiver[] = []
  const sluice = (...args: string[]) => execa(SLUICE_BIN, [...args, '--config', agent.config], { reject: false })
  const sinksProcess = () =>
    until('the sinks run', () =>
      childrenOf(agent.child.pid ?? 0).find((pid) => commandLine(pid).includes('/dist/sinks/main.js')),
    )
  const batch = { events: BATCH, seconds: 0.2 }
  const listen = async (transport: 'grpc' | 'http') => {
    let asked = 0
    const receiver = await otlpReceiver(transport, ({ records }) => {
      // `sinks test` is first, and asks once.
      if (++asked % 5 === 0) return { grpc: status.UNAVAILABLE, http: 503, retryMs: 0 }
      got[transport].push(...records)
      return {}
    })
    receivers.push(receiver)
    return { type: 'otlp', transport, url: receiver.url, timeoutSeconds: 5, batch }
  }
  const ofSession = (way: 'grpc' | 'http', session: string | undefined) =>
    got[way]
      .filter(({ attributes }) => attributes['session.id'] === session)
      .map(({ attributes }) => attributes['log.record.uid'])

  beforeAll(async () => {
    agent = await startTestAgent({ config: { sinks: { collector: await listen('grpc') } } })
  })
  afterAll(async () => {
    await agent?.stop()
    for (const receiver of receivers) await receiver.close()
  })

  test('leaves it every event of a run, in order, though what sends them is killed in the middle', async () => {
    expect(await sluice('sinks', 'test')).toMatchObject({ exitCode: 0, stdout: 'collector: a test event arrived' })
    await withTempDir(async (place) => {
      const storm = compileC('storm', place)
      const running = sluiceRun([storm, 'execs', String(EXECS)], { options: ['--socket', agent.socket] })
      await expect.poll(() => got.grpc.length, WAIT).toBeGreaterThan(BATCH)
      process.kill(await sinksProcess(), 'SIGKILL')
      const { events, exitCode } = await running
      expect(exitCode).toBe(0)
      const session = events[0]?.sessionId
      const wanted = events.map(({ uid }) => uid)
      const known = new Set<unknown>(wanted)
      const firsts = () => [...new Set(ofSession('grpc', session))].filter((uid) => known.has(uid))
      await expect.poll(() => firsts().length, WAIT).toBe(wanted.length)
      expect(firsts()).toEqual(wanted)
      const all = ofSession('grpc', session)
      expect(all.length - new Set(all).size).toBeLessThanOrEqual(BATCH)
    })
    const listed = async () => (await sluice('sinks', 'ls')).stdout
    await expect
      .poll(listed, WAIT)
      .toMatch(/^collector otlp OK behind=\d+ delivered=\d+ filtered=0 failures=\d+ dead=0$/m)
  })

  test('sends to one that is added while it runs', async () => {
    const config = JSON.parse(readFileSync(agent.config, 'utf8'))
    const vendor = await listen('http')
    writeFileSync(agent.config, JSON.stringify({ ...config, sinks: { ...config.sinks, vendor } }))
    const before = await sinksProcess()
    agent.child.kill('SIGHUP')
    await until('the sinks are others', () => (childrenOf(agent.child.pid ?? 0).includes(before) ? null : true))
    const { events } = await sluiceRun(['/bin/true'], { options: ['--socket', agent.socket] })
    const wanted = events.map(({ uid }) => uid)
    await expect
      .poll(() => wanted.every((uid) => ofSession('http', events[0]?.sessionId).includes(uid)), WAIT)
      .toBe(true)
    expect((await sluice('sinks', 'ls')).stdout).toMatch(/^vendor otlp /m)
  })
})

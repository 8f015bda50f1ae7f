/**
 * An agent with sinks: every event of a run arrives at a receiver that fails and in a file, though the engine and the process that runs the sinks are
 * killed meanwhile; and the commands of `sluice sinks`.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestAgent, type TestAgent } from '../support/agent-process.js'
import { type PostedAlert, strictAlerts } from '../support/alertmanager.js'
import { compileC } from '../support/c-program.js'
import { httpReceiver, type Receiver, reply } from '../support/http-receiver.js'
import { privileged } from '../support/privileged.js'
import { childrenOf, commandLine, until } from '../support/sluice-process.js'
import { SLUICE_BIN, sluiceRun, withTempDir } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const EXECS = 150
/** As an agent that is stuck does it. */
const LOOP = 'for i in 1 2 3 4 5 6; do sh -c "grep -c root /etc/passwd > /dev/null"; done; :'

describe.skipIf(skip)(`an agent with sinks ${reason}`, () => {
  let agent: TestAgent
  let receiver: Receiver
  const seen: string[] = []
  const alerts: PostedAlert[] = []
  let asked = 0
  let fails = true
  const out = () => join(agent.dir, 'out')
  const file = () => join(out(), 'events.jsonl')
  const fileUids = (path = file()) =>
    existsSync(path)
      ? readFileSync(path, 'utf8')
          .split('\n')
          .slice(0, -1)
          .map((line) => JSON.parse(line).uid as string)
      : []
  const sinks = (dir: string) => ({
    lines: { type: 'file', path: join(dir, 'out', 'events.jsonl'), batch: { seconds: 0.2 } },
    web: { type: 'http', url: `http://127.0.0.1:${receiver.port}/`, batch: { events: 250, seconds: 0.2 } },
  })
  const sluice = (...args: string[]) => execa(SLUICE_BIN, [...args, '--config', agent.config], { reject: false })
  const process_ = (main: string) =>
    until(`there is ${main}`, () =>
      childrenOf(agent.child.pid ?? 0).find((pid) => commandLine(pid).includes(`/dist/${main}.js`)),
    )

  beforeAll(async () => {
    receiver = await httpReceiver((asking, answer, request) => {
      const { path, body } = asking
      if (path === '/api/v2/alerts') {
        alerts.push(...strictAlerts(asking))
        return reply(answer, 200)
      }
      asked++
      if (fails && asked % 5 === 0) return void request.socket.destroy()
      seen.push(
        ...body
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line).uid as string),
      )
      reply(answer, 200)
    })
    agent = await startTestAgent({
      config(dir) {
        mkdirSync(join(dir, 'out'))
        // The engine's user writes there.
        chmodSync(join(dir, 'out'), 0o777)
        return { sinks: sinks(dir) }
      },
    })
  })
  afterAll(async () => {
    await agent?.stop()
    await receiver?.close()
  })

  test('sends every event of a run, though engine and sinks are killed in the middle', async () => {
    await withTempDir(async (dir) => {
      const storm = compileC('storm', dir)
      const first = await process_('engine/main')
      const running = sluiceRun([storm, 'execs', String(EXECS)], { options: ['--socket', agent.socket] })
      await until('some have arrived', () => seen.length > 20)
      process.kill(await process_('sinks/main'), 'SIGKILL')
      process.kill(first, 'SIGKILL')
      const { events, exitCode } = await running
      expect(exitCode).toBe(0)
      const wanted = events.map(({ uid }) => uid)
      // Quick: the receiver is in this process.
      const lacks = (uids: readonly string[]) => {
        const there = new Set(uids)
        return wanted.filter((uid) => !there.has(uid))
      }
      await until('the receiver has them', () => lacks(seen).length === 0)
      await until('the file has them', () => lacks(fileUids()).length === 0)
      // What was underway when the sinks were killed, and no more.
      expect(seen.length - new Set(seen).size).toBeLessThanOrEqual(250)
      expect(fileUids().length - new Set(fileUids()).size).toBeLessThanOrEqual(500)
      // What the node signed is among them: the file is a witness against its journal.
      const sealed = `"sessionId":"${events[0]?.sessionId}"`
      const isSealed = (line: string) =>
        line.includes('"checkpoint":') && line.includes(sealed) && line.includes('"isSeal":true')
      await until('the file has the seal', () => readFileSync(file(), 'utf8').split('\n').some(isSealed))
      const verified = await sluice('sessions', 'verify', String(events[0]?.sessionId), '--witness', file())
      expect(verified.stdout).toMatch(/SEALED: .*[1-9][0-9]* checkpoints of the witness fit/)
      expect(verified.exitCode).toBe(0)
    })
  })

  test('lists its sinks, and tries them', async () => {
    const listed = async () => (await sluice('sinks', 'ls')).stdout.split('\n')
    const lines = await listed()
    expect(lines[0]).toMatch(/^lines file OK behind=\d+ delivered=\d+ filtered=0 failures=0 dead=0$/)
    expect(lines[1]).toMatch(/^web http (OK|FAILING) behind=/)
    fails = false
    expect(await sluice('sinks', 'test')).toMatchObject({
      exitCode: 0,
      stdout: 'lines: a test event arrived\nweb: a test event arrived',
    })
    expect(await sluice('sinks', 'test', 'none')).toMatchObject({ exitCode: 2 })
    expect(await sluice('sinks', 'replay-dead', 'web')).toMatchObject({
      exitCode: 0,
      stdout: 'web: nothing was refused',
    })
  })

  test('takes other sinks when it is told to read them anew, and none that have a mistake', async () => {
    const config = JSON.parse(readFileSync(agent.config, 'utf8'))
    const other = join(out(), 'other.jsonl')
    writeFileSync(agent.config, JSON.stringify({ ...config, sinks: { other: { type: 'filee', path: other } } }))
    agent.child.kill('SIGHUP')
    await until('the mistake is told', () =>
      agent.log().some(({ msg }) => msg.startsWith('the sinks stay as they are')),
    )
    // Nothing is wrong with the text, and still they can't be started: that does not keep others from it.
    const secret = join(agent.dir, 'no-such-token')
    const web = { type: 'http', url: `http://127.0.0.1:${receiver.port}/`, tokenFile: secret }
    writeFileSync(agent.config, JSON.stringify({ ...config, sinks: { web } }))
    agent.child.kill('SIGHUP')
    await until('it is told', () => agent.log().some(({ error }) => String(error).includes(secret)))
    const oncall = { type: 'alertmanager', url: `http://127.0.0.1:${receiver.port}`, labels: { cluster: 'test' } }
    writeFileSync(agent.config, JSON.stringify({ ...config, sinks: { other: { type: 'file', path: other }, oncall } }))
    agent.child.kill('SIGHUP')
    const anew = ({ msg, sinks }: Record<string, unknown>) =>
      msg === 'the sinks were read anew' && JSON.stringify(sinks) === '["other","oncall"]'
    await until('they are read anew', () => agent.log().some(anew))
    const { events } = await sluiceRun(['bash', '-c', LOOP], { options: ['--socket', agent.socket] })
    await until('it has the run', () => {
      const uids = fileUids(other)
      return events.every(({ uid }) => uids.includes(uid))
    })
    const found = events.find((event) => 'detection' in event)
    await until('somebody is told', () => alerts.some(({ annotations }) => annotations.alert === found?.uid))
    const labels = { cluster: 'test', detector: 'loop', severity: 'medium', session: events[0]?.sessionId }
    expect(alerts.find(({ annotations }) => annotations.alert === found?.uid)).toMatchObject({ labels })
    expect(await sluice('sinks', 'test', 'oncall')).toMatchObject({ stdout: 'oncall: a test event arrived' })
    expect(await sluice('sinks', 'test', 'web')).toMatchObject({ exitCode: 2 })
  })
})

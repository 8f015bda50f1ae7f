/**
 * A sensor and an engine that know each other by certificates alone, with TCP between them: the whole path from the kernel to the record,
 * a network that fails in the middle of it, and others who would speak on it.
 */
import { spawn } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ABI_VERSION } from '../../src/engine/kernel-facts.js'
import { ConnectRequest, encodeBuffer, type IHello } from '../../src/proto/codec.js'
import { connectUplinkTls, loadTlsIdentity } from '../../src/proto/rpc.js'
import { compileC } from '../support/c-program.js'
import { execs, exits, expectComplete, expectGapless, gaps } from '../support/events.js'
import { privileged } from '../support/privileged.js'
import { NODE, type Part, type RemoteParts, remoteParts } from '../support/remote-parts.js'
import { until } from '../support/sluice-process.js'
import { SLUICE_BIN, sluiceRun } from '../support/sluice-run.js'

const { skip, reason } = privileged('bpf')
const EXECS = 1_500
const CUTS = 3
const DEADLINE_MS = 5_000

describe.skipIf(skip)(`a sensor whose engine is reached over TLS ${reason}`, () => {
  let parts: RemoteParts
  let engine: Part
  let sensor: Part
  beforeAll(async () => {
    parts = await remoteParts()
    // It watches before there is an engine.
    sensor = await parts.startSensor()
    await sensor.said('no engine yet')
    engine = await parts.startEngine()
    await engine.said('sensor connected')
  })
  afterAll(async () => {
    await parts?.stop()
  })
  const through = () => ['--socket', parts.socket]

  test('says once why there is no engine, and goes on without', () => {
    const lines = sensor.log().filter(({ msg }) => msg === 'no engine yet')
    expect(lines.length).toBeLessThanOrEqual(2)
    expect(lines[0]?.why).toMatch(/^(?:nothing listens at|the engine at) 127\.0\.0\.1:\d+/)
    expect(lines[0]?.hint).not.toBe('')
  })

  test('gives a run its whole record, and events live', async () => {
    const live = spawn(SLUICE_BIN, ['events', '-f', '-o', 'json', ...through()], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let shown = ''
    live.stdout.on('data', (chunk: Buffer) => {
      shown += chunk.toString()
    })
    try {
      // A watch begins when it is taken, of which there is no sign from outside but an event.
      for (let tries = 0; tries < 20 && shown === ''; tries++) await sluiceRun(['true'], { options: through() })
      const run = await sluiceRun(['sh', '-c', '/bin/true far; exit 7'], { options: through() })
      expect(run.exitCode).toBe(7)
      expectComplete(run.events)
      expect(execs(run.events).map(({ process }) => process.args[0])).toEqual(['sh', '/bin/true'])
      expect(new Set(run.events.map(({ node }) => node?.name))).toEqual(new Set([NODE]))
      await until('the live event', () => /"args":\["\/bin\/true","far"\]/.test(shown))
    } finally {
      live.kill('SIGTERM')
    }
  })

  test('loses nothing and sends nothing twice when the connection is cut in the middle', async () => {
    const storm = compileC('storm', parts.dir)
    const running = sluiceRun([storm, 'execs', String(EXECS)], { options: through() })
    const made = parts.proxy.made()
    for (let cut = 0; cut < CUTS; cut += 1) {
      const before = parts.proxy.carried()
      await until('bytes go over', () => parts.proxy.carried() > before + 20_000)
      parts.proxy.cut(true)
      await sleep(100)
      parts.proxy.unblock()
    }
    const { events, exitCode } = await running
    expect(exitCode).toBe(0)
    expect(parts.proxy.made() - made).toBeGreaterThanOrEqual(CUTS - 1)
    expectGapless(events)
    expect(gaps(events)).toEqual([])
    expect(new Set(events.map(({ uid }) => uid)).size).toBe(events.length)
    expect(execs(events)).toHaveLength(EXECS + 1)
    expect(exits(events)).toHaveLength(EXECS + 1)
    await until('the sink of the engine has them', () => {
      const text = existsSync(parts.sink) ? readFileSync(parts.sink, 'utf8') : ''
      const there = new Set(
        text
          .split('\n')
          .slice(0, -1)
          .map((line) => JSON.parse(line).uid),
      )
      return events.every(({ uid }) => there.has(uid))
    })
  })

  test('is the only one, and no other node speaks for it', async () => {
    const otherNode = parts.authority.sign('node-b', { san: 'DNS:node-b' })
    const impostor = await say(parts.address(), otherNode, { nodeName: NODE })
    expect(impostor).toBe(
      `the engine does not take this sensor: it says that it is node ${NODE}, and its certificate is for DNS:node-b`,
    )
    expect(await say(parts.address(), otherNode, { nodeName: 'node-b' })).toBe(
      `the engine does not take this sensor: another sensor is connected, that of node ${NODE}`,
    )
    const refusals = await until('both refusals are written down', () => {
      const lines = engine.log().filter(({ names }) => names === 'DNS:node-b')
      return lines.length === 2 && lines
    })
    expect(refusals.map(({ level, msg, address }) => [level, msg, address])).toEqual(
      Array(2).fill(['error', 'refused a caller', '127.0.0.1']),
    )
    expect((await sluiceRun(['/bin/true'], { options: through() })).exitCode).toBe(0)
  })

  test('does not come back with a certificate that has been replaced by one for another node', async () => {
    const files = parts.authority.sign(NODE, { san: 'DNS:node-z' })
    parts.proxy.cut()
    const line = await until('the sensor says so', () =>
      sensor.log().find(({ why }) => String(why).includes('not for this node')),
    )
    expect(line.why).toBe(`the certificate ${files.cert} is for DNS:node-z, not for this node, ${NODE}`)
    parts.authority.sign(NODE, { san: `DNS:${NODE}` })
    await sensor.said('the engine is back')
    await until('a run is taken again', () => engine.log().at(-1)?.msg === 'sensor connected')
    expect((await sluiceRun(['/bin/true'], { options: through() })).exitCode).toBe(0)
  })
})

describe.skipIf(skip)(`an engine with a sensor on another machine ${reason}`, () => {
  let parts: RemoteParts
  beforeAll(async () => {
    parts = await remoteParts()
    await parts.startEngine()
  })
  afterAll(async () => {
    await parts?.stop()
  })

  test('starts no run here: its pids mean other processes there', async () => {
    const files = parts.authority.sign(NODE, { san: `DNS:${NODE}` })
    const call = await connectUplinkTls({ address: parts.address() }, loadTlsIdentity(files), DEADLINE_MS)
    const commands: unknown[] = []
    const welcomed = new Promise<void>((resolve) =>
      call.onMessage((message) => {
        if (message.welcome) resolve()
        if (message.command) commands.push(message.command)
      }),
    )
    call.send(encodeBuffer(ConnectRequest, { hello: helloOf({ nodeName: NODE, bootId: 'another boot' }) }))
    await welcomed
    const run = await sluiceRun(['/bin/true'], { options: ['--socket', parts.socket] })
    expect(run.exitCode).toBe(125)
    expect(run.stderr).toContain(`the sensor is on the node ${NODE}; runs can be started there alone`)
    expect(commands).toEqual([])
    call.end()
  })
})

describe.skipIf(skip)(`a part that can't reach the other ${reason}`, () => {
  test.each(['engine', 'sensor'])('is refused where its end of the uplink is not right: %s', async (role) => {
    const parts = await remoteParts()
    try {
      const files = parts.authority.sign('some', { san: 'DNS:some' })
      const config = join(parts.dir, 'bad.yaml')
      const start = async (content: unknown) => {
        writeFileSync(config, JSON.stringify(content))
        const { exitCode, stderr } = await execa(SLUICE_BIN, [role, '--config', config], { reject: false })
        return { exitCode, lines: stderr.split('\n').filter((line) => line.startsWith('sluice: ')) }
      }
      const agent = { runtimeDir: join(parts.dir, 'bad'), pinDir: join(parts.dir, 'bpf', 'bad') }
      const uplink = { address: '127.0.0.1:1', ...files }
      expect(await start({ agent })).toMatchObject({
        exitCode: 2,
        lines: [expect.stringContaining(`the configuration has no ${role}.uplink`)],
      })
      chmodSync(files.key, 0o644)
      const open = await start({ agent, [role]: { uplink } })
      expect(open.exitCode).toBe(1)
      expect(open.lines).toEqual([expect.stringContaining(`the key ${files.key} may be read by others than root`)])
      chmodSync(files.key, 0o600)
      const malformed = await start({ agent, [role]: { uplink: { ...uplink, address: 'nowhere' } } })
      expect(malformed.exitCode).not.toBe(0)
      expect(malformed.lines).toEqual([
        expect.stringMatching(role === 'engine' ? /is no address/ : /not for this node/),
      ])
    } finally {
      await parts.stop()
    }
  })
})

/** What the engine says to a sensor that begins so. */
async function say(address: string, files: Parameters<typeof loadTlsIdentity>[0], hello: IHello): Promise<string> {
  const call = await connectUplinkTls({ address }, loadTlsIdentity(files), DEADLINE_MS)
  return new Promise((resolve) => {
    call.onMessage((message) => resolve(JSON.stringify(message)))
    call.onEnd((error) => resolve(error?.message ?? 'ended'))
    call.send(encodeBuffer(ConnectRequest, { hello: helloOf(hello) }))
  })
}

function helloOf(hello: IHello): IHello {
  return { abiVersion: ABI_VERSION, bootId: 'boot', instance: 'x', stream: 'y', ...hello }
}

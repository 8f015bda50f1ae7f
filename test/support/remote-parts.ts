/** `sluice engine` and `sluice sensor` of a test's own, joined over loopback by a proxy that can be cut, with certificates of their own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LogLine } from './agent-process.js'
import { mountOwnBpfFs } from './bpf-fs.js'
import { type Authority, makeAuthority } from './certificates.js'
import { type CuttingProxy, cuttingProxy } from './cutting-proxy.js'
import { isAlive, until } from './sluice-process.js'
import { SLUICE_BIN } from './sluice-run.js'

export const NODE = 'node-a'
const TEST_SECONDS = 100

export interface Part {
  readonly child: ChildProcess
  log(): LogLine[]
  /** A line whose message begins so. */
  said(text: string): Promise<LogLine>
  stop(): Promise<number | null>
}

export interface RemoteParts {
  readonly dir: string
  readonly socket: string
  readonly authority: Authority
  readonly proxy: CuttingProxy
  /** What the engine's sink has, as lines. */
  readonly sink: string
  /** Where the engine listens, behind the proxy; once it runs. */
  address(): string
  startEngine(): Promise<Part>
  startSensor(): Promise<Part>
  stop(): Promise<void>
}

export async function remoteParts(): Promise<RemoteParts> {
  const dir = mkdtempSync('/tmp/sluice-remote-')
  chmodSync(dir, 0o755)
  const runtimeDir = join(dir, 'run')
  const bpfFs = mountOwnBpfFs(dir)
  const authority = makeAuthority(dir)
  const engineTls = authority.sign('engine', { san: 'IP:127.0.0.1' })
  const sensorTls = authority.sign(NODE, { san: `DNS:${NODE}` })
  let port = 0
  const out = join(dir, 'out')
  mkdirSync(out)
  // The engine's user writes there.
  chmodSync(out, 0o777)
  const sink = join(out, 'events.jsonl')
  const sinks = { lines: { type: 'file', path: sink, batch: { seconds: 0.2 } } }
  const proxy = await cuttingProxy(() => port)
  const config = join(dir, 'config.yaml')
  const parts: Part[] = []
  const write = () => {
    const engine = { uplink: { address: `127.0.0.1:${port}`, ...engineTls, nodes: [NODE, 'node-b'] } }
    const sensor = { nodeName: NODE, uplink: { address: `127.0.0.1:${proxy.port}`, ...sensorTls } }
    writeFileSync(config, JSON.stringify({ agent: { runtimeDir, pinDir: bpfFs.pinDir }, engine, sensor, sinks }))
  }
  const started = (role: string): Part => {
    write()
    const part = startPart(role, config)
    parts.push(part)
    return part
  }
  return {
    ...{ dir, sink, authority, proxy, socket: join(runtimeDir, 'control.sock'), address: () => `127.0.0.1:${port}` },
    async startEngine() {
      const part = started('engine')
      port = Number((await part.said('sensors may connect')).port)
      return part
    },
    async startSensor() {
      const part = started('sensor')
      await part.said('the sensor is ready')
      return part
    },
    async stop() {
      for (const part of parts.reverse()) await part.stop()
      proxy.close()
      bpfFs.unmount()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

function startPart(role: string, config: string): Part {
  const child = spawn('timeout', ['-s', 'TERM', String(TEST_SECONDS), SLUICE_BIN, role, '--config', config], {
    stdio: ['ignore', 'inherit', 'pipe'],
  })
  let text = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const log = () =>
    text
      .slice(0, text.lastIndexOf('\n') + 1)
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as LogLine)
  return {
    ...{ child, log },
    said: (words) =>
      until(`the ${role} says: ${words}`, () => {
        if (child.exitCode !== null) throw new Error(`the ${role} ended: ${text}`)
        return log().find(({ msg }) => msg.startsWith(words))
      }),
    async stop() {
      if (isAlive(child.pid ?? 0)) child.kill('SIGTERM')
      return exited
    },
  }
}

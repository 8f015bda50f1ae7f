/** A `sluice agent` of a test's own: with a runtime folder, a socket and groups of its own, so that others on the machine don't matter. */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mountOwnBpfFs, ownBpfFs } from './bpf-fs.js'
import { isAlive, until } from './sluice-process.js'
import { SLUICE_BIN, withTempDir } from './sluice-run.js'

export type LogLine = Record<string, unknown> & { msg: string }

export interface TestAgent {
  readonly child: ChildProcess
  readonly dir: string
  readonly socket: string
  readonly config: string
  /** What it and its roles have logged so far; lines that are no JSON are an error. */
  log(): LogLine[]
  /** As they are now. */
  pids(): { sensor: number; engine: number; gateway: number }
  exited: Promise<{ code: number | null; signal: string | null }>
  stop(): Promise<{ code: number | null; signal: string | null }>
}

export interface TestAgentOptions {
  /** Keys of the configuration's `agent`. */
  agent?: Record<string, unknown>
  /** Other keys of the configuration, or what makes them for the folder that is the test's. */
  config?: Record<string, unknown> | ((dir: string) => Record<string, unknown>)
  args?: string[]
  env?: NodeJS.ProcessEnv
  /** A command that starts the agent, which is appended. */
  under?: readonly string[]
  /** One that died: this one takes its place, folders, pins and all, and cleans up for both. */
  after?: TestAgent
}

const LOG_LINES_SHOWN = 40

/** Resolves when it is ready; rejects with what it said when it does not start. */
export async function startTestAgent(options: TestAgentOptions = {}): Promise<TestAgent> {
  // Others must reach the socket, and its path be short.
  const dir = options.after?.dir ?? mkdtempSync('/tmp/sluice-agent-')
  chmodSync(dir, 0o755)
  const config = join(dir, 'config.yaml')
  const runtimeDir = join(dir, 'run')
  const bpfFs = options.after === undefined ? mountOwnBpfFs(dir) : ownBpfFs(dir)
  const more = typeof options.config === 'function' ? options.config(dir) : options.config
  writeFileSync(config, JSON.stringify({ ...more, agent: { runtimeDir, pinDir: bpfFs.pinDir, ...options.agent } }))
  const command = [...(options.under ?? []), SLUICE_BIN, 'agent', '--config', config, ...(options.args ?? [])]
  const child = spawn(command[0] ?? '', command.slice(1), {
    stdio: ['ignore', 'inherit', 'pipe'],
    ...(options.env === undefined ? {} : { env: { ...process.env, ...options.env } }),
  })
  let text = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  const exited = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.once('exit', (code, signal) => resolve({ code, signal })),
  )
  const log = () =>
    text
      .slice(0, text.lastIndexOf('\n') + 1)
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as LogLine)
  const lastPid = (part: string) => {
    const first = log().find((line) => line.msg === 'the agent is ready')?.[part]
    const again = log().findLast((line) => line.part === part && line.started !== undefined)?.started
    return Number(again ?? first ?? 0)
  }
  const cleanUp = () => {
    // One that took its place has cleaned up for both.
    if (!existsSync(dir)) return
    bpfFs.unmount()
    rmSync(dir, { recursive: true, force: true })
  }
  const agent: TestAgent = {
    ...{ child, dir, config, exited, log, socket: join(runtimeDir, 'control.sock') },
    pids: () => ({ sensor: lastPid('sensor'), engine: lastPid('engine'), gateway: lastPid('gateway') }),
    async stop() {
      if (isAlive(child.pid ?? 0)) child.kill('SIGTERM')
      const how = await exited
      cleanUp()
      return how
    },
  }
  let ready = false
  const gone = exited.then(() => {
    if (ready) return
    cleanUp()
    throw new Error(`the agent did not start: ${text}`)
  })
  gone.catch(() => {})
  await Promise.race([until('the agent is ready', () => text.includes('"the agent is ready"')), gone])
  ready = true
  return agent
}

/** What went wrong in `body` can't be asked for afterwards: its error has what the agent said last. */
export async function withLogOf(agent: TestAgent, body: () => Promise<void>): Promise<void> {
  try {
    await body()
  } catch (error) {
    const said = agent.log().slice(-LOG_LINES_SHOWN)
    if (error instanceof Error)
      error.message += `; the agent said\n${said.map((line) => JSON.stringify(line)).join('\n')}`
    throw error
  }
}

/** An agent and a folder of the test's own, which are gone afterwards. */
export async function withAgent(body: (agent: TestAgent, dir: string) => Promise<void>): Promise<void> {
  const agent = await startTestAgent()
  try {
    await withLogOf(agent, () => withTempDir((dir) => body(agent, dir)))
  } finally {
    await agent.stop()
  }
}

/**
 * A real server of NATS for a test: a process of its own on loopback, with what it stores in a folder of the test's. It can be killed, stopped in its tracks and
 * started again with the same port and store. Where setup unpacked it, or where the system has it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { connect as connectSocket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { type JetStreamManager, jetstreamManager, type StreamConfig } from '@nats-io/jetstream'
import { type ConnectionOptions, connect } from '@nats-io/transport-node'
import { freePort } from './free-port.js'
import { patient } from './patience.js'

const UNPACKED = fileURLToPath(new URL('../../build/receivers/usr/sbin/nats-server', import.meta.url))
const READY_MS = patient(20_000)
const STEP_MS = 20
const SUBJECTS = ['sluice.ev.>', 'sluice.al.>']

export interface NatsMessage {
  readonly subject: string
  readonly id: string
  header(name: string): string
  /** What is in it, line by line. */
  readonly lines: readonly string[]
  readonly uids: readonly string[]
}

export class NatsServer {
  readonly port: number
  private readonly folder: string
  private child: ChildProcess | null = null
  private said = ''

  private constructor(folder: string, port: number) {
    this.folder = folder
    this.port = port
  }

  /** @param settings besides those of the port and the store, as its configuration file has them */
  static async start(folder: string, settings = ''): Promise<NatsServer> {
    mkdirSync(folder, { recursive: true })
    const server = new NatsServer(folder, await freePort())
    await server.begin(settings)
    return server
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`
  }

  get pid(): number {
    return this.child?.pid ?? 0
  }

  /** With the same port and store. */
  async begin(settings = ''): Promise<void> {
    const config = join(this.folder, 'nats.conf')
    const store = `jetstream { store_dir: "${join(this.folder, 'store')}" }`
    writeFileSync(config, `listen: "127.0.0.1:${this.port}"\n${store}\n${settings}\n`)
    const child = spawn(existsSync(UNPACKED) ? UNPACKED : 'nats-server', ['-c', config], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.child = child
    child.once('error', () => {})
    child.stderr.on('data', (chunk: Buffer) => {
      this.said = `${this.said}${chunk}`.slice(-4_096)
    })
    const deadline = performance.now() + READY_MS
    while (!this.said.includes('Server is ready') || !(await this.listens())) {
      if (child.exitCode !== null || child.pid === undefined || performance.now() > deadline) {
        await this.stop()
        throw new Error(`nats-server did not start: ${this.said}; does \`npm run setup\` say what is missing?`)
      }
      await sleep(STEP_MS)
    }
  }

  /** Resolves when it is gone. */
  async stop(signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    const { child } = this
    this.child = null
    this.said = ''
    if (child === null || child.pid === undefined || child.exitCode !== null) return
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    child.kill(signal)
    await gone
  }

  async manage<T>(work: (manager: JetStreamManager) => Promise<T>, options: ConnectionOptions = {}): Promise<T> {
    const connection = await connect({ servers: `127.0.0.1:${this.port}`, ...options })
    try {
      return await work(await jetstreamManager(connection, { checkAPI: false }))
    } finally {
      await connection.close()
    }
  }

  async addStream(more: Partial<StreamConfig> = {}, options: ConnectionOptions = {}): Promise<void> {
    await this.manage((manager) => manager.streams.add({ name: 'sluice', subjects: SUBJECTS, ...more }), options)
  }

  /** All that is in the stream, in its order. */
  async messages(options: ConnectionOptions = {}, name = 'sluice'): Promise<NatsMessage[]> {
    return this.manage(async ({ streams }) => {
      const { state } = await streams.info(name)
      const found: NatsMessage[] = []
      for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
        const stored = await streams.getMessage(name, { seq })
        if (stored === null) continue
        const header = (key: string) => stored.header.get(key)
        const lines = gunzipSync(stored.data).toString('utf8').split('\n').slice(0, -1)
        const uids = lines.map((line) => JSON.parse(line).uid as string)
        found.push({ subject: stored.subject, id: header('Nats-Msg-Id'), header, lines, uids })
      }
      return found
    }, options)
  }

  private listens(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connectSocket(this.port, '127.0.0.1', () => {
        socket.destroy()
        resolve(true)
      })
      socket.once('error', () => resolve(false))
    })
  }
}

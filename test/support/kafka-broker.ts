/**
 * A broker of Kafka for a test: librdkafka's mock cluster in a process of its own, kcat, behind a front with one address. It keeps what it gets in memory: one that was killed begins empty.
 * What is in it is read by kcat as well, which shares no code with what writes there. Where setup unpacked it, or where the system has it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { type KafkaFront, type KafkaFrontOptions, kafkaFront } from './kafka-front.js'
import { patient } from './patience.js'
import { LIBRARY_PATH, UNPACKED } from './receiver-places.js'

const PROGRAM = join(UNPACKED, 'usr/bin/kcat')
const KCAT = existsSync(PROGRAM) ? PROGRAM : 'kcat'
const ENV = { LD_LIBRARY_PATH: LIBRARY_PATH }
const READY_MS = patient(20_000)
const STEP_MS = 20
const OUTPUT_BYTES_MAX = 256 * 1024 * 1024
export const TOPIC = 'events'

export interface KafkaMessage {
  readonly partition: number
  readonly offset: number
  readonly key: string
  readonly payload: string
  /** Names and values in turns. */
  readonly headers: readonly string[]
}

export class KafkaBroker {
  private readonly front: KafkaFront
  private readonly current: { port: number }
  private child: ChildProcess | null = null

  private constructor(front: KafkaFront, current: { port: number }) {
    this.front = front
    this.current = current
  }

  static async start(more: Partial<KafkaFrontOptions> = {}): Promise<KafkaBroker> {
    const current = { port: 1 }
    const front = await kafkaFront({ target: () => current.port, topic: TOPIC, ...more })
    const broker = new KafkaBroker(front, current)
    await broker.begin()
    return broker
  }

  get address(): string {
    return `127.0.0.1:${this.front.port}`
  }

  get pid(): number {
    return this.child?.pid ?? 0
  }

  /** Empty, at the same address. */
  async begin(): Promise<void> {
    // A producer with nothing to say: it has the cluster as long as nobody ends its input.
    const args = ['-P', '-b', 'none:1', '-t', TOPIC, '-X', 'test.mock.num.brokers=1', '-X', 'debug=mock']
    const child = spawn(KCAT, args, { env: { ...process.env, ...ENV }, stdio: ['pipe', 'ignore', 'pipe'] })
    this.child = child
    let [said, port] = ['', 0]
    child.once('error', () => {})
    child.stderr.on('data', (chunk: Buffer) => {
      if (port !== 0) return
      said = `${said}${chunk}`.slice(-4_096)
      port = Number(/bootstrap\.servers=127\.0\.0\.1:(\d+)\b/.exec(said)?.[1] ?? 0)
    })
    const deadline = performance.now() + READY_MS
    while (port === 0) {
      if (child.exitCode !== null || child.pid === undefined || performance.now() > deadline) {
        await this.kill()
        throw new Error(`kcat did not start: ${said}; does \`npm run setup\` say what is missing?`)
      }
      await sleep(STEP_MS)
    }
    this.current.port = port
    // Whoever asks for a topic by name makes it here.
    await this.kcat('-L', '-t', TOPIC)
  }

  /** Resolves when it is gone. */
  async kill(): Promise<void> {
    const { child } = this
    this.child = null
    if (child === null || child.pid === undefined || child.exitCode !== null) return
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    child.kill('SIGKILL')
    await gone
  }

  async stop(): Promise<void> {
    this.front.close()
    await this.kill()
  }

  /** All that is there; those of a partition in their order. */
  async messages(): Promise<KafkaMessage[]> {
    const text = await this.kcat('-C', '-t', TOPIC, '-o', 'beginning', '-e', '-q', '-J')
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as KafkaMessage)
  }

  private async kcat(...args: string[]): Promise<string> {
    const reading = execa(KCAT, ['-b', `127.0.0.1:${this.current.port}`, ...args], {
      ...{ env: ENV, maxBuffer: OUTPUT_BYTES_MAX, timeout: READY_MS, stripFinalNewline: false, stdin: 'ignore' },
    })
    return (await reading).stdout
  }
}

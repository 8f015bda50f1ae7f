/**
 * The sensor's own process, with the test at the other end of its uplink: what it says is collected, and commands are given to it as an
 * engine would. Everything of it (sockets, locks, pins) is in folders of the test's own.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createLog } from '../../src/base/log.js'
import { type KindCounters, walkFrame } from '../../src/engine/frame-walk.js'
import {
  CommandResult,
  fromBigInt,
  Hello,
  type ICommand,
  type IConnectResponse,
  type IKernelEvent,
  KernelEvent,
  Running,
  SandboxState,
  toBigInt,
} from '../../src/proto/codec.js'
import { serveUnix, type UplinkServerCall } from '../../src/proto/rpc.js'
import { type Role, startRole } from '../../src/supervise/role.js'
import { SELF } from './control-handler.js'
import { patient } from './patience.js'

const READY_DEADLINE_MS = patient(20_000)
/** To its engine. */
const CONNECT_MS = patient(10_000)
const SPOOL_BYTES = 16 * 1024 * 1024
const RESULT_DEADLINE_MS = patient(45_000)
const STEP_MS = 5
const CLOSE_MS = 500
const MAIN = new URL('../../dist/sensor/main.js', import.meta.url)
const RING_BYTES = { priority: 1024 * 1024, bulk: 1024 * 1024 }

/** What all sensors that connected to one socket said, in order. */
export interface Heard {
  readonly hellos: Hello[]
  readonly events: KernelEvent[]
  readonly results: CommandResult[]
  readonly announced: SandboxState[]
  readonly gone: string[]
  /** Processes that were said to run. */
  readonly running: IKernelEvent[]
  /** Sandboxes of which a watermark let something out before they were announced; of use only where all are. */
  readonly unannounced: Set<bigint>
  /** Latest of each kind. */
  readonly losses: Map<number, Omit<KindCounters, 'kind'>>
  /** What was dropped of each sandbox, by its id and kind. */
  readonly sandboxLosses: Map<string, bigint>
}

export interface SensorHost {
  readonly heard: Heard
  readonly uplinkSocket: string
  /** Carries out a command on the sensor that is connected; throws the error it answers with. */
  command(command: Omit<ICommand, 'id'>): Promise<CommandResult>
  close(): Promise<void>
}

/** Listens for sensors, as an engine does. */
export async function hostSensors(dir: string): Promise<SensorHost> {
  const heard: Heard = {
    hellos: [],
    events: [],
    results: [],
    announced: [],
    gone: [],
    running: [],
    unannounced: new Set(),
    losses: new Map(),
    sandboxLosses: new Map(),
  }
  const uplinkSocket = `${dir}/uplink.sock`
  let current: UplinkServerCall | null = null
  let lastId = 0n
  /** Of the stream of the sensor that came last. */
  let taken = 0n
  const server = await serveUnix({
    path: uplinkSocket,
    mode: 0o600,
    check: () => ({ allowed: true, caller: SELF }),
    log: createLog({ role: 'test', level: 'silent' }),
    services: {
      uplink: (call) => {
        call.onMessage((raw) => {
          const { kind, batchSeq } = receive(heard, raw)
          if (batchSeq > 0n) {
            taken = batchSeq
            call.send({ ack: { batchSeq: fromBigInt(taken) } } satisfies IConnectResponse)
          }
          if (kind !== 'hello') return
          current = call
          const isNew = heard.hellos.at(-1)?.stream !== heard.hellos.at(-2)?.stream
          if (isNew) taken = 0n
          const welcome = { engineInstance: 'test', committedBatchSeq: fromBigInt(taken) }
          call.send({ welcome } satisfies IConnectResponse)
        })
        call.onEnd(() => {
          if (current === call) current = null
        })
      },
    },
  })
  return {
    heard,
    uplinkSocket,
    async command(command) {
      const id = ++lastId
      // One that was just started, or could not answer for long, may be connected a little later.
      const sensor = await waitFor('a sensor to connect', () => current)
      sensor.send({ command: { id: fromBigInt(id), ...command } })
      const result = await waitFor('its result', () => heard.results.find((each) => toBigInt(each.id) === id))
      if (result.error !== '') throw new Error(result.error)
      return result
    },
    close: () => server.close(CLOSE_MS),
  }
}

function receive(heard: Heard, raw: Buffer): { kind: string; batchSeq: bigint } {
  const frame = walkFrame(raw)
  if (frame.kind === 'hello') heard.hellos.push(Hello.decode(frame.body))
  else if (frame.kind === 'result') heard.results.push(CommandResult.decode(frame.body))
  else if (frame.kind === 'batch') {
    for (const slice of frame.batch.events) heard.events.push(KernelEvent.decode(slice.bytes))
    for (const { kind, ...loss } of frame.batch.losses) heard.losses.set(kind, loss)
    for (const { sandbox, kind, dropped } of frame.batch.sandboxLosses)
      heard.sandboxLosses.set(`${sandbox} ${kind}`, dropped)
    letOut(heard, frame.batch.watermarkNs)
  } else if (frame.kind === 'announced') heard.announced.push(SandboxState.decode(frame.body))
  else if (frame.kind === 'gone') heard.gone.push(Buffer.from(frame.body).toString())
  else if (frame.kind === 'running') heard.running.push(...Running.decode(frame.body).processes)
  else if (frame.kind === 'malformed') throw new Error(`the sensor sent what can't be read: ${frame.reason}`)
  return { kind: frame.kind, batchSeq: frame.kind === 'batch' ? frame.batch.batchSeq : 0n }
}

function letOut({ announced, events, unannounced }: Heard, watermarkNs: bigint): void {
  const known = new Set(announced.map(({ cgroupId }) => toBigInt(cgroupId)))
  for (const { timeNs, sandbox } of events) {
    if (toBigInt(timeNs) < watermarkNs && !known.has(toBigInt(sandbox))) unannounced.add(toBigInt(sandbox))
  }
}

export interface SensorOptions {
  /** Folder of all runs, and of this one. */
  runtimeDir: string
  runDir: string
  uplinkSocket: string
  /** Besides those. */
  config?: Record<string, unknown>
}

export function startSensor({ config, ...dirs }: SensorOptions): Promise<Role> {
  const spool = { dir: join(dirs.runDir, 'spool'), bytesMax: SPOOL_BYTES }
  return startRole({
    name: 'sensor',
    main: new URL(`file://${fileURLToPath(MAIN)}`),
    config: {
      logLevel: 'warn',
      flushMs: { priority: 1, bulk: 5 },
      ringBytes: RING_BYTES,
      connectMs: CONNECT_MS,
      spool,
      ...dirs,
      ...config,
    },
    readyDeadlineMs: READY_DEADLINE_MS,
  })
}

/** Calls `look` until it gives something. */
export async function waitFor<T>(what: string, look: () => T | undefined | null | false): Promise<T> {
  const end = performance.now() + RESULT_DEADLINE_MS
  for (;;) {
    const found = look()
    if (found !== undefined && found !== null && found !== false) return found
    if (performance.now() > end) throw new Error(`in vain waited for ${what}`)
    await sleep(STEP_MS)
  }
}

/**
 * The engine's end of the uplinks: one sensor a node, Hello first, batches into that node's pipeline, results to whoever waits for them.
 * Guards that a frame that can't be read costs a gap and never the stream, that a batch is acknowledged only when an engine in our
 * place could go on without it, and that nothing is read while the pipeline's readers can't take more. Not here: what a batch means.
 */
import { messageOf } from '../base/error.js'
import type { Log } from '../base/log.js'
import {
  CommandResult,
  fromBigInt,
  HeldPolicy,
  Hello,
  type IHeldPolicy,
  type ISandboxState,
  Running,
  SandboxState,
  toBigInt,
} from '../proto/codec.js'
import type { RefusedRemote, UplinkHandler, UplinkServerCall } from '../proto/rpc.js'
import type { BackPressure } from './back-pressure.js'
import type { BootClock } from './boot-clock.js'
import { Commits, type Readers } from './commits.js'
import { walkFrame } from './frame-walk.js'
import { ABI_VERSION } from './kernel-facts.js'
import type { Pipeline } from './pipeline.js'
import type { PipelineState } from './pipeline-state.js'
import { SensorCommands } from './sensor-commands.js'

/** From the opened call to Hello. */
export const HELLO_DEADLINE_MS = 15_000
/** How long what comes is kept for the readers of an earlier engine's sessions. */
export const READERS_DEADLINE_MS = 10_000
/** Kept for them. A sensor has no more underway that is not acknowledged; from one that has, nothing is read. */
const HELD_BYTES_MAX = 32 * 1024 * 1024
/** Of node name, boot id, instance and stream. */
const IDENTITY_CHARS_MAX = 256
const DEGRADED_MAX = 64
const SANDBOXES_MAX = 4_096

/** The sensor that is connected now. */
export interface ConnectedSensor {
  readonly commands: SensorCommands
  readonly degraded: readonly string[]
  readonly nodeName: string
  /** Of the machine it is on, which need not be ours. */
  readonly bootId: string
}

export interface IngestOptions {
  readonly pipeline: Pipeline
  readonly backPressure: BackPressure
  readonly clock: Pick<BootClock, 'sensorConnected' | 'follow'>
  readonly log: Log
  /** New at every start of an engine. */
  readonly engineInstance: string
  /** Whoever is told of sandboxes that the sensor found by itself; a sensor of one run watches for nothing. */
  readonly adoptions?: {
    connected(held: readonly ISandboxState[]): void
    announced(state: ISandboxState): void
    gone(sandboxId: string): void
  }
  /** Whoever knows what sandboxes are held to. */
  readonly responses?: { connected(held: readonly ISandboxState[]): void }
  readonly policies?: { connected(held: readonly ISandboxState[]): void; held(policy: IHeldPolicy): void }
  readonly readers?: Readers
  /** Nobody came back for this session of an earlier engine. False: it is given up. */
  abandoned?(sessionId: string): boolean
  /** For those on the network; the log by default. */
  onRefused?(remote: RefusedRemote): void
  /** A sensor is here and was welcomed. */
  onConnected?(): void
  /** Every session that an earlier engine began has its reader, or never will. */
  onSettled?(): void
  /** Null where no state is kept. */
  readonly save?: ((state: PipelineState) => { now(): boolean }) | null
}

interface Connected {
  readonly call: UplinkServerCall
  /** Frames that wait for the readers of an earlier engine's sessions, in order; null: none has to. */
  held: Buffer[] | null
  heldBytes: number
  readonly sensor: ConnectedSensor
  readonly commits: Commits
  /** Of the sensor's process. */
  readonly instance: string
}

const NO_READERS: Readers = { flush() {}, has: () => true }

export class Ingest {
  readonly handler: UplinkHandler
  private readonly options: IngestOptions
  private current: Connected | null = null
  /** What they still send is not looked at. */
  private readonly turnedAway = new WeakSet<UplinkServerCall>()
  private readersDeadline: NodeJS.Timeout | null = null
  /** Frames that could not be read at all. */
  malformed = 0
  /** Calls that were ended because a sensor is connected already, or because they did not keep to the protocol. */
  refused = 0

  constructor(options: IngestOptions) {
    this.options = options
    this.handler = (call) => this.accept(call)
    options.backPressure.onChange((held) => {
      if (held) this.current?.call.pause()
      else this.current?.call.resume()
    })
  }

  get sensor(): ConnectedSensor | null {
    return this.current?.sensor ?? null
  }

  /** Readers have more, or a session began: what waited for that may be acknowledged. */
  progressed(how: 'seen' | 'sessions'): void {
    if (how === 'seen') this.current?.commits.touch()
    else this.current?.commits.now()
    this.holdForReaders()
  }

  stop(): void {
    if (this.readersDeadline !== null) clearTimeout(this.readersDeadline)
    this.current?.commits.stop()
  }

  private accept(call: UplinkServerCall): void {
    const helloDeadline = setTimeout(() => this.refuse(call, 'no Hello in time'), HELLO_DEADLINE_MS)
    call.onEnd((error) => {
      clearTimeout(helloDeadline)
      this.ended(call, error === null ? 'the sensor ended its stream' : messageOf(error))
    })
    call.onMessage((raw) => {
      clearTimeout(helloDeadline)
      this.take(call, raw)
    })
  }

  private take(call: UplinkServerCall, raw: Buffer): void {
    try {
      if (!this.keep(call, raw)) this.receive(call, raw)
    } catch (error) {
      // Nothing that a frame holds may end the stream.
      this.malformed++
      this.options.log.error({ err: error }, 'a frame from the sensor could not be handled')
      if (this.current?.call === call) this.options.pipeline.unreadable(messageOf(error))
      else this.refuse(call, messageOf(error))
    }
  }

  /** False: this frame need not wait. An answer does not: a reader that comes back is let in by one. Nor what has no event. */
  private keep(call: UplinkServerCall, raw: Buffer): boolean {
    const { current } = this
    if (current === null || current.call !== call || current.held === null) return false
    const frame = walkFrame(raw)
    if (frame.kind === 'running' || frame.kind === 'heldPolicy') return false
    if (frame.kind === 'result' && current.sensor.commands.isAnswer(CommandResult.decode(frame.body))) return false
    current.held.push(raw)
    current.heldBytes += raw.length
    if (current.heldBytes > HELD_BYTES_MAX) this.options.backPressure.hold(this)
    return true
  }

  private receive(call: UplinkServerCall, raw: Buffer): void {
    if (this.turnedAway.has(call)) return
    const frame = walkFrame(raw)
    const mine = this.current?.call === call ? this.current : null
    switch (frame.kind) {
      case 'hello':
        if (mine !== null) this.refuse(call, 'a second Hello')
        else this.hello(call, Hello.decode(frame.body))
        return
      case 'result':
        if (mine !== null) mine.sensor.commands.result(CommandResult.decode(frame.body))
        else this.refuse(call, 'a result before Hello')
        return
      case 'batch':
        if (mine === null) {
          this.refuse(call, 'a batch before Hello')
          return
        }
        this.options.clock.follow(frame.batch.bootToUnixNs)
        this.options.pipeline.push(frame.batch)
        mine.commits.touch()
        return
      case 'announced':
        if (mine) this.options.adoptions?.announced(SandboxState.decode(frame.body))
        else this.refuse(call, 'an announcement before Hello')
        return
      case 'gone':
        if (mine) this.options.adoptions?.gone(Buffer.from(frame.body).toString())
        else this.refuse(call, 'an announcement before Hello')
        return
      case 'running':
        if (mine) this.options.pipeline.runs(Running.decode(frame.body).processes)
        else this.refuse(call, 'processes before Hello')
        return
      case 'heldPolicy':
        if (mine) this.options.policies?.held(HeldPolicy.decode(frame.body))
        else this.refuse(call, 'a policy before Hello')
        return
      case 'malformed':
        this.malformed++
        if (mine !== null) this.options.pipeline.unreadable(frame.reason)
        else this.refuse(call, frame.reason)
        return
    }
  }

  private hello(call: UplinkServerCall, hello: Hello): void {
    if (impostor(call, hello) === null) this.replaceSame(call, hello)
    const objection = impostor(call, hello) ?? (this.current ? anotherIsHere(this.current) : objectionTo(hello))
    if (objection !== null) {
      this.refuse(call, objection)
      return
    }
    const { nodeName, bootId, instance, stream, sandboxes } = hello
    const { backPressure, pipeline, clock, log, engineInstance, readers = NO_READERS, save = null } = this.options
    const commands = new SensorCommands({
      send: (message) => call.send(message),
      isHeld: () => backPressure.held || this.current?.held != null,
    })
    clock.sensorConnected(bootId)
    const held = sandboxes.slice(0, SANDBOXES_MAX)
    const holds = { sandboxes: held, firstBatchSeq: toBigInt(hello.firstBatchSeq) }
    const committed = pipeline.connected({ nodeName, bootId, instance, stream, counters: hello.counters }, holds)
    const ack = (batchSeq: bigint) => call.send({ ack: { batchSeq: fromBigInt(batchSeq) } })
    const commits = new Commits({ pipeline, readers, save, ack })
    const sensor = { commands, degraded: hello.degraded.slice(0, DEGRADED_MAX), nodeName, bootId }
    this.current = { call, sensor, commits, instance, held: null, heldBytes: 0 }
    call.send({ welcome: { engineInstance, committedBatchSeq: fromBigInt(committed) } })
    this.options.adoptions?.connected(held)
    this.options.responses?.connected(held)
    this.options.policies?.connected(held)
    this.holdForReaders()
    if (backPressure.held) call.pause()
    log.info({ node: nodeName, instance, hooks: hello.hooks, degraded: hello.degraded }, 'sensor connected')
    this.options.onConnected?.()
  }

  /** A network may not tell us for long that a connection is dead: the sensor itself knows, and comes again. */
  private replaceSame(call: UplinkServerCall, { nodeName, instance }: Hello): void {
    const { current } = this
    if (call.peer === null || current === null || current.call === call) return
    if (current.sensor.nodeName !== nodeName || current.instance !== instance) return
    this.turnedAway.add(current.call)
    this.ended(current.call, 'it connected anew')
    current.call.end('the same sensor connected anew')
  }

  /** What the sensor sends is for them: it is kept until they are back, or had their time. */
  private holdForReaders(): void {
    const { pipeline, log } = this.options
    const { current } = this
    if (pipeline.unread.length === 0) {
      if (this.readersDeadline !== null) clearTimeout(this.readersDeadline)
      this.readersDeadline = null
      if (current !== null && current.held !== null) this.takeHeld(current, current.held)
      if (current !== null) this.options.onSettled?.()
      return
    }
    if (current !== null) current.held ??= []
    if (this.readersDeadline !== null) return
    this.readersDeadline = setTimeout(() => {
      for (const id of pipeline.unread) {
        log.warn({ session: id }, 'nobody came back for a session of an earlier engine')
        if (!this.options.abandoned?.(id)) pipeline.giveUp(id)
      }
      this.holdForReaders()
    }, READERS_DEADLINE_MS)
  }

  private takeHeld(current: Connected, held: readonly Buffer[]): void {
    current.held = null
    current.heldBytes = 0
    this.options.backPressure.release(this)
    for (const raw of held) if (this.current === current) this.take(current.call, raw)
  }

  private refuse(call: UplinkServerCall, why: string): void {
    if (this.turnedAway.has(call)) return
    this.turnedAway.add(call)
    this.refused++
    const { log, onRefused } = this.options
    if (call.peer === null || onRefused === undefined) log.error({ why }, 'sensor refused')
    else onRefused({ address: call.peer.address, names: call.peer.names, reason: why })
    this.ended(call, `the sensor was refused: ${why}`)
    call.end(`the engine does not take this sensor: ${why}`)
  }

  /** Safe to call more than once, and for calls that never were the current one. */
  private ended(call: UplinkServerCall, why: string): void {
    if (this.current?.call !== call) return
    const { sensor, commits } = this.current
    this.current = null
    this.options.backPressure.release(this)
    commits.stop()
    this.options.log.info({ why }, 'sensor disconnected')
    // Sessions learn of it before the commands that wait fail and end them.
    this.options.pipeline.disconnected(why)
    sensor.commands.sensorGone(why)
  }
}

/** A node speaks for itself alone: by its certificate, where it comes over the network. */
function impostor({ peer }: UplinkServerCall, { nodeName }: Hello): string | null {
  if (peer === null || peer.isNamed(nodeName)) return null
  return `it says that it is node ${nodeName.slice(0, IDENTITY_CHARS_MAX)}, and its certificate is for ${peer.names}`
}

function anotherIsHere({ sensor }: Connected): string {
  return `another sensor is connected, that of node ${sensor.nodeName}`
}

/** Why this sensor can't be worked with, or null. */
function objectionTo({ abiVersion, nodeName, bootId, instance, stream }: Hello): string | null {
  if (abiVersion !== ABI_VERSION) {
    return `it speaks record version ${abiVersion}, this engine ${ABI_VERSION}; both must be of one installation`
  }
  const whole = [nodeName, bootId, instance].every((text) => text.length > 0 && text.length <= IDENTITY_CHARS_MAX)
  return whole && stream.length <= IDENTITY_CHARS_MAX
    ? null
    : `node name, boot id and instance must have 1 to ${IDENTITY_CHARS_MAX} characters`
}

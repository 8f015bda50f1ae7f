/**
 * How each response is done to a sandbox, and undone: by commands to the sensor, which reads back what it did, and by another policy. Guards that
 * nothing counts as done that was not observed.
 */
import { SluiceError } from '../base/error.js'
import { fromBigInt, type ILimits, type IShutFor, ResponseAction } from '../proto/codec.js'
import type { ConnectedSensor } from './ingest.js'
import type { PolicyDesk } from './policy-desk.js'
import type { PolicyKeeper } from './policy-keeper.js'
import { type Hands, HOLD_MS, type Observed, OPERATOR, type ResponseInForce } from './respond/responder.js'
import type { BookedSandbox, SandboxBook } from './sandbox-book.js'
import { outcomeOf, type SensorCommands } from './sensor-commands.js'

const NS_PER_MS = 1_000_000n

/** Enough to end something in order. */
const THROTTLED: ILimits = Object.freeze({
  connects: { perSecond: 1, burst: fromBigInt(5n) },
  execs: { perSecond: 2, burst: fromBigInt(10n) },
  egressBytes: { perSecond: 65_536, burst: fromBigInt(262_144n) },
})

export interface ResponseHandsOptions {
  readonly book: SandboxBook
  readonly keeper: PolicyKeeper
  readonly desk: PolicyDesk
  sensor(): ConnectedSensor | null
}

export class ResponseHands implements Hands {
  private readonly options: ResponseHandsOptions

  constructor(options: ResponseHandsOptions) {
    this.options = options
  }

  async apply(sandboxId: string, { action, trigger, untilMs, step }: ResponseInForce): Promise<Observed> {
    const response: IShutFor = { trigger, step, untilUnixNs: fromBigInt(BigInt(Math.floor(untilMs)) * NS_PER_MS) }
    switch (action) {
      case ResponseAction.RESPONSE_ACTION_FREEZE:
        return this.freeze(sandboxId, true, { response })
      case ResponseAction.RESPONSE_ACTION_THROTTLE:
        return this.throttle(sandboxId, THROTTLED, response)
      case ResponseAction.RESPONSE_ACTION_DENY:
        return this.shut(sandboxId, response, trigger)
      case ResponseAction.RESPONSE_ACTION_KILL: {
        const { killed } = await outcomeOf((done) => this.commands().killSandbox(sandboxId, done))
        return { text: `${killed === 1 ? 'one process' : `${killed} processes`} killed, and none is left`, killed }
      }
      default:
        throw new SluiceError('UNSUPPORTED', `${ResponseAction[action]} is nothing that this engine can do`)
    }
  }

  async undo(sandboxId: string, action: ResponseAction, by: string): Promise<Observed> {
    switch (action) {
      case ResponseAction.RESPONSE_ACTION_FREEZE:
        return this.freeze(sandboxId, false, { unstoppedMs: by.startsWith(`${OPERATOR}:`) ? HOLD_MS : 0 })
      case ResponseAction.RESPONSE_ACTION_THROTTLE:
        return this.throttle(sandboxId, null, null)
      case ResponseAction.RESPONSE_ACTION_DENY:
        return this.shut(sandboxId, null, `undone by ${by}`)
      default:
        throw new SluiceError('UNSUPPORTED', `${ResponseAction[action]} is nothing that could be undone`)
    }
  }

  /** The sensor answers when cgroup.events says so. `unstoppedMs`: nor does the kernel stop anybody there before an operator's word is old. */
  private async freeze(
    sandboxId: string,
    frozen: boolean,
    { unstoppedMs = 0, response = null }: { unstoppedMs?: number; response?: IShutFor | null },
  ): Promise<Observed> {
    const target = { sandboxId, frozen, response, unstoppedMs: fromBigInt(BigInt(unstoppedMs)) }
    await outcomeOf((done) => this.commands().freezeSandbox(target, done))
    const booked = this.options.book.byIdOf(sandboxId)
    if (booked !== null) booked.frozen = frozen
    return seen(`cgroup.events says frozen ${frozen ? 1 : 0}`)
  }

  /** Lower than any policy has it, in the kernel's own buckets. */
  private async throttle(sandboxId: string, limits: ILimits | null, response: IShutFor | null): Promise<Observed> {
    const target = { sandboxId, limits, response }
    const { limits: held } = await outcomeOf((done) => this.commands().setThrottle(target, done))
    const { connects, execs } = held ?? {}
    const text = (what: string, rate: typeof connects) => (rate ? `${what} ${rate.perSecond}/s` : `${what} unlimited`)
    return seen(`the kernel has ${text('connects', connects)}, ${text('execs', execs)}`)
  }

  private async shut(sandboxId: string, shut: IShutFor | null, why: string): Promise<Observed> {
    const { keeper, desk } = this.options
    await keeper.shut(this.booked(sandboxId), shut, `a response (${why})`)
    const held = desk.of(sandboxId)
    if (held === null) return seen('the kernel holds it to no policy')
    return seen(`the kernel holds it to ${held.policy.name ?? ''}, generation ${held.generation}`)
  }

  private booked(sandboxId: string): BookedSandbox {
    const booked = this.options.book.byIdOf(sandboxId)
    if (booked !== null) return booked
    throw new SluiceError('USAGE', `there is no sandbox ${sandboxId} any more`)
  }

  private commands(): SensorCommands {
    const sensor = this.options.sensor()
    if (sensor !== null) return sensor.commands
    throw new SluiceError('IO', 'no sensor is connected to the engine')
  }
}

function seen(text: string): Observed {
  return { text, killed: 0 }
}

/**
 * The gateway that is connected now: policies on their way to it, each for many sandboxes sent once, big ones in parts, and their outcomes.
 * Guards that each has at most one outcome, and that what waits has a limit. Not here: which sandbox is to be served.
 */
import { fromBigInt, type ICompiledPolicy, type IGatewayReady, type IServeResponse, toBigInt } from '../proto/codec.js'
import type { GatewayServerCall } from '../proto/rpc.js'
import type { CommandFailed } from './command-outcome.js'
import { type NamedApply, PolicySender } from './policy-sender.js'

/** A change of one policy may be one for each sandbox. */
const WAITING_MAX = 8_192

export interface ServedAt {
  readonly ok: true
  readonly port4: number
  readonly port6: number
}

type Outcome = ServedAt | CommandFailed
type Done = (outcome: Outcome) => void

export class ConnectedGateway {
  readonly instance: string
  readonly call: GatewayServerCall
  /** Highest number of a fact that it told. */
  lastFact = 0n
  /** Up to which it was told that they are kept. */
  keptFact = 0n
  private readonly waiting = new Map<bigint, Done>()
  private readonly policies = new PolicySender<ServedAt>({
    apply: ({ sandboxId, policy, content }: NamedApply, done) =>
      this.issue(done, (id) => ({ serve: { id, sandboxId, policy, content: content ?? null } })),
    part: (part, done) => this.issue(done, (id) => ({ part: { id, part } })),
  })
  private lastId = 0n

  constructor(call: GatewayServerCall, instance: string) {
    this.call = call
    this.instance = instance
  }

  /** One for many sandboxes is best given as the same object: it is sent once. */
  serve(sandboxId: string, policy: ICompiledPolicy, done: Done): void {
    this.policies.apply({ sandboxId, policy }, done)
  }

  ready({ id, error, unknownContent, port4, port6 }: IGatewayReady): void {
    if (error) this.settle(id, { ok: false, problem: error, unknownContent: unknownContent ?? false })
    else this.settle(id, { ok: true, port4: port4 ?? 0, port6: port6 ?? 0 })
  }

  partTaken({ id, error }: { id?: IGatewayReady['id']; error?: string | null }): void {
    this.settle(id, error ? { ok: false, problem: error } : { ok: true, port4: 0, port6: 0 })
  }

  private issue(done: Done, message: (id: ReturnType<typeof fromBigInt>) => IServeResponse): void {
    const id = ++this.lastId
    if (this.waiting.size >= WAITING_MAX) done({ ok: false, problem: `${WAITING_MAX} policies wait for it already` })
    else if (!this.call.send(message(fromBigInt(id)))) done({ ok: false, problem: 'the gateway does not read' })
    else this.waiting.set(id, done)
  }

  private settle(id: IGatewayReady['id'], outcome: Outcome): void {
    const key = toBigInt(id)
    const done = this.waiting.get(key)
    this.waiting.delete(key)
    done?.(outcome)
  }
}

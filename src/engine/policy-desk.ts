/**
 * Which policy each sandbox is held to, and the way of another one to the kernel and the gateway. Guards that verdicts can be told from the
 * first one on, that policies of one sandbox go one after the other, that what the sensor has counts where the two differ, and that one
 * with rules for names does not count as applied without a gateway. Not here: which policy a sandbox is to have.
 */
import { messageOf } from '../base/error.js'
import type { Log } from '../base/log.js'
import { type ICompiledPolicy, type IHeldPolicy, type ISandboxState, Mode, toBigInt } from '../proto/codec.js'
import { policyOf } from '../proto/policy-bytes.js'
import { needsGateway } from '../proto/policy-needs.js'
import type { ConnectedSensor } from './ingest.js'
import type { PolicyVerdicts } from './policy-verdicts.js'

/** Of one sandbox, behind the one that is underway. */
const WAITING_MAX = 16
/** Of one policy, in all its parts. */
const POLICY_BYTES_MAX = 64 * 1024 * 1024
const NO_ORIGIN = new Uint8Array(0)

export interface PolicyDeskOptions {
  readonly verdicts: PolicyVerdicts
  /** Whoever has names of sandboxes answered. `serve` rejects where nobody does. */
  readonly names: {
    serve(sandboxId: string, policy: ICompiledPolicy): Promise<void>
    /** Resolves when all is told that was asked; null: it is. */
    drop(sandboxId: string): Promise<void> | null
  }
  readonly log: Log
  sensor(): ConnectedSensor | null
  /** The sensor has told of all that sandboxes are held to. */
  onComplete(): void
}

export interface PolicyOrder {
  readonly sandboxId: string
  readonly cgroupId: bigint
  /** Null: none from now on. */
  readonly policy: ICompiledPolicy | null
  /** What it was made from, for an engine that comes after this one. */
  readonly origin?: Uint8Array
}

export interface HeldTo {
  readonly cgroupId: bigint
  readonly policy: ICompiledPolicy
  readonly generation: number
  readonly origin: Uint8Array
}

/** Null, or why the sandbox is not held to it as ordered. */
type Done = (problem: string | null) => void

export class PolicyDesk {
  private readonly options: PolicyDeskOptions
  private readonly bySandbox = new Map<string, HeldTo>()
  /** Orders behind the one that is underway. */
  private readonly waiting = new Map<string, (() => void)[]>()
  private parts: Uint8Array[] = []
  /** Whether it is known what sandboxes are held to. */
  isComplete = false

  constructor(options: PolicyDeskOptions) {
    this.options = options
  }

  /** Null: the sandbox has no policy. */
  of(sandboxId: string): HeldTo | null {
    return this.bySandbox.get(sandboxId) ?? null
  }

  /** `done` gets null once the policy decides and its names are answered. Where the kernel does not take it, what was before holds. */
  apply(given: PolicyOrder, done: Done): void {
    const { verdicts } = this.options
    const order = given.policy === null ? given : { ...given, policy: verdicts.shared(given.policy) }
    const waiting = this.waiting.get(order.sandboxId)
    if (waiting !== undefined && waiting.length >= WAITING_MAX) {
      done(`${WAITING_MAX} policies wait for the sandbox already`)
      return
    }
    if (waiting !== undefined) waiting.push(() => this.carryOut(order, done))
    else {
      this.waiting.set(order.sandboxId, [])
      this.carryOut(order, done)
    }
  }

  private carryOut(order: PolicyOrder, done: Done): void {
    const { sandboxId, cgroupId, policy, origin = NO_ORIGIN } = order
    const { verdicts, sensor } = this.options
    const commands = sensor()?.commands
    const over: Done = (problem) => {
      done(problem)
      const next = this.waiting.get(sandboxId)?.shift()
      if (next === undefined) this.waiting.delete(sandboxId)
      else next()
    }
    if (commands === undefined) over('no sensor is connected')
    else if (policy !== null && !verdicts.expect(cgroupId, policy)) over('the engine has no room for another policy')
    else {
      commands.applyPolicy({ sandboxId, policy, origin }, (applied) => {
        if (!applied.ok) over(applied.problem)
        else this.applied(order, applied.generation, over)
      })
    }
  }

  private applied(
    { sandboxId, cgroupId, policy, origin = NO_ORIGIN }: PolicyOrder,
    generation: number,
    done: Done,
  ): void {
    if (policy === null) {
      this.bySandbox.delete(sandboxId)
      this.options.names.drop(sandboxId)
      done(null)
      return
    }
    const { verdicts, names } = this.options
    const before = this.bySandbox.get(sandboxId)?.policy
    verdicts.applied(cgroupId, generation)
    this.bySandbox.set(sandboxId, { cgroupId, policy, generation, origin })
    if (needsGateway(policy)) {
      names.serve(sandboxId, policy).then(
        () => done(null),
        (error: unknown) => done(messageOf(error)),
      )
    } else if (before === undefined || !needsGateway(before)) done(null)
    else this.unserve(sandboxId, done)
  }

  /** Its queries go where it sends them again. */
  private unserve(sandboxId: string, done: Done): void {
    const { names, sensor } = this.options
    const commands = sensor()?.commands
    if (commands === undefined) done('no sensor is connected')
    else {
      commands.redirect({ sandboxId, port4: 0, port6: 0, observes: false, gateway: '' }, (outcome) => {
        names.drop(sandboxId)
        done(outcome.ok ? null : outcome.problem)
      })
    }
  }

  /** The sandbox is over, or let go. Resolves when all is told of it that others saw; null: it is. */
  forget(sandboxId: string, cgroupId: bigint): Promise<void> | null {
    const { names, verdicts } = this.options
    this.bySandbox.delete(sandboxId)
    verdicts.forget(cgroupId)
    return names.drop(sandboxId)
  }

  /** What the sensor holds sandboxes to, in parts; also what an earlier engine gave them. */
  held({ part, holders }: IHeldPolicy): void {
    if (part && part.length > 0) {
      const bytes = this.parts.reduce((sum, { length }) => sum + length, part.length)
      // Copied: a part must not keep the whole frame.
      this.parts = bytes > POLICY_BYTES_MAX ? [] : [...this.parts, Buffer.from(part)]
    }
    if (!holders || holders.length === 0) {
      if (!part || part.length === 0) this.complete()
      return
    }
    const policy = this.options.verdicts.shared(policyOf(Buffer.concat(this.parts)))
    this.parts = []
    for (const { sandboxId, cgroupId: id, generation, isCurrent, origin } of holders) {
      const cgroupId = toBigInt(id)
      this.options.verdicts.know(cgroupId, generation ?? 0, policy)
      if (isCurrent)
        this.goesOn(sandboxId ?? '', { cgroupId, policy, generation: generation ?? 0, origin: origin ?? NO_ORIGIN })
    }
  }

  private complete(): void {
    this.isComplete = true
    this.options.onComplete()
  }

  private goesOn(sandboxId: string, held: HeldTo): void {
    const { names, log } = this.options
    const before = this.bySandbox.get(sandboxId)
    this.bySandbox.set(sandboxId, held)
    if (before?.policy.digest === held.policy.digest) return
    log.info({ sandbox: sandboxId, policy: held.policy.name }, 'a sandbox goes on with its policy')
    if (!needsGateway(held.policy)) return
    names.serve(sandboxId, held.policy).catch((error: unknown) => {
      log.error({ sandbox: sandboxId, why: messageOf(error) }, 'names of a sandbox are not answered yet')
    })
  }

  /** A sensor is here that has these. One that does not know a policy gets it again. */
  connected(states: readonly ISandboxState[]): void {
    this.parts = []
    for (const [sandboxId, { cgroupId, policy, generation, origin }] of this.bySandbox) {
      const state = states.find((one) => one.sandboxId === sandboxId)
      if (state === undefined) continue
      const isKnown = state.generation === generation && state.policyDigest === policy.digest
      if (isKnown || (state.generation !== 0 && state.policyDigest)) continue
      this.options.log.warn(
        { sandbox: sandboxId, policy: policy.name },
        'the sensor does not know a policy: it gets it again',
      )
      this.apply({ sandboxId, cgroupId, policy, origin }, (problem) => {
        if (problem !== null) this.options.log.error({ sandbox: sandboxId, problem }, 'a policy was not applied again')
      })
    }
  }
}

/** As `sandboxStarted` says it. */
export function startedUnder(policy: ICompiledPolicy | null) {
  const mode = policy?.mode === Mode.MODE_ENFORCE ? 'enforce' : 'monitor'
  return { policyName: policy?.name ?? '', policyHash: policy?.digest ?? '', mode }
}

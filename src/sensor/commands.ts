/**
 * The engine's commands, those of one sandbox one after the other; each is answered, with an error text if it failed. Guards that what takes long
 * for one sandbox, to end it say, holds up no other's.
 */
import { messageOf, SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import {
  fromBigInt,
  type ICommand,
  type ICommandResult,
  type ICompiledPolicy,
  type ISandboxState,
  type IShutFor,
  ShutFor,
  toBigInt,
} from '../proto/codec.js'
import { requireEnforceable } from './enforceable.js'
import { requireTellingPrograms } from './enforceable-programs.js'
import { heldCapabilities } from './held-capabilities.js'
import type { SelectedCgroups } from './held-names.js'
import type { HeldSandbox, SandboxCgroups } from './sandbox-cgroups.js'
import type { SandboxPolicies } from './sandbox-policies.js'
import type { WalkedTask } from './task-walk.js'

/** An engine that sends more without waiting for answers is broken. */
const WAITING_MAX = 8_192
/** Policies that are applied at once, behind the first. */
const TOGETHER_MAX = 255
const NO_BYTES = new Uint8Array(0)

export interface CommandsOptions {
  sandboxes: SandboxCgroups
  policies: SandboxPolicies
  /** CLOCK_BOOTTIME now. */
  bootTimeNs(): bigint
  /** What others make and an enforced policy is for is held from its first moment on. */
  holdFound(selected: SelectedCgroups): void
  /** Resolves when everything that the rings held has been sent. */
  drainToEnd(): Promise<void>
  /** A sandbox goes on again. */
  thawed(): void
  /** The sandbox is over, and all that it did has been sent. */
  forget(cgroupId: bigint): void
  /** Sends what is known of processes that were running already. `untilNs`: from before they were tagged. */
  sendProcesses(found: { sandbox: bigint; tasks: readonly WalkedTask[]; untilNs: bigint }): void
  /** Behind every batch before it. */
  answer(result: ICommandResult): void
  /** At once. */
  answerAhead(result: ICommandResult): void
  log: Log
}

interface Outcome {
  readonly result: ICommandResult
  /** Done in the same turn, right after the answer, before anything is read from a ring. */
  afterAnswer?(): void
}

export class Commands {
  readonly #options: CommandsOptions
  readonly #waiting: ICommand[] = []
  /** By sandbox: what waits for the command that is carried out there. */
  readonly #lanes = new Map<string, ICommand[]>()
  #inLanes = 0
  #isBusy = false

  constructor(options: CommandsOptions) {
    this.#options = options
  }

  accept(command: ICommand): void {
    const { answer, answerAhead, sandboxes } = this.#options
    // Somebody's connection waits for it, and it changes nothing: it does not queue behind a sandbox that ends.
    if (command.whoIs) {
      answerAhead({ id: command.id ?? null, sandboxId: sandboxes.whoIs(command.whoIs.pid ?? 0) })
      return
    }
    // Nor does what a sandbox waits for that asked for a name.
    if (command.putLease || command.redirect || command.gatewayAlive) {
      answerAhead({ id: command.id ?? null, error: this.#forGateway(command) })
      return
    }
    if (command.policyPart) {
      answerAhead({ id: command.id ?? null, error: this.#takePart(command.policyPart) })
      return
    }
    if (this.#waiting.length + this.#inLanes >= WAITING_MAX) {
      answer({ id: command.id ?? null, error: `more than ${WAITING_MAX} commands are waiting` })
      return
    }
    this.#waiting.push(command)
    if (this.#isBusy) return
    this.#isBusy = true
    // Behind what arrived with it.
    setImmediate(() => this.#carryOutAll())
  }

  #carryOutAll(): void {
    for (let command = this.#waiting.shift(); command !== undefined; command = this.#waiting.shift()) {
      const lane = this.#lanes.get(sandboxOf(command))
      if (lane !== undefined) {
        this.#inLanes += 1
        lane.push(command)
      } else if (command.applyPolicy) this.#applyPolicies([command, ...this.#policiesBehind()])
      else void this.#carryOutInLane(command)
    }
    this.#isBusy = false
  }

  async #carryOutInLane(first: ICommand): Promise<void> {
    const sandbox = sandboxOf(first)
    const lane: ICommand[] = []
    if (sandbox !== '') this.#lanes.set(sandbox, lane)
    await this.#carryOutOne(first)
    for (let command = lane.shift(); command !== undefined; command = lane.shift()) {
      this.#inLanes -= 1
      if (command.applyPolicy) this.#applyPolicies([command])
      else await this.#carryOutOne(command)
    }
    this.#lanes.delete(sandbox)
  }

  async #carryOutOne(command: ICommand): Promise<void> {
    const { answer, answerAhead, log } = this.#options
    // Who stops a storm must not learn of it behind all that the storm did.
    const tell = command.freezeSandbox || command.killSandbox || command.setThrottle ? answerAhead : answer
    try {
      const { result, afterAnswer } = await this.#carryOut(command)
      tell({ id: command.id ?? null, ...result })
      afterAnswer?.()
    } catch (error) {
      log.warn({ error: (error as Error).message }, 'a command failed')
      tell({ id: command.id ?? null, error: problemOf(error) })
    }
  }

  /** Those that wait right behind one another are applied together. */
  #policiesBehind(): ICommand[] {
    const others = this.#waiting.findIndex((each) => !each.applyPolicy || this.#lanes.has(sandboxOf(each)))
    return this.#waiting.splice(0, Math.min(others === -1 ? this.#waiting.length : others, TOGETHER_MAX))
  }

  #applyPolicies(commands: readonly ICommand[]): void {
    const { sandboxes, policies, answer, log } = this.#options
    const applied = policies.applyAll(
      commands.map(({ applyPolicy }) => ({
        sandbox: () => sandboxes.cgroupIdOf(applyPolicy?.sandboxId ?? ''),
        policy: applyPolicy?.policy ?? null,
        check: (policy) => this.#requireEnforceable(applyPolicy?.sandboxId ?? '', policy),
        origin: applyPolicy?.origin ?? NO_BYTES,
        name: nameOf(applyPolicy?.content),
      })),
    )
    for (const [index, result] of applied.entries()) {
      const id = commands[index]?.id ?? null
      if (!result.ok && !result.unknownName) log.warn({ error: messageOf(result.error) }, 'a policy was not applied')
      if (result.ok) answer({ id, generation: result.generation })
      else answer({ id, error: problemOf(result.error), unknownContent: result.unknownName })
    }
  }

  /** Of one that we made the launcher has taken care. */
  #requireEnforceable(id: string, policy: ICompiledPolicy): void {
    const { sandboxes, policies } = this.#options
    const pids = sandboxes.adoptedProcesses(id)
    requireTellingPrograms(policy, { pids: pids ?? [], apart: sandboxes.isApart(id) })
    if (pids !== null) requireEnforceable(policy, { pids, judgesUnix: policies.judgesUnix })
  }

  /** What went wrong; empty: nothing. */
  #takePart({ content, offset, part, total }: NonNullable<ICommand['policyPart']>): string {
    try {
      this.#options.policies.parts.add(nameOf(content), {
        offset: offset ?? 0,
        part: part ?? NO_BYTES,
        total: total ?? 0,
      })
      return ''
    } catch (error) {
      return problemOf(error)
    }
  }

  /** What went wrong; empty: nothing. */
  #forGateway({ putLease, redirect, gatewayAlive }: ICommand): string {
    const { sandboxes, policies, log } = this.#options
    try {
      if (putLease) policies.lease(sandboxes.cgroupIdOf(putLease.sandboxId ?? ''), putLease.lease ?? {})
      else if (gatewayAlive) policies.gatewayAlive()
      else if (redirect) {
        const id = redirect.sandboxId ?? ''
        const { port4, port6, observes } = redirect
        const rule = { port4: port4 ?? 0, port6: port6 ?? 0, observes: observes ?? false }
        policies.redirect(sandboxes.cgroupIdOf(id), { rule, id, gateway: redirect.gateway ?? '' })
      }
      return ''
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'a command for the gateway failed')
      return messageOf(error)
    }
  }

  async #carryOut(command: ICommand): Promise<Outcome> {
    const { sandboxes, policies } = this.#options
    if (command.startSandbox) {
      const { sandboxId, pid, descriptor, apart } = command.startSandbox
      const made = { descriptor: descriptor ?? NO_BYTES, apart: apart ?? false }
      return { result: placeOf(sandboxes.start(sandboxId ?? '', pid ?? 0, made)) }
    }
    if (command.adoptSandbox) return this.#adopt(command.adoptSandbox)
    if (command.endSandbox) {
      const { sandboxId, onlyIfEmpty } = command.endSandbox
      if (onlyIfEmpty && sandboxes.isInUse(sandboxId ?? '')) return { result: { inUse: true } }
      return { result: { killed: await this.#drained(sandboxId ?? '', (id) => sandboxes.end(id)) } }
    }
    if (command.releaseSandbox) {
      await this.#drained(command.releaseSandbox.sandboxId ?? '', (id) => sandboxes.release(id))
      return { result: {} }
    }
    if (command.freezeSandbox) {
      return this.#freeze(command.freezeSandbox)
    }
    if (command.killSandbox) return { result: { killed: await sandboxes.kill(command.killSandbox.sandboxId ?? '') } }
    if (command.setThrottle) {
      const { sandboxId, limits, response } = command.setThrottle
      const held = policies.throttle(sandboxes.cgroupIdOf(sandboxId ?? ''), limits ?? null, wordOf(response))
      return { result: held === null ? {} : { limits: held } }
    }
    if (command.holdFound) {
      this.#options.holdFound({ all: command.holdFound.all ?? false, cgroups: command.holdFound.cgroups ?? [] })
      return { result: {} }
    }
    if (command.listSandboxes) return { result: { sandboxes: sandboxes.list().map(sandboxState) } }
    throw new Error('this sensor does not know the command; engine and sensor must be of one version')
  }

  async #freeze({
    sandboxId,
    frozen,
    response,
    unstoppedMs,
  }: NonNullable<ICommand['freezeSandbox']>): Promise<Outcome> {
    const { sandboxes, policies, thawed } = this.#options
    const id = sandboxId ?? ''
    if (!frozen) policies.unstop(sandboxes.cgroupIdOf(id), toBigInt(unstoppedMs))
    await sandboxes.freeze(id, frozen ?? false, frozen ? wordOf(response) : '')
    if (!frozen) thawed()
    return { result: {} }
  }

  /** After this nothing of the sandbox is left, here or in the rings, but for what could not be ended. */
  async #drained<T>(id: string, end: (id: string) => Promise<T>): Promise<T> {
    const { sandboxes, drainToEnd, forget } = this.#options
    const held = sandboxes.list().find(({ record }) => record.id === id)
    const result = await end(id)
    await drainToEnd()
    if (held !== undefined && !sandboxes.holds(held.cgroupId)) forget(held.cgroupId)
    return result
  }

  /** The answer first: the engine opens the session by it, and what follows finds it open. */
  #adopt({ sandboxId, cgroupPath, descriptor }: NonNullable<ICommand['adoptSandbox']>): Outcome {
    const { sandboxes, bootTimeNs, sendProcesses } = this.#options
    const untilNs = bootTimeNs()
    const adopted = sandboxes.adopt(sandboxId ?? '', cgroupPath ?? '', { descriptor: descriptor ?? NO_BYTES })
    const processes = new Set(adopted.tasks.filter((task) => !task.dead).map((task) => task.pid))
    return {
      result: { ...placeOf(adopted), processes: processes.size, degraded: heldCapabilities(processes) },
      afterAnswer: () => sendProcesses({ sandbox: adopted.cgroupId, tasks: adopted.tasks, untilNs }),
    }
  }
}

/** Kept as it is: it is the engine's. */
function wordOf(response: IShutFor | null | undefined): string {
  return response ? Buffer.from(ShutFor.encode(response).finish()).toString('base64') : ''
}

function wordIn(text: string): IShutFor | null {
  return text === '' ? null : ShutFor.decode(Buffer.from(text, 'base64'))
}

/** Empty: of none alone. */
function sandboxOf(command: ICommand): string {
  const { startSandbox, adoptSandbox, endSandbox, releaseSandbox, freezeSandbox, killSandbox } = command
  const { applyPolicy, setThrottle } = command
  const target = startSandbox ?? adoptSandbox ?? endSandbox ?? releaseSandbox ?? freezeSandbox ?? killSandbox
  return (target ?? applyPolicy ?? setThrottle)?.sandboxId ?? ''
}

function nameOf(content: Uint8Array | null | undefined): string {
  return Buffer.from(content ?? NO_BYTES).toString('base64')
}

/** With the next step, where there is one. */
function problemOf(error: unknown): string {
  const hint = error instanceof SluiceError ? error.hint : null
  return hint === null ? messageOf(error) : `${messageOf(error)}; ${hint}`
}

/** A sandbox as the engine is told of it. */
export function sandboxState({ cgroupId, record }: HeldSandbox): ISandboxState {
  return {
    sandboxId: record.id,
    cgroupId: fromBigInt(cgroupId),
    cgroupPath: record.path,
    adopted: record.adopted,
    descriptor: Buffer.from(record.descriptor, 'base64'),
    frozen: record.frozen,
    frozenFor: wordIn(record.frozenFor),
    throttledFor: wordIn(record.throttledFor),
    watch: record.watch,
  }
}

function placeOf({ cgroupId, record }: HeldSandbox): ICommandResult {
  return { cgroupId: fromBigInt(cgroupId), cgroupPath: record.path }
}

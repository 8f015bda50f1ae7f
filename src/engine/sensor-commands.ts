/**
 * Commands to the sensor and their results. Guards that every command has exactly one outcome: its result, its deadline, or the end of
 * the sensor. Outcomes are delivered in the same turn as the result's message, so that no batch can overtake them. A deadline
 * does not run while the uplink is held back by a slow reader: the result is stuck behind what is not read.
 */
import { randomInt } from 'node:crypto'
import { SluiceError } from '../base/error.js'
import {
  fromBigInt,
  type ICommandResult,
  type IConnectResponse,
  type IFreezeSandbox,
  type ILease,
  type ILimits,
  type ISetThrottle,
  toBigInt,
} from '../proto/codec.js'
import type { CommandDone, CommandOutcome, Done } from './command-outcome.js'
import { type ApplyTarget, PolicySender } from './policy-sender.js'

/** A change of one policy may be a command for each sandbox. */
export const COMMANDS_MAX = 8_192
export const START_DEADLINE_MS = 5_000
/** The sensor kills, waits for the last process to go, and drains the rings. */
export const END_DEADLINE_MS = 20_000
export const CHANGE_DEADLINE_MS = 10_000
export const WHO_IS_DEADLINE_MS = 5_000

/** Where a sandbox's queries for names go. */
export interface RedirectTarget {
  readonly sandboxId: string
  readonly port4: number
  readonly port6: number
  /** Its instance. */
  readonly gateway: string
  /** Nothing is refused where it is silent. */
  readonly observes: boolean
}

export type { CommandDone, CommandOutcome, Done } from './command-outcome.js'

interface Waiting {
  /** Its result says nothing of a session's course: it need not wait for the batches before it. */
  readonly asks?: boolean
  readonly what: string
  readonly deadlineMs: number
  timer: NodeJS.Timeout
  done: Done
}

export class SensorCommands {
  private readonly send: (message: IConnectResponse) => void
  private readonly isHeld: () => boolean
  private readonly waiting = new Map<bigint, Waiting>()
  private readonly policies = new PolicySender({
    apply: (applyPolicy, done) =>
      this.issue({ applyPolicy }, { what: 'apply the policy', deadlineMs: CHANGE_DEADLINE_MS, done }),
    part: (policyPart, done) =>
      this.issue({ policyPart }, { what: 'take the policy', deadlineMs: CHANGE_DEADLINE_MS, asks: true, done }),
  })
  /** Begins anywhere: the answer to a command of an earlier engine is for none of ours. */
  private lastId = BigInt(randomInt(2 ** 47))
  private gone: string | null = null
  /** Results that nobody waited for (any more). */
  unexpected = 0

  constructor(options: { send(message: IConnectResponse): void; isHeld(): boolean }) {
    this.send = options.send
    this.isHeld = options.isHeld
  }

  startSandbox(target: { sandboxId: string; pid: number; descriptor?: Uint8Array; apart?: boolean }, done: Done): void {
    this.issue({ startSandbox: target }, { what: 'tag the new sandbox', deadlineMs: START_DEADLINE_MS, done })
  }

  endSandbox(sandboxId: string, done: Done): void {
    this.issue({ endSandbox: { sandboxId } }, { what: 'end the sandbox', deadlineMs: END_DEADLINE_MS, done })
  }

  /** Kills nothing; `inUse` says whether it is there still. */
  endSandboxIfEmpty(sandboxId: string, done: Done): void {
    const what = 'end the sandbox that nobody waits for'
    this.issue({ endSandbox: { sandboxId, onlyIfEmpty: true } }, { what, deadlineMs: END_DEADLINE_MS, done })
  }

  adoptSandbox(target: { sandboxId: string; cgroupPath: string; descriptor?: Uint8Array }, done: Done): void {
    this.issue({ adoptSandbox: target }, { what: 'take the cgroup under watch', deadlineMs: CHANGE_DEADLINE_MS, done })
  }

  releaseSandbox(sandboxId: string, done: Done): void {
    this.issue({ releaseSandbox: { sandboxId } }, { what: 'release the sandbox', deadlineMs: CHANGE_DEADLINE_MS, done })
  }

  freezeSandbox(target: IFreezeSandbox & { frozen: boolean }, done: Done): void {
    const what = target.frozen ? 'freeze the sandbox' : 'thaw the sandbox'
    this.issue({ freezeSandbox: target }, { what, deadlineMs: CHANGE_DEADLINE_MS, asks: true, done })
  }

  /** One for many sandboxes is best given as the same object: it is sent once. */
  applyPolicy(target: ApplyTarget, done: Done): void {
    this.policies.apply(target, done)
  }

  putLease(target: { sandboxId: string; lease: ILease }, done: Done): void {
    const what = 'give the sandbox the addresses of a name'
    this.issue({ putLease: target }, { what, deadlineMs: CHANGE_DEADLINE_MS, asks: true, done })
  }

  redirect(target: RedirectTarget, done: Done): void {
    const what = 'send the names that the sandbox asks for to the gateway'
    this.issue({ redirect: target }, { what, deadlineMs: CHANGE_DEADLINE_MS, asks: true, done })
  }

  /** In place of what was said before: which cgroups of others are held until they have their policies. */
  holdFound(selected: { all: boolean; cgroups: string[] }, done: Done): void {
    const what = 'hold cgroups from their first moment on'
    this.issue({ holdFound: selected }, { what, deadlineMs: CHANGE_DEADLINE_MS, asks: true, done })
  }

  gatewayAlive(done: Done): void {
    const what = 'note that the gateway lives'
    this.issue({ gatewayAlive: {} }, { what, deadlineMs: CHANGE_DEADLINE_MS, asks: true, done })
  }

  /** What holds then is in the outcome's `limits`. Null: lifted. */
  setThrottle(target: ISetThrottle & { limits: ILimits | null }, done: Done): void {
    const what = target.limits === null ? 'lift the throttle' : 'throttle the sandbox'
    this.issue({ setThrottle: target }, { what, deadlineMs: CHANGE_DEADLINE_MS, asks: true, done })
  }

  killSandbox(sandboxId: string, done: Done): void {
    const what = 'kill the sandbox'
    this.issue({ killSandbox: { sandboxId } }, { what, deadlineMs: END_DEADLINE_MS, asks: true, done })
  }

  whoIs(pid: number, done: Done): void {
    this.issue(
      { whoIs: { pid } },
      { what: `tell where process ${pid} is`, deadlineMs: WHO_IS_DEADLINE_MS, asks: true, done },
    )
  }

  /** Whether the result is of a command that only asked. */
  isAnswer(message: ICommandResult): boolean {
    return this.waiting.get(toBigInt(message.id))?.asks === true
  }

  result(message: ICommandResult): void {
    const id = toBigInt(message.id)
    const waiting = this.waiting.get(id)
    if (waiting === undefined) {
      this.unexpected++
      return
    }
    const { error, cgroupPath, killed, processes, sandboxId, degraded, generation, unknownContent, inUse } = message
    const outcome: CommandOutcome =
      error !== '' && error !== undefined && error !== null
        ? {
            ok: false,
            problem: `the sensor could not ${waiting.what}: ${error}`,
            unknownContent: unknownContent ?? false,
          }
        : {
            ok: true,
            cgroupId: toBigInt(message.cgroupId),
            cgroupPath: cgroupPath ?? '',
            killed: killed ?? 0,
            processes: processes ?? 0,
            degraded: degraded ?? [],
            sandboxId: sandboxId ?? '',
            generation: generation ?? 0,
            inUse: inUse ?? false,
            limits: message.limits ?? null,
          }
    this.settle(id, outcome)
  }

  sensorGone(why: string): void {
    this.gone = why
    for (const id of [...this.waiting.keys()]) this.settle(id, { ok: false, problem: why })
  }

  private issue(command: NonNullable<IConnectResponse['command']>, wait: Omit<Waiting, 'timer'>): void {
    if (this.gone !== null) {
      wait.done({ ok: false, problem: this.gone })
      return
    }
    if (this.waiting.size >= COMMANDS_MAX) {
      wait.done({ ok: false, problem: `${COMMANDS_MAX} commands are waiting for the sensor already` })
      return
    }
    const id = ++this.lastId
    this.waiting.set(id, { ...wait, timer: this.deadline(id, wait.deadlineMs) })
    this.send({ command: { id: fromBigInt(id), ...command } })
  }

  private deadline(id: bigint, deadlineMs: number): NodeJS.Timeout {
    return setTimeout(() => {
      const waiting = this.waiting.get(id)
      if (waiting === undefined) return
      if (this.isHeld()) {
        waiting.timer = this.deadline(id, deadlineMs)
        return
      }
      this.settle(id, { ok: false, problem: `the sensor did not ${waiting.what} within ${deadlineMs} ms` })
    }, deadlineMs)
  }

  private settle(id: bigint, outcome: CommandOutcome): void {
    const waiting = this.waiting.get(id)
    if (waiting === undefined) return
    this.waiting.delete(id)
    clearTimeout(waiting.timer)
    waiting.done(outcome)
  }
}

/** One command as a promise, for those who need not act in the turn of its result. Rejects with what the sensor said if it could not. */
export function outcomeOf(issue: (done: Done) => void): Promise<CommandDone> {
  return new Promise((resolve, reject) =>
    issue((outcome) => {
      if (outcome.ok) resolve(outcome)
      else reject(new SluiceError('KERNEL', outcome.problem))
    }),
  )
}

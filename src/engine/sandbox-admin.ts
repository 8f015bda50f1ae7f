/**
 * What may be asked of a sandbox that is there: shown, frozen, thawed, killed, released; and taking a cgroup that somebody else made under
 * watch. Guards that each is done only by its owner, or by an administrator where more than the owner is concerned, that it was
 * observed before it is called done, and that it is logged with who asked.
 */
import { SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import {
  type IAddSandboxRequest,
  type IAddSandboxResponse,
  type IChangeSandboxRequest,
  type IChangeSandboxResponse,
  type IListSandboxesResponse,
  type ISandboxStatus,
  type ISetPolicyRequest,
  type ISetPolicyResponse,
  ResponseAction,
  SandboxAction,
} from '../proto/codec.js'
import type { Caller } from '../proto/rpc.js'
import type { Access } from './access.js'
import type { Adoptions } from './adoptions.js'
import type { ConnectedSensor } from './ingest.js'
import type { NodePolicies } from './policy/node-policies.js'
import type { PolicyKeeper } from './policy-keeper.js'
import { OPERATOR, type Responder, type ResponseInForce } from './respond/responder.js'
import { type BookedSandbox, type SandboxBook, statusOf } from './sandbox-book.js'
import { outcomeOf, type SensorCommands } from './sensor-commands.js'

/** What is a response when a detection asks for it. */
const ORDERS: ReadonlyMap<SandboxAction, { readonly action: ResponseAction; readonly on: boolean }> = new Map([
  [SandboxAction.SANDBOX_ACTION_FREEZE, { action: ResponseAction.RESPONSE_ACTION_FREEZE, on: true }],
  [SandboxAction.SANDBOX_ACTION_THAW, { action: ResponseAction.RESPONSE_ACTION_FREEZE, on: false }],
  [SandboxAction.SANDBOX_ACTION_THROTTLE, { action: ResponseAction.RESPONSE_ACTION_THROTTLE, on: true }],
  [SandboxAction.SANDBOX_ACTION_UNTHROTTLE, { action: ResponseAction.RESPONSE_ACTION_THROTTLE, on: false }],
  [SandboxAction.SANDBOX_ACTION_DENY, { action: ResponseAction.RESPONSE_ACTION_DENY, on: true }],
  [SandboxAction.SANDBOX_ACTION_UNDENY, { action: ResponseAction.RESPONSE_ACTION_DENY, on: false }],
  [SandboxAction.SANDBOX_ACTION_KILL, { action: ResponseAction.RESPONSE_ACTION_KILL, on: true }],
])

export interface AdminOptions {
  readonly access: Access
  readonly book: SandboxBook
  readonly adoptions: Adoptions
  readonly keeper: PolicyKeeper
  readonly node: NodePolicies
  readonly responder: Responder
  readonly log: Log
  sensor(): ConnectedSensor | null
}

export class SandboxAdmin {
  private readonly options: AdminOptions

  constructor(options: AdminOptions) {
    this.options = options
  }

  list(caller: Caller): IListSandboxesResponse {
    const { access, book } = this.options
    const seen = book.all().filter(({ ownerUid }) => access.owns(caller, ownerUid))
    const isAdmin = access.rankOf(caller) === 'admin'
    const policyProblems = isAdmin ? this.options.node.problems : []
    return { sandboxes: seen.map((booked) => this.statusOf(booked)), policyProblems }
  }

  async add(caller: Caller, request: IAddSandboxRequest): Promise<IAddSandboxResponse> {
    const { access, adoptions, log } = this.options
    access.requireAdmin(caller, 'taking a cgroup under watch')
    const { booked, processes } = await adoptions.add(request, this.commands(), caller.uid)
    log.info({ sandbox: booked.id, uid: caller.uid, pid: caller.pid, processes }, 'sandbox added')
    return { sandbox: this.statusOf(booked), processes }
  }

  async change(caller: Caller, request: IChangeSandboxRequest): Promise<IChangeSandboxResponse> {
    const { access, book, log } = this.options
    const booked = book.find(request.sandbox ?? '', ({ ownerUid }) => access.owns(caller, ownerUid))
    const action = request.action ?? SandboxAction.SANDBOX_ACTION_UNSPECIFIED
    if (action === SandboxAction.SANDBOX_ACTION_RELEASE) access.requireAdmin(caller, 'releasing a sandbox')
    const before = this.options.keeper.refOf(booked.id)
    const { killed } = await this.carryOut(booked, action, caller.uid)
    log.info({ sandbox: booked.id, action: SandboxAction[action], uid: caller.uid, pid: caller.pid }, 'sandbox changed')
    const lifted = action === SandboxAction.SANDBOX_ACTION_RELEASE && before !== null ? { lifted: before } : {}
    return { sandbox: this.statusOf(booked), killed, ...lifted }
  }

  async setPolicy(caller: Caller, request: ISetPolicyRequest): Promise<ISetPolicyResponse> {
    const { access, book, keeper, log } = this.options
    access.requireAdmin(caller, 'setting the policy of a sandbox')
    const booked = book.find(request.sandbox ?? '', () => true)
    this.commands()
    await keeper.hold(booked, request.sources ?? {}, `set by user ${caller.uid}`)
    log.info({ sandbox: booked.id, uid: caller.uid, pid: caller.pid }, 'policy set')
    return { sandbox: this.statusOf(booked) }
  }

  private statusOf(booked: BookedSandbox): ISandboxStatus {
    const { keeper } = this.options
    const [policy, problem] = [keeper.refOf(booked.id), keeper.problemOf(booked.id)]
    const policyProblems = problem === null ? [] : [problem]
    const inForce = this.options.responder.of(booked.id)
    const responses = inForce.map(responseLine)
    const frozen = booked.frozen || inForce.some(({ action }) => action === ResponseAction.RESPONSE_ACTION_FREEZE)
    return { ...statusOf(booked), frozen, ...(policy === null ? {} : { policy }), policyProblems, responses }
  }

  private async carryOut(booked: BookedSandbox, action: SandboxAction, uid: number): Promise<{ killed: number }> {
    const commands = this.commands()
    const { id } = booked
    const order = ORDERS.get(action)
    if (order !== undefined) return this.options.responder.order(id, order.action, { on: order.on, who: `user ${uid}` })
    switch (action) {
      case SandboxAction.SANDBOX_ACTION_RELEASE: {
        const done = await outcomeOf((cb) => commands.releaseSandbox(id, cb))
        this.options.keeper.lifted(booked, `released by user ${uid}`)
        booked.end(0)
        return done
      }
      default:
        throw new SluiceError('USAGE', `the action ${action} is not one that this engine knows`)
    }
  }

  private commands(): SensorCommands {
    const sensor = this.options.sensor()
    if (sensor !== null) return sensor.commands
    throw new SluiceError('IO', 'no sensor is connected to the engine', { hint: 'the log of the agent says why' })
  }
}

/** `freeze until 2026-01-31T12:00:00Z, for 019c…`; by an operator: `freeze, by an operator`. */
function responseLine({ action, trigger, untilMs }: ResponseInForce): string {
  const name = (ResponseAction[action] ?? '').replace('RESPONSE_ACTION_', '').toLowerCase()
  const until = untilMs === 0 ? '' : ` until ${new Date(untilMs).toISOString()}`
  return `${name}${until}, ${trigger === OPERATOR ? 'by an operator' : `for ${trigger}`}`
}

/**
 * The engine's side of the gateway: hands it each sandbox's policy, has the kernel send the sandbox's queries to it, passes its leases to
 * the sensor and its facts to the sessions. It guards that a sandbox counts as served only when names are answered by its own policy and
 * the kernel knows where; that a sandbox is over only when all that it asked was told, or how much of it is lost; that one gateway at a
 * time is listened to; and that the kernel hears whether it lives. Not here: what a lease may say, which the sensor checks.
 */
import { SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import {
  fromBigInt,
  type ICompiledPolicy,
  type IDnsFact,
  type IDnsFacts,
  type IGatewayHello,
  type ILease,
  type ILimitFact,
  type IServeRequest,
  toBigInt,
  Wire,
} from '../proto/codec.js'
import type { GatewayHandler, GatewayServerCall } from '../proto/rpc.js'
import { ConnectedGateway, type ServedAt } from './connected-gateway.js'
import { GatewayLedger, GONE, type MissingQueries } from './gateway-ledger.js'
import type { Done, RedirectTarget } from './sensor-commands.js'

export const SERVE_DEADLINE_MS = 5_000
/** For a gateway to tell all that a sandbox asked; one that was killed is back by then. */
const DROP_DEADLINE_MS = 3_000
/** As it stops. */
const LEAVE_DEADLINE_MS = 1_000
const INSTANCE_CHARS_MAX = 256
const CAUSE_CHARS_MAX = 512
/** Messages of facts that wait until it is known whose they are; what is beyond is lost, and told. */
const HELD_MAX = 64
const NO_SESSION = 'more was told of names than the engine had room for while it went on with its sessions'
const EVERY_SANDBOX = ''

/** The part of the sensor's commands that is needed here. */
export interface GatewayCommands {
  putLease(target: { sandboxId: string; lease: ILease }, done: Done): void
  redirect(target: RedirectTarget, done: Done): void
  gatewayAlive(done: Done): void
}

export interface GatewayDeskOptions {
  /** Null: no sensor is connected. */
  commands(): GatewayCommands | null
  /** `instance` and the fact's number name it. */
  observe(fact: IDnsFact, instance: string): void
  /** The same of a limit. */
  limited(fact: ILimitFact, instance: string): void
  /** The kernel is about to have it: the sandbox can connect to these addresses by that name. */
  leased(sandboxId: string, lease: ILease): void
  /** Of what a sandbox asked, so much will not be told any more. */
  missing(sandboxId: string, missing: MissingQueries): void
  readonly log: Log
}

interface Served {
  policy: ICompiledPolicy
  readonly waiting: Set<{ settle(problem: string | null): void }>
}

/** Waits to hear that all was told. */
interface Finishing {
  readonly deadline: NodeJS.Timeout
  readonly promise: Promise<void>
  done(): void
}

export class GatewayDesk {
  readonly handler: GatewayHandler
  private readonly options: GatewayDeskOptions
  private readonly served = new Map<string, Served>()
  private readonly finishing = new Map<string, Finishing>()
  private readonly ledger = new GatewayLedger()
  /** What a gateway is told of a policy: one object for one policy. */
  private readonly told = new WeakMap<ICompiledPolicy, ICompiledPolicy>()
  private current: ConnectedGateway | null = null
  /** That the gateway serves and nobody here knows; null: nobody knows yet which those are. */
  private orphans: Set<string> | null = new Set()
  private isComplete = false
  /** What is told waits here until sessions are there to have it; null: they are. */
  private held: (() => void)[] | null = []
  /** Queries of which was told while nothing more could wait. */
  private readonly notHeld = new Map<string, bigint>()
  /** Calls that were ended because a gateway is connected already, or did not keep to the protocol. */
  refused = 0

  constructor(options: GatewayDeskOptions) {
    this.options = options
    this.handler = (call) => this.accept(call)
  }

  get isConnected(): boolean {
    return this.current !== null
  }

  /**
   * Resolves when the sandbox's names are answered by this policy and by nothing else. Rejects with LIMIT when that takes too long, or with
   * what the gateway or the sensor said; it is tried again whenever a gateway connects.
   */
  serve(sandboxId: string, policy: ICompiledPolicy): Promise<void> {
    const served = this.served.get(sandboxId) ?? { policy, waiting: new Set() }
    served.policy = policy
    this.served.set(sandboxId, served)
    const { current } = this
    if (current !== null) this.serveBy(current, sandboxId, policy)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => wait.settle(`no gateway within ${SERVE_DEADLINE_MS} ms`), SERVE_DEADLINE_MS)
      const wait = {
        settle(problem: string | null) {
          clearTimeout(timer)
          served.waiting.delete(wait)
          if (problem === null) resolve()
          else reject(new SluiceError('LIMIT', `the names of ${sandboxId} can't be answered: ${problem}`))
        },
      }
      served.waiting.add(wait)
    })
  }

  /** Resolves when all that it asked was told, or is missing for good. Null: there is nothing to wait for. */
  drop(sandboxId: string): Promise<void> | null {
    const served = this.served.get(sandboxId)
    this.served.delete(sandboxId)
    this.settle(served, 'the sandbox ended')
    const known = this.finishing.get(sandboxId)
    if (known !== undefined) return known.promise
    // Also one that an earlier engine had it serve.
    this.current?.call.send({ drop: sandboxId })
    const isOver = served === undefined || (this.current === null && !this.ledger.isOpen)
    return isOver ? null : this.finish(sandboxId, DROP_DEADLINE_MS)
  }

  /** Another sensor is here: it is told where each sandbox's queries go as soon as the gateway says so again. */
  sensorConnected(): void {
    this.serveAll()
  }

  /** Every sandbox that the sensor holds to a policy is served: what the gateway serves besides has ended meanwhile. */
  complete(): void {
    this.isComplete = true
    this.dropOrphans()
  }

  /** Sessions are here for all that is told. */
  settled(): void {
    const { held } = this
    this.held = null
    for (const tell of held ?? []) tell()
    for (const [id, count] of this.notHeld) this.missing(id, { count, exact: true, cause: NO_SESSION, isOfNames: true })
    this.notHeld.clear()
  }

  /** Resolves when it was told all that was asked. */
  async stop(): Promise<void> {
    for (const served of this.served.values()) this.settle(served, 'the engine is stopping')
    if (this.current !== null) {
      this.current.call.send({ leaving: {} })
      await this.finish(EVERY_SANDBOX, LEAVE_DEADLINE_MS)
    }
    for (const { done } of [...this.finishing.values()]) done()
    this.current?.call.end()
  }

  private finish(sandboxId: string, deadlineMs: number): Promise<void> {
    let resolved = () => {}
    const promise = new Promise<void>((resolve) => {
      resolved = resolve
    })
    const done = () => {
      clearTimeout(deadline)
      this.finishing.delete(sandboxId)
      resolved()
    }
    const deadline = setTimeout(() => {
      if (sandboxId !== EVERY_SANDBOX) this.missing(sandboxId, GONE)
      done()
    }, deadlineMs)
    this.finishing.set(sandboxId, { deadline, promise, done })
    return promise
  }

  private accept(call: GatewayServerCall): void {
    call.onEnd((why) => {
      if (this.current?.call !== call) return
      this.current = null
      this.options.log.warn({ why }, 'the gateway is gone: names are not answered until it is back')
    })
    call.onMessage((message) => {
      if (message.hello) this.hello(call, message.hello)
      else if (this.current?.call === call) this.receive(this.current, message)
      else this.refuse(call, 'it said something before Hello')
    })
  }

  private hello(call: GatewayServerCall, hello: IGatewayHello): void {
    const instance = hello.instance ?? ''
    const isWhole = instance.length > 0 && instance.length <= INSTANCE_CHARS_MAX
    if (this.current !== null || !isWhole) {
      this.refuse(call, isWhole ? 'another gateway is connected' : 'its instance is not named')
      return
    }
    this.current = new ConnectedGateway(call, instance)
    this.options.log.info({ instance }, 'gateway connected')
    call.send({ kept: { number: fromBigInt(0n) } })
    for (const [sandboxId, missing] of this.ledger.hello(hello)) this.missing(sandboxId, missing)
    for (const sandboxId of this.finishing.keys()) call.send({ drop: sandboxId })
    this.orphans = new Set((hello.told ?? []).map(({ sandboxId }) => sandboxId ?? ''))
    this.alive()
    this.serveAll()
    if (this.isComplete) this.dropOrphans()
  }

  private dropOrphans(): void {
    const orphans = [...(this.orphans ?? [])].filter((id) => !this.served.has(id) && !this.finishing.has(id))
    this.orphans = null
    for (const id of orphans) this.current?.call.send({ drop: id })
  }

  private refuse(call: GatewayServerCall, why: string): void {
    this.refused++
    this.options.log.error({ why }, 'gateway refused')
    call.end()
  }

  private serveAll(): void {
    const { current } = this
    if (current === null) return
    for (const [sandboxId, { policy }] of this.served) this.serveBy(current, sandboxId, policy)
  }

  private serveBy(gateway: ConnectedGateway, sandboxId: string, policy: ICompiledPolicy): void {
    gateway.serve(sandboxId, this.forGateway(policy), (outcome) => {
      const served = this.served.get(sandboxId)
      // One that is of an earlier policy is followed by another.
      if (this.current !== gateway || served === undefined || served.policy !== policy) return
      if (outcome.ok) this.ready(served, { sandboxId, instance: gateway.instance, at: outcome })
      else this.settle(served, outcome.problem)
    })
  }

  private receive(gateway: ConnectedGateway, message: IServeRequest): void {
    if (message.alive) this.alive()
    else if (message.ready) gateway.ready(message.ready)
    else if (message.partTaken) gateway.partTaken(message.partTaken)
    else if (message.lease) this.lease(gateway.call, message.lease)
    else if (message.dns) this.facts(gateway, message.dns)
    else if (message.toldAll) this.toldAll(message.toldAll.sandboxId ?? '')
    else if (message.leaving) this.left()
  }

  private facts(gateway: ConnectedGateway, facts: IDnsFacts): void {
    const counts = [
      ...(facts.facts ?? []).map(({ sandboxId }) => ({ id: sandboxId ?? '', count: 1n })),
      ...(facts.limits ?? []).map(({ sandboxId, refused }) => ({ id: sandboxId ?? '', count: toBigInt(refused) })),
      ...(facts.lost ?? []).map(({ sandboxId, count }) => ({ id: sandboxId ?? '', count: toBigInt(count) })),
    ]
    for (const { id, count } of counts) this.ledger.add(id, count)
    if (this.held === null) this.pass(gateway, facts)
    else if (this.held.length < HELD_MAX) this.held.push(() => this.pass(gateway, facts))
    else for (const { id, count } of counts) this.notHeld.set(id, (this.notHeld.get(id) ?? 0n) + count)
  }

  private pass(gateway: ConnectedGateway, { facts, limits, lost }: IDnsFacts): void {
    const { observe, limited, missing } = this.options
    for (const fact of facts ?? []) observe(fact, gateway.instance)
    for (const fact of limits ?? []) limited(fact, gateway.instance)
    for (const { sandboxId, count, cause } of lost ?? []) {
      const text = (cause ?? '').slice(0, CAUSE_CHARS_MAX)
      missing(sandboxId ?? '', { count: toBigInt(count), exact: true, cause: text, isOfNames: true })
    }
    gateway.lastFact = [...(facts ?? []), ...(limits ?? [])].reduce(
      (last, { number }) => (toBigInt(number) > last ? toBigInt(number) : last),
      gateway.lastFact,
    )
  }

  /** A mark of all that was passed on by now; to be called when another engine would know of it. */
  passedOn(): { kept(): void } {
    const { current } = this
    const number = current?.lastFact ?? 0n
    return {
      kept: () => {
        if (current === null || this.current !== current || number <= current.keptFact) return
        current.keptFact = number
        current.call.send({ kept: { number: fromBigInt(number) } })
      },
    }
  }

  private missing(sandboxId: string, missing: MissingQueries): void {
    if (this.held === null) this.options.missing(sandboxId, missing)
    else this.held.push(() => this.options.missing(sandboxId, missing))
  }

  private toldAll(sandboxId: string): void {
    if (!this.served.has(sandboxId)) this.ledger.forget(sandboxId)
    this.finishing.get(sandboxId)?.done()
  }

  /** It ends in order. */
  private left(): void {
    this.ledger.close()
    for (const { done } of [...this.finishing.values()]) done()
  }

  private alive(): void {
    this.options.commands()?.gatewayAlive(() => {})
  }

  private ready(served: Served, { sandboxId, instance, at }: { sandboxId: string; instance: string; at: ServedAt }) {
    const commands = this.options.commands()
    if (commands === null) this.options.log.warn({ sandbox: sandboxId }, 'no sensor is there to redirect names')
    else {
      const observes = served.policy.wire === Wire.WIRE_OBSERVE
      const target = { sandboxId, port4: at.port4, port6: at.port6, gateway: instance, observes }
      commands.redirect(target, (outcome) => this.settle(served, outcome.ok ? null : outcome.problem))
    }
  }

  /** The sensor decides: it knows the sandbox and its policy also where another engine had both put there. */
  private lease(call: GatewayServerCall, { id, sandboxId, lease }: NonNullable<IServeRequest['lease']>): void {
    const answer = (error: string) => call.send({ lease: { id: id ?? null, error } })
    const commands = this.options.commands()
    if (commands === null || !lease) answer('no sensor is connected')
    else {
      const target = { sandboxId: sandboxId ?? '', lease }
      this.options.leased(target.sandboxId, lease)
      commands.putLease(target, (outcome) => answer(outcome.ok ? '' : outcome.problem))
    }
  }

  private settle(served: Served | undefined, problem: string | null): void {
    for (const { settle } of [...(served?.waiting ?? [])]) settle(problem)
  }

  private forGateway(policy: ICompiledPolicy): ICompiledPolicy {
    const known = this.told.get(policy)
    if (known !== undefined) return known
    const told = namesPart(policy)
    this.told.set(policy, told)
    return told
  }
}

/** What a gateway needs to know of a policy. */
function namesPart({
  name,
  digest,
  mode,
  wire,
  dns,
  dnsLimit,
  rules,
  hosts,
  denyHosts,
}: ICompiledPolicy): ICompiledPolicy {
  // Those of addresses may be very many. Numbers stay what they are.
  const named = new Set([0, ...[...(hosts ?? []), ...(denyHosts ?? [])].map(({ rule }) => rule ?? 0)])
  return {
    ...{ name: name ?? '', digest: digest ?? '', mode: mode ?? 0, wire: wire ?? 0, dns: dns ?? 0 },
    ...(dnsLimit ? { dnsLimit } : {}),
    ...{ rules: (rules ?? []).map((rule, number) => (named.has(number) ? rule : {})) },
    ...{ hosts: hosts ?? [], denyHosts: denyHosts ?? [] },
  }
}

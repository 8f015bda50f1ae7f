/**
 * The gateway's connection to its engine: made, lost and made again. Guards that a lease has exactly one outcome and a deadline, that
 * what was asked is told in order and before the engine hears that it was all, and that the engine hears every half second that names are
 * answered. Policies that are here stay in force while the engine is away; without it no lease comes about, so no new name is answered.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf, SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import { fromBigInt, type ILease, type IServeResponse, toBigInt } from '../proto/codec.js'
import type { GatewayClientCall } from '../proto/rpc.js'
import type { DnsFact, LimitFact } from './dns-fact.js'
import { Outbox } from './outbox.js'
import type { QueryCounts } from './query-counts.js'
import type { Sandboxes } from './sandboxes.js'
import { ToldQueries } from './told-queries.js'

export const LEASE_DEADLINE_MS = 2_000
const LEASES_MAX = 4_096
/** How long facts may gather. */
const FACTS_DELAY_MS = 5
const ALIVE_MS = 500
const ATTEMPT_MS = 2_000
const BACKOFF_MIN_MS = 50
const BACKOFF_MAX_MS = 1_000
/** For the engine to read what it is told last. */
const FINISH_MS = 1_000
const NO_BYTES = new Uint8Array(0)
const EVERY_SANDBOX = ''

export interface EngineLinkOptions {
  readonly instance: string
  connect(deadlineMs: number): Promise<GatewayClientCall>
  sandboxes(): Sandboxes
  readonly counts: Pick<QueryCounts, 'earlier' | 'begin' | 'close'>
  readonly log: Log
}

interface WaitingLease {
  readonly timer: NodeJS.Timeout
  settle(error: string): void
}

export class EngineLink {
  readonly #options: EngineLinkOptions
  readonly #stopping = new AbortController()
  readonly #leases = new Map<bigint, WaitingLease>()
  readonly #outbox = new Outbox()
  readonly #told = new ToldQueries()
  /** Sandboxes of which the engine waits to hear that it was told all. */
  #toFinish: string[] = []
  #call: GatewayClientCall | null = null
  #isFirst = true
  #lastLease = 0n
  #sending: NodeJS.Timeout | NodeJS.Immediate | null = null
  #alive: NodeJS.Timeout | null = null
  #retrying: Promise<void> | null = null

  constructor(options: EngineLinkOptions) {
    this.#options = options
  }

  /** Throws where no engine takes us within the deadline. Reconnects by itself from then on. */
  async start(deadlineMs: number): Promise<void> {
    await this.#attempt(deadlineMs)
    this.#alive = setInterval(() => this.#call?.send({ alive: {} }), ALIVE_MS)
  }

  /** Resolves with whether an engine was told all. */
  async stop(): Promise<boolean> {
    this.#stopping.abort()
    if (this.#alive !== null) clearInterval(this.#alive)
    while (this.#sendSome());
    const call = this.#call
    this.#call = null
    const isTold = this.#outbox.isEmpty && call?.send({ leaving: {} }) === true
    const isRead = (await call?.finish(FINISH_MS)) === true
    this.#failLeases('the gateway is stopping')
    await this.#retrying
    return isTold && isRead
  }

  /** Resolves when the kernel has it. Rejects with why not. */
  lease(sandboxId: string, lease: ILease): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (why: string) => reject(new SluiceError('IO', `the lease was not made: ${why}`))
      const id = ++this.#lastLease
      if (this.#leases.size >= LEASES_MAX) fail(`${LEASES_MAX} are waiting`)
      else if (this.#call?.send({ lease: { id: fromBigInt(id), sandboxId, lease } }) !== true) fail('no engine')
      else {
        const settle = (error: string) => {
          clearTimeout(timer)
          this.#leases.delete(id)
          if (error === '') resolve()
          else fail(error)
        }
        const timer = setTimeout(() => settle(`no answer within ${LEASE_DEADLINE_MS} ms`), LEASE_DEADLINE_MS)
        this.#leases.set(id, { timer, settle })
      }
    })
  }

  tell(fact: DnsFact): void {
    this.#outbox.tell(fact)
    this.#sendSoon()
  }

  tellLimit(limit: LimitFact): void {
    this.#outbox.tellLimit(limit)
    this.#sendSoon()
  }

  lose(sandboxId: string, count: number, cause: string): void {
    this.#outbox.lose(sandboxId, count, cause)
    this.#sendSoon()
  }

  #sendSoon(): void {
    this.#sending ??= setTimeout(() => this.#send(), FACTS_DELAY_MS)
  }

  /** One message a turn: writing down what was told must not keep a query waiting. */
  #send(): void {
    this.#sending = null
    if (this.#sendSome()) this.#sending = setImmediate(() => this.#send())
  }

  /** Whether there is more to send. */
  #sendSome(): boolean {
    const call = this.#call
    if (call === null) return false
    if (this.#outbox.isEmpty) return this.#finishOne(call)
    const parcel = this.#outbox.next()
    if (!call.send({ dns: parcel.message })) return false
    this.#outbox.taken(parcel)
    this.#told.sent(parcel.last, parcel.counts)
    return !this.#outbox.isEmpty || this.#toFinish.length > 0
  }

  /** Behind all that was told. */
  #finishOne(call: GatewayClientCall): boolean {
    const [sandboxId] = this.#toFinish
    if (sandboxId === undefined || !call.send({ toldAll: { sandboxId } })) return false
    this.#toFinish.shift()
    if (sandboxId !== EVERY_SANDBOX && !this.#options.sandboxes().serves(sandboxId)) {
      this.#told.forget(sandboxId)
      this.#options.counts.close(sandboxId)
    }
    return this.#toFinish.length > 0
  }

  async #attempt(deadlineMs: number): Promise<void> {
    const { connect, sandboxes, log } = this.#options
    const call = await connect(deadlineMs)
    if (this.#stopping.signal.aborted) {
      call.end()
      return
    }
    call.onMessage((message) => {
      if (this.#call === call) this.#receive(message)
    })
    call.onEnd((why) => {
      if (this.#call !== call) return
      this.#call = null
      this.#toFinish = []
      log.warn({ why }, 'the engine is gone: no new names are answered until it is back')
      this.#failLeases(why)
      this.#retrying = this.#reconnect()
    })
    this.#call = call
    this.#hello(call)
    sandboxes().forget()
    this.#send()
  }

  #hello(call: GatewayClientCall): void {
    const { instance, sandboxes, counts } = this.#options
    const { instance: earlier = '', taken = new Map<string, number>() } = (this.#isFirst && counts.earlier) || {}
    call.send({
      hello: {
        ...{ instance, told: this.#told.of(sandboxes().ids), earlier },
        taken: [...taken].map(([sandboxId, count]) => ({ sandboxId, count: fromBigInt(BigInt(count)) })),
      },
    })
  }

  /** An engine has taken us, which comes first, or has saved what it was told. */
  #kept(number: bigint): void {
    if (this.#isFirst) this.#options.counts.begin(this.#options.instance)
    this.#isFirst = false
    this.#told.kept(number)
  }

  #receive(message: IServeResponse): void {
    const { serve, part, drop, lease, kept, leaving } = message
    if (lease) this.#leases.get(toBigInt(lease.id))?.settle(lease.error ?? '')
    else if (drop) void this.#drop(drop)
    else if (serve) void this.#serve(serve)
    else if (part) this.#takePart(part)
    else if (kept) this.#kept(toBigInt(kept.number))
    else if (leaving) this.#finish(EVERY_SANDBOX)
  }

  async #drop(sandboxId: string): Promise<void> {
    await this.#options.sandboxes().drop(sandboxId)
    this.#finish(sandboxId)
  }

  #finish(sandboxId: string): void {
    this.#toFinish.push(sandboxId)
    this.#sending ??= setImmediate(() => this.#send())
  }

  async #serve({ id, sandboxId: given, policy, content }: NonNullable<IServeResponse['serve']>): Promise<void> {
    const sandboxes = this.#options.sandboxes()
    const sandboxId = given ?? ''
    const name = nameOf(content)
    const answer = { id: id ?? null, sandboxId }
    try {
      const judgedBy = sandboxes.find({ policy: policy ?? null, name })
      if (judgedBy === null) {
        const error = 'no policy of that name is here'
        this.#call?.send({ ready: { ...answer, error, unknownContent: true } })
        return
      }
      const { ip4, ip6 } = await sandboxes.serve(sandboxId, judgedBy, name)
      const policyDigest = judgedBy.policy.digest ?? ''
      this.#call?.send({ ready: { ...answer, policyDigest, port4: ip4, port6: ip6 } })
    } catch (error) {
      this.#options.log.error({ sandbox: sandboxId, why: messageOf(error) }, 'names of a sandbox are not answered')
      this.#call?.send({ ready: { ...answer, error: messageOf(error) } })
    }
  }

  #takePart({ id, part: given }: NonNullable<IServeResponse['part']>): void {
    const { content, offset, part, total } = given ?? {}
    const piece = { offset: offset ?? 0, part: part ?? NO_BYTES, total: total ?? 0 }
    let error = ''
    try {
      this.#options.sandboxes().policyParts.add(nameOf(content), piece)
    } catch (thrown) {
      error = messageOf(thrown)
    }
    this.#call?.send({ partTaken: { id: id ?? null, error } })
  }

  #failLeases(why: string): void {
    for (const { settle } of [...this.#leases.values()]) settle(why)
  }

  async #reconnect(): Promise<void> {
    const { signal } = this.#stopping
    for (let backoffMs = BACKOFF_MIN_MS; !signal.aborted; backoffMs = Math.min(2 * backoffMs, BACKOFF_MAX_MS)) {
      await sleep(backoffMs, undefined, { signal }).catch(() => {})
      if (signal.aborted) return
      try {
        await this.#attempt(ATTEMPT_MS)
        this.#options.log.info('the engine is back')
        return
      } catch (error) {
        this.#options.log.debug({ why: messageOf(error) }, 'no engine yet')
      }
    }
  }
}

function nameOf(content: Uint8Array | null | undefined): string {
  return Buffer.from(content ?? NO_BYTES).toString('base64')
}

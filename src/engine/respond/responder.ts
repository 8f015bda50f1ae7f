/**
 * Does what detections lead to and what operators order, and undoes it: each response is applied, read back, told in the session, and ends with its
 * time unless it is renewed. Guards that one that did not take is told as a detection of its own and one that can't be undone is tried again,
 * that what an operator ordered ends by an operator alone, and that what another engine began is undone in its time. Not here: how each is done
 * (the hands), and which step is next (ladders.ts).
 */
import { messageOf } from '../../base/error.js'
import type { Log } from '../../base/log.js'
import {
  fromBigInt,
  type IDetection,
  type IResponse,
  ResponseAction,
  ResponseState,
  Severity,
} from '../../proto/codec.js'

export const OPERATOR = 'operator'
/** What an operator undid is not done again by a detection for so long. */
export const HOLD_MS = 600_000
const RETRY_MS = 5_000
/** An engine waits for a run's reader for not much longer. */
const TELL_TRIES = 150
const TELL_AGAIN_MS = 100
const NS_PER_MS = 1_000_000n
const BY_TIME = 'time'

/** What was read back. */
export interface Observed {
  /** One sentence. */
  readonly text: string
  /** Processes. */
  readonly killed: number
}

/** Each rejects with why it is not so. */
export interface Hands {
  apply(sandboxId: string, response: ResponseInForce): Promise<Observed>
  undo(sandboxId: string, action: ResponseAction, by: string): Promise<Observed>
}

export interface ResponderOptions {
  readonly hands: Hands
  readonly log: Log
  nowUnixMs(): number
  /** In the sandbox's session. Its uid; empty where there is no session any more. */
  tell(sandboxId: string, kind: { readonly response: IResponse } | { readonly detection: IDetection }): string
  /** The detector is not to do this, nor anything harder. */
  hold(sandboxId: string, action: ResponseAction, untilMs: number): void
  /** Something is in force, or not any more. */
  changed(): void
}

export interface ResponseRequest {
  readonly sandboxId: string
  readonly action: ResponseAction
  /** Uid of the detection. */
  readonly trigger: string
  /** 0: it is not undone. */
  readonly ttlMs: number
  readonly step: number
}

/** What another engine has to know of a response. */
export interface ResponseInForce {
  readonly action: ResponseAction
  readonly trigger: string
  readonly step: number
  /** 0: until an operator undoes it. */
  readonly untilMs: number
}

interface InForce extends ResponseInForce {
  untilMs: number
  timer: NodeJS.Timeout | null
}

export class Responder {
  private readonly options: ResponderOptions
  private readonly bySandbox = new Map<string, Map<ResponseAction, InForce>>()
  /** By sandbox and action: one after the other. */
  private readonly turns = new Map<string, Promise<void>>()
  private isStopped = false

  constructor(options: ResponderOptions) {
    this.options = options
  }

  /** A detection asks for it. What became of it is told in the session. */
  requested(request: ResponseRequest): void {
    void this.inTurn(request, () => this.respond(request)).catch((error: unknown) => {
      this.options.log.error({ err: error, sandbox: request.sandboxId }, 'a response failed')
    })
  }

  /** Rejects with why it is not so. `who`: for the record. */
  order(sandboxId: string, action: ResponseAction, { on, who }: { on: boolean; who: string }): Promise<Observed> {
    return this.inTurn({ sandboxId, action }, () =>
      (on ? this.ordered : this.lifted).call(this, sandboxId, action, who),
    )
  }

  /** In force, in the order in which they came. */
  of(sandboxId: string): ResponseInForce[] {
    return [...(this.bySandbox.get(sandboxId)?.values() ?? [])].map(({ action, trigger, step, untilMs }) => {
      return { action, trigger, step, untilMs }
    })
  }

  /** Of an engine before this one. */
  goesOn(sandboxId: string, inForce: readonly ResponseInForce[]): void {
    for (const each of inForce) this.keep(sandboxId, each)
  }

  /** It is so: an engine before this one did it, and left word of it. Nothing where it is known. `observed`: to be told, as nobody may have. */
  found(sandboxId: string, response: ResponseInForce, observed = ''): void {
    if (this.bySandbox.get(sandboxId)?.has(response.action)) return
    this.keep(sandboxId, response)
    if (observed !== '') this.tellSoon(sandboxId, response, APPLIED, { observed })
  }

  /** It is not so (any more): an engine before this one undid it, and could not say so. */
  foundNot(sandboxId: string, action: ResponseAction, observed: string): void {
    const known = this.bySandbox.get(sandboxId)?.get(action)
    if (known === undefined) return
    this.drop(sandboxId, action)
    this.options.changed()
    this.tellSoon(sandboxId, { ...known, untilMs: 0 }, REVERTED, { observed })
  }

  /** Its session may not go on before its reader is back. */
  private tellSoon(
    sandboxId: string,
    response: ResponseInForce,
    state: ResponseState,
    more: Pick<IResponse, 'observed' | 'undoneBy'>,
    tries = TELL_TRIES,
  ): void {
    if (this.tell(sandboxId, response, state, more) !== '' || tries === 0 || this.isStopped) return
    const again = () => this.tellSoon(sandboxId, response, state, more, tries - 1)
    setTimeout(again, TELL_AGAIN_MS).unref()
  }

  /** The sandbox is over, or let go. */
  forget(sandboxId: string): void {
    for (const { timer } of this.bySandbox.get(sandboxId)?.values() ?? []) if (timer !== null) clearTimeout(timer)
    this.bySandbox.delete(sandboxId)
  }

  stop(): void {
    this.isStopped = true
    for (const sandboxId of [...this.bySandbox.keys()]) this.forget(sandboxId)
  }

  private async respond({ sandboxId, action, trigger, ttlMs, step }: ResponseRequest): Promise<void> {
    const { hands, nowUnixMs } = this.options
    const known = this.bySandbox.get(sandboxId)?.get(action)
    if (known !== undefined) {
      const untilMs = known.untilMs === 0 ? 0 : Math.max(known.untilMs, nowUnixMs() + ttlMs)
      this.keep(sandboxId, { ...known, untilMs })
      this.tell(sandboxId, { action, trigger, step, untilMs }, APPLIED, { observed: 'it is so already' })
      return
    }
    const response = { action, trigger, step, untilMs: ttlMs === 0 ? 0 : nowUnixMs() + ttlMs }
    try {
      const observed = await hands.apply(sandboxId, response)
      if (action !== ResponseAction.RESPONSE_ACTION_KILL) this.keep(sandboxId, response)
      this.tell(sandboxId, response, APPLIED, { observed: observed.text })
    } catch (error) {
      this.failed(sandboxId, response, messageOf(error))
    }
  }

  private async ordered(sandboxId: string, action: ResponseAction, who: string): Promise<Observed> {
    const response = { action, trigger: OPERATOR, step: 0, untilMs: 0 }
    this.tell(sandboxId, response, ResponseState.RESPONSE_STATE_REQUESTED, { observed: who })
    try {
      const observed = await this.options.hands.apply(sandboxId, response)
      if (action !== ResponseAction.RESPONSE_ACTION_KILL) this.keep(sandboxId, response)
      this.tell(sandboxId, response, APPLIED, { observed: observed.text })
      return observed
    } catch (error) {
      this.failed(sandboxId, response, messageOf(error))
      throw error
    }
  }

  private async lifted(sandboxId: string, action: ResponseAction, who: string): Promise<Observed> {
    const { hands, hold, nowUnixMs } = this.options
    const known = this.bySandbox.get(sandboxId)?.get(action)
    const response = known ?? { action, trigger: OPERATOR, step: 0, untilMs: 0 }
    // Ahead of it: what goes on then must not be stopped again.
    hold(sandboxId, action, nowUnixMs() + HOLD_MS)
    const observed = await hands.undo(sandboxId, action, `${OPERATOR}: ${who}`)
    this.drop(sandboxId, action)
    this.tell(sandboxId, { ...response, untilMs: 0 }, REVERTED, {
      observed: observed.text,
      undoneBy: `${OPERATOR}: ${who}`,
    })
    this.options.changed()
    return observed
  }

  private async expired(sandboxId: string, response: InForce): Promise<void> {
    if (this.bySandbox.get(sandboxId)?.get(response.action) !== response) return
    try {
      const observed = await this.options.hands.undo(sandboxId, response.action, BY_TIME)
      if (this.bySandbox.get(sandboxId)?.get(response.action) !== response) return
      this.drop(sandboxId, response.action)
      this.tellSoon(sandboxId, { ...response, untilMs: 0 }, REVERTED, { observed: observed.text, undoneBy: BY_TIME })
      this.options.changed()
    } catch (error) {
      // Once told it is tried until it is so, or the sandbox is over.
      if (response.timer !== null) this.failed(sandboxId, response, `it could not be undone: ${messageOf(error)}`)
      response.timer = null
      this.later(sandboxId, response, RETRY_MS)
    }
  }

  private keep(sandboxId: string, response: ResponseInForce): void {
    this.drop(sandboxId, response.action)
    const { action, trigger, step, untilMs } = response
    const kept: InForce = { action, trigger, step, untilMs, timer: null }
    const all = this.bySandbox.get(sandboxId) ?? new Map<ResponseAction, InForce>()
    this.bySandbox.set(sandboxId, all.set(action, kept))
    this.options.changed()
    if (untilMs !== 0) kept.timer = this.later(sandboxId, kept, Math.max(0, untilMs - this.options.nowUnixMs()))
  }

  private later(sandboxId: string, response: InForce, ms: number): NodeJS.Timeout {
    const { action } = response
    return setTimeout(() => void this.inTurn({ sandboxId, action }, () => this.expired(sandboxId, response)), ms)
  }

  private drop(sandboxId: string, action: ResponseAction): void {
    const all = this.bySandbox.get(sandboxId)
    const timer = all?.get(action)?.timer ?? null
    if (timer !== null) clearTimeout(timer)
    all?.delete(action)
    if (all?.size === 0) this.bySandbox.delete(sandboxId)
  }

  private failed(sandboxId: string, response: ResponseInForce, problem: string): void {
    const uid = this.tell(sandboxId, { ...response, untilMs: 0 }, ResponseState.RESPONSE_STATE_FAILED, {
      observed: problem,
    })
    this.options.log.error(
      { sandbox: sandboxId, action: ResponseAction[response.action], problem },
      'a response did not take',
    )
    const evidence = [response.trigger, uid].filter((each) => each !== '' && each !== OPERATOR)
    this.options.tell(sandboxId, {
      detection: {
        ...{
          detector: 'response_missed',
          severity: Severity.SEVERITY_HIGH,
          title: 'A response did not take',
          evidence,
        },
        ...{ reason: problem, measured: 0, threshold: 1 },
      },
    })
  }

  private tell(
    sandboxId: string,
    { action, trigger, step, untilMs }: ResponseInForce,
    state: ResponseState,
    more: Pick<IResponse, 'observed' | 'undoneBy'>,
  ): string {
    const untilUnixNs = fromBigInt(BigInt(Math.floor(untilMs)) * NS_PER_MS)
    return this.options.tell(sandboxId, { response: { action, trigger, state, step, untilUnixNs, ...more } })
  }

  private inTurn<T>(of: Pick<ResponseRequest, 'sandboxId' | 'action'>, act: () => Promise<T>): Promise<T> {
    const key = `${of.sandboxId} ${of.action}`
    const turn = (this.turns.get(key) ?? Promise.resolve()).then(act)
    const settled = turn.then(
      () => {},
      () => {},
    )
    this.turns.set(key, settled)
    void settled.then(() => {
      if (this.turns.get(key) === settled) this.turns.delete(key)
    })
    return turn
  }
}

const APPLIED = ResponseState.RESPONSE_STATE_APPLIED
const REVERTED = ResponseState.RESPONSE_STATE_REVERTED

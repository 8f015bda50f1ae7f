/**
 * Detection while it happens: each session's events go through a derivation of their own, the same that a replay of its record uses, and what
 * that asks for is handed on; what a session was like its identity's next ones are measured by, if it was a good one. Guards that detection
 * which fails takes no event with it, and that what a session has in force is a part of its state. Not here: how anything is done (respond/).
 */
import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../base/log.js'
import { type IEvent, type ILadder, type ResponseAction, Severity } from '../proto/codec.js'
import type { Lesson } from './baselines.js'
import { type History, type Identity, identityOf } from './detect/history.js'
import type { SessionDetection } from './detect/session-detection.js'
import type { ToolCallsState } from './detect/tool-calls.js'
import { LiveFacts, msOf } from './live-facts.js'
import { type DetectSettings, NO_SETTINGS } from './policy/detect-settings.js'
import { Ladders } from './respond/ladders.js'
import type { ResponseInForce, ResponseRequest } from './respond/responder.js'
import type { Deriver } from './session.js'
import { type Derivation, type DerivationState, SessionDerivation } from './session-derivation.js'

export interface LiveDetectionOptions {
  /** Of one session. `goOn`: what is known of its calls. */
  detection(goOn: ToolCallsState | null, parts: { settings: DetectSettings; history: History | null }): SessionDetection
  /** Null: each session is measured by itself. */
  readonly baselines: KeptBaselines | null
  readonly log: Log
}

export interface KeptBaselines {
  history(identity: Identity): History | null
  learn(identity: Identity, lesson: Lesson): void
}

/** Whose deriver it is. */
export interface SessionOf {
  readonly sessionId: string
  readonly sandboxId: string
  /** Empty: nobody said. */
  readonly agent: string
  readonly ownerUid: number
}

/** Whoever does what is asked for. */
export interface Responding {
  settingsOf(sandboxId: string): DetectSettings
  /** What detections in this sandbox lead to. */
  laddersOf(sandboxId: string): readonly ILadder[]
  /** Behind the event that says so. */
  requested(request: ResponseRequest): void
  of(sandboxId: string): readonly ResponseInForce[]
  goesOn(sandboxId: string, inForce: readonly ResponseInForce[]): void
  forget(sandboxId: string): void
}

interface LiveState extends Pick<DerivationState, 'ladders'> {
  readonly calls: ToolCallsState | null
  readonly inForce: readonly ResponseInForce[]
  readonly conduct: Conduct
}

/** Whether others may be measured by it. */
interface Conduct {
  /** Something was noticed that somebody should look at. */
  isFaulty: boolean
  /** Something of it was not seen. */
  isPartial: boolean
}

const UNBLEMISHED: Conduct = Object.freeze({ isFaulty: false, isPartial: false })
const NO_TIME = Object.freeze({ low: 0, high: 0 })

/** One for all sessions of an engine. */
export class LiveDetection {
  private readonly options: LiveDetectionOptions
  private readonly facts = new LiveFacts()
  /** Of sessions that are not over, by sandbox. */
  private readonly ladders = new Map<string, Ladders>()
  private responding: Responding | null = null
  /** Events that detection could not take. */
  failed = 0

  constructor(options: LiveDetectionOptions) {
    this.options = options
  }

  /** From now on; before, detections are alerts alone. */
  respondBy(responding: Responding): void {
    this.responding = responding
  }

  /** Neither this nor anything harder is asked for until then. */
  hold(sandboxId: string, action: ResponseAction, untilMs: number): void {
    this.ladders.get(sandboxId)?.hold(action, untilMs)
  }

  /** @param goOn as `state` of one that was made here, or by an engine before this one; null: the session begins */
  deriver({ sessionId, sandboxId, agent, ownerUid }: SessionOf, goOn: unknown): Deriver {
    // Ours, from our own state.
    const before = goOn as LiveState | null
    const ladders = new Ladders(before?.ladders)
    this.ladders.set(sandboxId, ladders)
    if (before !== null) this.responding?.goesOn(sandboxId, before.inForce)
    const identity = identityOf(agent, ownerUid)
    const conduct: Conduct = { ...UNBLEMISHED, ...before?.conduct }
    let settings = NO_SETTINGS
    const make = (calls: ToolCallsState | null): SessionDerivation => {
      settings = this.settingsOf(sandboxId)
      const history = identity === null ? null : (this.options.baselines?.history(identity) ?? null)
      const detection = this.options.detection(calls, { settings, history })
      const respond = () => this.responding?.laddersOf(sandboxId) ?? []
      return new SessionDerivation({ sessionId, detection, ladders, respond })
    }
    // Made of the policy that there is when the first event comes: an engine that goes on is told of it after the session.
    let derivation: SessionDerivation | null = null
    const inForce = () => this.responding?.of(sandboxId) ?? []
    return {
      get state(): LiveState {
        const { calls, ladders: steps } = derivation?.state ?? { calls: before?.calls ?? null, ladders: ladders.state }
        return { calls, ladders: steps, inForce: inForce(), conduct: { ...conduct } }
      },
      take: (event) => {
        derivation ??= make(before?.calls ?? null)
        const derived = this.take(derivation, event)
        if (derived !== null) this.request(sandboxId, derived)
        judge(conduct, event, derived)
        // What detectors had counted begins anew by other settings.
        const isOther = event.policyChanged && !isDeepStrictEqual(settings, this.settingsOf(sandboxId))
        if (isOther) derivation = make(derivation.state.calls)
        if (event.sandboxEnded) {
          this.ended(sandboxId, ladders)
          if (identity !== null) this.learn(identity, { event, derivation, derived, conduct })
        }
        return derived
      },
    }
  }

  private learn(
    identity: Identity,
    of: { event: IEvent; derivation: SessionDerivation; derived: Derivation | null; conduct: Conduct },
  ): void {
    const { event, derivation, derived, conduct } = of
    const isListed = derived?.events.some(({ kind }) => kind.detection?.detector === 'novelty') ?? false
    this.options.baselines?.learn(identity, {
      ...{ sessionId: derivation.sessionId, timeMs: msOf(event.timeUnixNs ?? NO_TIME), learned: derivation.learned() },
      ...{ isGood: !conduct.isFaulty, isPartial: conduct.isPartial, isListed },
    })
  }

  private settingsOf(sandboxId: string): DetectSettings {
    return this.responding?.settingsOf(sandboxId) ?? NO_SETTINGS
  }

  private take(derivation: SessionDerivation, event: IEvent): Derivation | null {
    try {
      return derivation.take(this.facts.of(event))
    } catch (error) {
      this.failed += 1
      // Each would be one more; the first says it.
      if (this.failed === 1) this.options.log.error({ err: error, event: event.uid }, 'an event could not be looked at')
      return null
    }
  }

  /** When the events are out. */
  private request(sandboxId: string, { events }: Derivation): void {
    for (const { request } of events) {
      if (request) queueMicrotask(() => this.responding?.requested({ sandboxId, ...request }))
    }
  }

  private ended(sandboxId: string, ladders: Ladders): void {
    if (this.ladders.get(sandboxId) !== ladders) return
    this.ladders.delete(sandboxId)
    this.responding?.forget(sandboxId)
  }
}

function judge(conduct: Conduct, event: IEvent, derived: Derivation | null): void {
  if (event.gap || derived === null) conduct.isPartial = true
  const isFault = ({ kind }: Derivation['events'][number]) =>
    (kind.detection?.severity ?? Severity.SEVERITY_UNSPECIFIED) >= Severity.SEVERITY_MEDIUM
  if (derived?.events.some(isFault)) conduct.isFaulty = true
}

/**
 * Which step of which ladder a detection leads to, in one session: the first one, and the next whenever it goes on. Fed with the times of events,
 * so that a replay takes the same steps. Guards that a step has time to act before the next one is taken, and that what an operator undid is
 * not done again for a while. Not here: doing anything (responder.ts).
 */
import { type ILadder, ResponseAction, toBigInt } from '../../proto/codec.js'

/** What was under way when a step was taken does not show that it goes on. */
const SETTLE_MS = 2_000
/** After the end of a step's time: what comes later than that begins anew. */
const RECALL_MS = 600_000

const MINUTE_MS = 60_000
/** Of steps for which the policy names no time; 0: nothing to undo. */
const DEFAULT_TTL_MS: Readonly<Record<ResponseAction, number>> = {
  [ResponseAction.RESPONSE_ACTION_UNSPECIFIED]: 0,
  [ResponseAction.RESPONSE_ACTION_ALERT]: 0,
  [ResponseAction.RESPONSE_ACTION_THROTTLE]: MINUTE_MS,
  [ResponseAction.RESPONSE_ACTION_DENY]: MINUTE_MS,
  [ResponseAction.RESPONSE_ACTION_FREEZE]: 5 * MINUTE_MS,
  [ResponseAction.RESPONSE_ACTION_KILL]: 0,
}

export interface Step {
  readonly action: ResponseAction
  /** 0: it is not undone. */
  readonly ttlMs: number
  /** From 1. */
  readonly number: number
}

interface Taken {
  readonly index: number
  readonly atMs: number
  readonly untilMs: number
}

/** To be kept or sent at once: it is what we work with ourselves. */
export interface LaddersState {
  /** By detector. */
  readonly taken: ReadonlyMap<string, Taken>
  /** Until when, by action. */
  readonly held: ReadonlyMap<ResponseAction, number>
}

export class Ladders {
  private readonly taken: Map<string, Taken>
  private readonly held: Map<ResponseAction, number>

  constructor(goOn: LaddersState | null = null) {
    this.taken = new Map(goOn?.taken)
    this.held = new Map(goOn?.held)
  }

  get state(): LaddersState {
    const { taken, held } = this
    return { taken, held }
  }

  /** Null: nothing more than the alert that the detection is. */
  next(detector: string, timeMs: number, ladders: readonly ILadder[]): Step | null {
    const steps = ladders.find((ladder) => ladder.detector === detector)?.steps ?? []
    const before = this.taken.get(detector)
    const isKnown = before !== undefined && this.isUnderWay(detector, timeMs)
    const last = isKnown ? steps[before.index]?.action : undefined
    if (isKnown && isDoing(last) && timeMs < before.atMs + SETTLE_MS) return null
    const index = isKnown ? Math.min(before.index + 1, steps.length - 1) : 0
    const step = steps[index]
    const action = step?.action ?? ResponseAction.RESPONSE_ACTION_UNSPECIFIED
    if (step === undefined || this.isHeld(action, timeMs)) return null
    const ttlMs = Number(toBigInt(step.ttlMs)) || DEFAULT_TTL_MS[action]
    this.taken.set(detector, { index, atMs: timeMs, untilMs: timeMs + ttlMs })
    return isDoing(action) ? { action, ttlMs, number: index + 1 } : null
  }

  /** It has taken a step that is not long past. */
  isUnderWay(detector: string, timeMs: number): boolean {
    const before = this.taken.get(detector)
    return before !== undefined && timeMs <= before.untilMs + RECALL_MS
  }

  /** Neither this nor anything harder until then. */
  hold(action: ResponseAction, untilMs: number): void {
    this.held.set(action, untilMs)
  }

  private isHeld(action: ResponseAction, timeMs: number): boolean {
    for (const [held, untilMs] of this.held) if (action >= held && timeMs < untilMs) return true
    return false
  }
}

function isDoing(action: ResponseAction | null | undefined): boolean {
  return (action ?? 0) > ResponseAction.RESPONSE_ACTION_ALERT
}

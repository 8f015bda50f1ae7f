/**
 * What detections lead to, as a policy says it, and several policies as one: of two ladders for one detector each step that either has, the
 * mildest first, for the longer time. Guards that a policy below another can add steps and take none away, and that one which is enforced and
 * says nothing still slows down what runs away.
 */
import { fromBigInt, type ILadder, ResponseAction } from '../../proto/codec.js'
import { LIMITS_LADDER } from '../../proto/response-json.js'
import { parseDuration } from './quantity.js'
import type { PolicyFile } from './schema.js'

export interface LadderStep {
  readonly action: ResponseAction
  /** Null: as long as such steps are by default. */
  readonly ttlMs: number | null
}

export interface Ladder {
  readonly detector: string
  readonly steps: readonly LadderStep[]
  /** The policy does not say it: it follows from its mode. */
  readonly isDefault?: true
}

/**
 * Of a policy that is enforced, for what it does not name: where good work is hardly ever meant, and can be undone. Not for `exec_storm` and
 * `volume` (a `configure` is one, as is a crawler of what the policy allows), `retry_storm` and `dns_tunnel` (it is refused already); and nobody
 * stands still for it: who polls loops.
 */
const ENFORCED: Readonly<Record<string, readonly Step[]>> = {
  loop: ['alert', 'alert', 'throttle'],
  secret_then_egress: ['alert', 'deny_egress'],
}

const ACTIONS: Readonly<Record<string, ResponseAction>> = {
  alert: ResponseAction.RESPONSE_ACTION_ALERT,
  throttle: ResponseAction.RESPONSE_ACTION_THROTTLE,
  deny: ResponseAction.RESPONSE_ACTION_DENY,
  deny_egress: ResponseAction.RESPONSE_ACTION_DENY,
  freeze: ResponseAction.RESPONSE_ACTION_FREEZE,
  kill: ResponseAction.RESPONSE_ACTION_KILL,
}
const NAMES = new Map(Object.entries(ACTIONS).map(([name, action]) => [action, name]))
const MS_PER_S = 1_000

type Step = NonNullable<NonNullable<PolicyFile['respond']>['loop']>[number]

/** In the order of the file, then the defaults; what this version can't do is left out (unsupported.ts). A ladder without steps: only the alert. */
export function laddersOf(file: Pick<PolicyFile, 'respond' | 'mode' | 'limits'>): Ladder[] {
  const { respond = {} } = file
  const named = Object.entries(respond).map(([detector, steps = []]) => ladder(detector, steps))
  const silent = Object.entries(ENFORCED).filter(([detector, steps]) => {
    return !Object.hasOwn(respond, detector) && !(isLimited(file) && steps.includes('throttle'))
  })
  if (file.mode !== 'enforce') return named
  return [...named, ...silent.map(([detector, steps]): Ladder => ({ ...ladder(detector, steps), isDefault: true }))]
}

/** It says itself how much may be, and that is what it is held to. */
function isLimited({ limits }: Pick<PolicyFile, 'limits'>): boolean {
  return limits?.connects !== undefined || limits?.execs !== undefined
}

function ladder(detector: string, steps: readonly Step[]): Ladder {
  return {
    detector,
    steps: steps.flatMap((step) => {
      const [name, time] = typeof step === 'string' ? [step, null] : [step.do, step.for]
      const action = ACTIONS[name]
      return action === undefined ? [] : [{ action, ttlMs: time === null ? null : parseDuration(String(time)) }]
    }),
  }
}

/** What does not follow from its mode. */
export function ownLadders(ladders: readonly Ladder[]): Ladder[] {
  return ladders.filter(({ isDefault }) => !isDefault)
}

export function uniteLadders(one: readonly Ladder[], other: readonly Ladder[]): Ladder[] {
  const more = new Map(other.map((each) => [each.detector, each]))
  const both = one.map((each) => {
    const theirs = more.get(each.detector)
    more.delete(each.detector)
    return theirs === undefined ? each : uniteLadder(each, theirs)
  })
  return [...both, ...more.values()]
}

function uniteLadder(one: Ladder, other: Ladder): Ladder {
  if (other.steps.length === 0 || (one.isDefault && other.isDefault)) return one
  return one.steps.length === 0 ? other : { detector: one.detector, steps: uniteSteps(one.steps, other.steps) }
}

function uniteSteps(one: readonly LadderStep[], other: readonly LadderStep[]): LadderStep[] {
  const byAction = new Map(one.map((step) => [step.action, step]))
  for (const step of other) {
    const known = byAction.get(step.action)
    byAction.set(step.action, known === undefined ? step : longer(known, step))
  }
  return [...byAction.values()].sort((a, b) => a.action - b.action)
}

function longer(one: LadderStep, other: LadderStep): LadderStep {
  return one.ttlMs === null || (other.ttlMs !== null && other.ttlMs > one.ttlMs) ? other : one
}

/** Who reaches a limit is to stand still at once: the kernel sees to it until the engine has frozen, or killed, all of the sandbox. */
export function stopsAtHit(ladders: readonly Ladder[]): boolean {
  const first = ladders.find(({ detector }) => detector === LIMITS_LADDER)?.steps[0]
  return first !== undefined && first.action >= ResponseAction.RESPONSE_ACTION_FREEZE
}

/** As the engine gets it: sorted, so that the same steps have the same bytes. */
export function compiledLadders(ladders: readonly Ladder[]): ILadder[] {
  const sorted = ladders.filter(({ steps }) => steps.length > 0).sort((a, b) => (a.detector < b.detector ? -1 : 1))
  return sorted.map(({ detector, steps }) => ({
    detector,
    steps: steps.map(({ action, ttlMs }) => ({ action, ttlMs: fromBigInt(BigInt(ttlMs ?? 0)) })),
  }))
}

/** A sentence each. */
export function explainLadders(ladders: readonly Ladder[]): string[] {
  return ladders.map((each) => {
    const origin = each.isDefault ? ' Not named by the policy: so it is in enforce mode.' : ''
    return `respond.${each.detector}: ${stepTexts(each).join(', then ')}.${origin}`
  })
}

/** `throttle for 60 s`, by the names of the policy. */
export function stepTexts({ steps }: Ladder): string[] {
  if (steps.length === 0) return ['alert']
  return steps.map(({ action, ttlMs }) => `${NAMES.get(action)}${ttlMs === null ? '' : ` for ${ttlMs / MS_PER_S} s`}`)
}

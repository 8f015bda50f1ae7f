/** Puts together who does what detections ask for: which ladder a sandbox has, whose hands do it, and in which session it is told. */
import type { Log } from '../base/log.js'
import { type ISandboxState, type IShutFor, ResponseAction, toBigInt } from '../proto/codec.js'
import type { BootClock } from './boot-clock.js'
import type { LiveDetection } from './live-detection.js'
import { settingsOf } from './policy/detect-settings.js'
import type { PolicyDesk } from './policy-desk.js'
import { type Hands, OPERATOR, Responder, type ResponseInForce } from './respond/responder.js'
import type { SandboxBook } from './sandbox-book.js'

const NS_PER_MS = 1_000_000n

export function respondTo(
  live: LiveDetection,
  parts: { book: SandboxBook; desk: PolicyDesk; hands: Hands; clock: BootClock; log: Log; changed(): void },
): Responder {
  const { book, desk, hands, clock, log, changed } = parts
  const responder = new Responder({
    ...{ hands, log, changed },
    nowUnixMs: () => Number(clock.nowUnixNs() / NS_PER_MS),
    tell: (sandboxId, kind) => book.byIdOf(sandboxId)?.session.responded(kind, clock.nowUnixNs()) ?? '',
    hold: (sandboxId, action, untilMs) => live.hold(sandboxId, action, untilMs),
  })
  live.respondBy({
    settingsOf: (sandboxId) => settingsOf(desk.of(sandboxId)?.policy.detect ?? []),
    laddersOf: (sandboxId) => desk.of(sandboxId)?.policy.respond ?? [],
    requested: (request) => responder.requested(request),
    of: (sandboxId) => responder.of(sandboxId),
    goesOn: (sandboxId, inForce) => responder.goesOn(sandboxId, inForce),
    forget: (sandboxId) => responder.forget(sandboxId),
  })
  return responder
}

/** What the engine before this one left with the policy. */
export function shutBefore(shut: IShutFor): ResponseInForce {
  return inForce(ResponseAction.RESPONSE_ACTION_DENY, shut)
}

/** A sensor is here: what is so in its sandboxes is what is in force, whatever an engine before this one could save of it. */
export function findInForce(responder: Responder, states: readonly ISandboxState[]): void {
  const { RESPONSE_ACTION_FREEZE: freeze, RESPONSE_ACTION_THROTTLE: throttle } = ResponseAction
  for (const { sandboxId, frozen, frozenFor, throttledFor } of states) {
    const id = sandboxId ?? ''
    if (!frozen) responder.foundNot(id, freeze, 'cgroup.events says frozen 0')
    else responder.found(id, inForce(freeze, frozenFor ?? NOBODYS), 'cgroup.events says frozen 1')
    if (!throttledFor) responder.foundNot(id, throttle, 'the sensor holds it to no throttle')
    else responder.found(id, inForce(throttle, throttledFor), 'the sensor holds it to a throttle')
  }
}

/** Nobody said why: an operator alone has it go on. */
const NOBODYS: IShutFor = { trigger: OPERATOR }

function inForce(action: ResponseAction, { trigger, untilUnixNs, step }: IShutFor): ResponseInForce {
  return { action, trigger: trigger ?? '', step: step ?? 0, untilMs: Number(toBigInt(untilUnixNs) / NS_PER_MS) }
}

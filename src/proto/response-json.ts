/** The JSON form of what was done about detections. Part of event-json.ts, with the same guarantees. */
import { type IResponse, toBigInt } from './codec.js'
import { named, time } from './json-values.js'

/** Ladder.detector of what the kernel notices by itself: that a limit of the policy was reached. */
export const LIMITS_LADDER = 'limits'

export const RESPONSE_ACTIONS = ['UNSPECIFIED', 'ALERT', 'THROTTLE', 'DENY', 'FREEZE', 'KILL'] as const
export const RESPONSE_STATES = ['UNSPECIFIED', 'REQUESTED', 'APPLIED', 'FAILED', 'REVERTED'] as const

export function responseJson(response: IResponse) {
  return {
    action: named(RESPONSE_ACTIONS, response.action),
    trigger: response.trigger ?? '',
    state: named(RESPONSE_STATES, response.state),
    observed: response.observed ?? '',
    undoneBy: response.undoneBy ?? '',
    until: toBigInt(response.untilUnixNs) === 0n ? null : time(response.untilUnixNs),
    step: response.step ?? 0,
  }
}

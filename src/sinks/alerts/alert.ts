/** What a person is told of: one alert for whatever one detector keeps finding in one session. Not here: how it comes to be (alert-book.ts). */
import type { DetectionJson, EventJson, ResponseJson } from '../../proto/event-json.js'
import type { SinkSeverity } from '../../schema/sink-settings.js'
import { type Answer, isRefused, isTaken, reasonIn } from '../http-post.js'

/** Where nothing is said: without another detection an alert is over. */
export const QUIET_SECONDS = 300

export interface Alert {
  /** The uid of its first detection. */
  readonly id: string
  readonly severity: SinkSeverity
  /** The latest one: its sentence, its numbers. */
  readonly detection: Omit<DetectionJson, 'evidence'>
  readonly node: EventJson['node']
  readonly sandbox: Pick<EventJson['sandbox'], 'id' | 'name' | 'agent' | 'task'>
  readonly sessionId: string
  /** Detections. */
  readonly count: number
  readonly firstMs: number
  readonly lastMs: number
  /** Uids of the events that prove it, the latest ones. */
  readonly evidence: readonly string[]
  /** The latest of each action. */
  readonly done: readonly ResponseJson[]
  /** Null: it goes on. */
  readonly resolved: { readonly atMs: number; readonly why: string } | null
}

/** How a kind of receiver wants to be told. */
export interface AlertPace {
  /** In one request. */
  readonly alertsMax: number
  /** From one request to the next. */
  readonly gapMs: number
  /** That there were more of the same is told no sooner than this. */
  readonly updateMs: number
  /** One that goes on is told again so often, though nothing is new; null: it is not. */
  readonly resendMs: number | null
  /** None is told to be over sooner after it was told of. */
  readonly openMinMs: number
}

export type AlertOutcome =
  | { readonly state: 'taken' }
  | { readonly state: 'later'; readonly reason: string; readonly afterMs: number }
  /** For good: one of them at least. */
  | { readonly state: 'refused'; readonly reason: string }

export interface AlertTransport {
  readonly pace: AlertPace
  /** A throw is as `later`. */
  send(alerts: readonly Alert[], signal: AbortSignal): Promise<AlertOutcome>
  close(): Promise<void>
}

/** Of receivers that answer a request as a whole. */
export function alertOutcome(answer: Answer): AlertOutcome {
  if (isTaken(answer)) return { state: 'taken' }
  const reason = reasonIn(answer)
  return isRefused(answer)
    ? { state: 'refused', reason }
    : { state: 'later', reason, afterMs: answer.retryAfterMs ?? 0 }
}

/** Made-up events that alerts are made of, and the way of an alert to whoever is told. */
import { derivedUuid } from '../../../../src/base/uuid.js'
import {
  fromBigInt,
  type IDetection,
  type IEvent,
  ResponseAction,
  type ResponseState,
} from '../../../../src/proto/codec.js'
import { type EventJson, eventToJson } from '../../../../src/proto/event-json.js'
import type { Alert, AlertPace } from '../../../../src/sinks/alerts/alert.js'
import type { AlertBook } from '../../../../src/sinks/alerts/alert-book.js'
import { opened } from '../../engine/spool/spool-rig.js'

/** Nothing is held back. */
export const EAGER: AlertPace = { alertsMax: 1_000, gapMs: 0, updateMs: 0, resendMs: null, openMinMs: 0 }

export function detection(session: string, seq: number, more: IDetection = {}): IEvent {
  const { fileOpen: _, ...common } = opened(session, seq)
  const found = {
    detector: 'volume',
    severity: 3,
    title: 'More than is usual',
    reason: `found ${seq}`,
    evidence: [`e${seq}`],
  }
  return {
    ...common,
    detection: { ...found, measured: seq, threshold: 1, baseline: 3.2, windowMs: fromBigInt(10_000n), ...more },
  }
}

export function response(session: string, seq: number, to: IEvent, state: ResponseState): IEvent {
  const { fileOpen: _, ...common } = opened(session, seq)
  const action = ResponseAction.RESPONSE_ACTION_THROTTLE
  return { ...common, response: { action, trigger: to.uid ?? '', state, observed: 'read back as wanted' } }
}

export function ended(session: string, seq: number): IEvent {
  const { fileOpen: _, ...common } = opened(session, seq)
  return { ...common, sandboxEnded: {} }
}

export function started(session: string, bootId: string): IEvent {
  const { fileOpen: _, ...common } = opened(session, 1)
  const uid = derivedUuid({ unixMs: 1n, parts: [session, bootId] })
  return { ...common, uid, node: { name: 'n1', bootId }, sandboxStarted: {} }
}

export function json(event: IEvent): EventJson {
  return eventToJson(event)
}

/** All that are due are told of. */
export function tell(book: AlertBook, nowMs: number, pace = EAGER): readonly Alert[] {
  book.tick(nowMs, pace)
  const due = book.due(nowMs, pace).slice(0, pace.alertsMax)
  for (const alert of due) book.told(alert, nowMs)
  return due
}

/**
 * Alerts to Prometheus's Alertmanager, by its API v2. Guards that an alert has the same labels from its first moment to its last, that it goes on for the
 * receiver as long as it does for us and not much longer than we are there, and that a time is never one that it refuses. Not here: when it is told.
 */
import type { AlertmanagerSettings } from '../../schema/sink-settings.js'
import { HttpPost, ownHeaders } from '../http-post.js'
import type { SinkSecrets } from '../secrets.js'
import {
  type Alert,
  type AlertOutcome,
  type AlertPace,
  type AlertTransport,
  alertOutcome,
  QUIET_SECONDS,
} from './alert.js'
import { headline, howOften, instant, numbers, plain, sandboxName, whatWasDone } from './alert-text.js'

const RESEND_SECONDS = 60
/** As Prometheus does it: three may get lost. */
const RESENDS_TO_END = 4
const ALERTS_MAX = 64
const GAP_MS = 250
const LABEL_CHARS_MAX = 1_024

export class Alertmanager implements AlertTransport {
  readonly pace: AlertPace
  private readonly settings: AlertmanagerSettings
  private readonly post: HttpPost

  constructor(settings: AlertmanagerSettings, { token, tls }: SinkSecrets, version: string) {
    this.settings = settings
    const { url, auth, timeoutSeconds, resendSeconds = RESEND_SECONDS } = settings
    const headers = { ...ownHeaders(version, { token, auth }), 'content-type': 'application/json' }
    this.post = new HttpPost({ url: `${url.replace(/\/+$/, '')}/api/v2/alerts`, headers, tls, timeoutSeconds })
    const resendMs = resendSeconds * 1_000
    // It waits for others of a group (30 s where nothing is said), and tells nobody of what is over by then.
    const openMinMs = (settings.quietSeconds ?? QUIET_SECONDS) * 1_000
    this.pace = { alertsMax: ALERTS_MAX, gapMs: GAP_MS, updateMs: resendMs, resendMs, openMinMs }
  }

  async send(alerts: readonly Alert[], signal: AbortSignal): Promise<AlertOutcome> {
    const nowMs = Date.now()
    const body = Buffer.from(JSON.stringify(alerts.map((alert) => this.posted(alert, nowMs))))
    return alertOutcome(await this.post.send(body, signal))
  }

  async close(): Promise<void> {
    this.post.close()
  }

  private posted(alert: Alert, nowMs: number) {
    const { resendSeconds = RESEND_SECONDS } = this.settings
    // One that begins in the future, by a clock that went back, would end before it began.
    const startMs = Math.min(alert.firstMs, nowMs)
    const goesOnMs = nowMs + resendSeconds * 1_000 * RESENDS_TO_END
    const endMs = alert.resolved === null ? goesOnMs : Math.max(Math.min(alert.resolved.atMs, nowMs), startMs)
    return {
      ...{ labels: labels(alert, this.settings.labels ?? {}), annotations: annotations(alert) },
      ...{ startsAt: instant(startMs), endsAt: instant(endMs) },
    }
  }
}

/** An empty one is none. */
function labels(alert: Alert, own: Readonly<Record<string, string>>): Record<string, string> {
  const { agent, task } = alert.sandbox
  const ours = {
    ...{ alertname: 'SluiceAlert', detector: alert.detection.detector, severity: alert.severity.toLowerCase() },
    ...{ node: alert.node.name, sandbox: sandboxName(alert), session: alert.sessionId, agent, task },
  }
  const all = Object.entries({ ...own, ...ours }).map(([name, value]) => [name, plain(value).slice(0, LABEL_CHARS_MAX)])
  return Object.fromEntries(all.filter(([, value]) => value !== ''))
}

function annotations(alert: Alert): Record<string, string> {
  const { detection, count, evidence, resolved, id } = alert
  return {
    ...{ summary: headline(alert), description: plain(detection.reason), measured: numbers(alert) },
    ...{ count: String(count), times: howOften(alert), done: whatWasDone(alert), evidence: evidence.join(' ') },
    ...{ observed: String(detection.measured), threshold: String(detection.threshold), alert: id },
    ...(detection.baseline === null ? {} : { baseline: String(detection.baseline) }),
    ...(detection.windowMs === '0' ? {} : { window_ms: detection.windowMs }),
    ...(resolved === null ? {} : { over: resolved.why }),
  }
}

/**
 * Alerts to a channel of Slack, by an incoming webhook. Guards that nothing that a detection quotes calls anybody, links anywhere or is more than text; that
 * a message is one that it takes; and that the address, which is a secret, is in no message. Not here: when it is told.
 */
import { SluiceError } from '../../base/error.js'
import type { SlackSettings } from '../../schema/sink-settings.js'
import { HttpPost, ownHeaders } from '../http-post.js'
import type { SinkSecrets } from '../secrets.js'
import { type Alert, type AlertOutcome, type AlertPace, type AlertTransport, alertOutcome } from './alert.js'
import { headline, howOften, numbers, plain, whatWasDone } from './alert-text.js'

/** One message a second is what it takes of a webhook. */
const GAP_MS = 1_100
const UPDATE_SECONDS = 900
/** In one message, which has 40,000 characters at most: ten of what one alert may have, line by line, fit. */
const ALERTS_MAX = 10
const LINE_CHARS_MAX = { what: 2_200, numbers: 200, who: 400, done: 400, evidence: 700 }
const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' }

export class Slack implements AlertTransport {
  readonly pace: AlertPace
  private readonly post: HttpPost

  constructor(
    { updateSeconds = UPDATE_SECONDS, timeoutSeconds }: SlackSettings,
    secrets: SinkSecrets,
    version: string,
  ) {
    const { url, tls } = secrets
    if (url === null) throw new SluiceError('USAGE', 'a slack sink needs its webhook')
    const headers = { ...ownHeaders(version, { token: null }), 'content-type': 'application/json; charset=utf-8' }
    this.post = new HttpPost({ url, headers, tls, timeoutSeconds })
    const updateMs = updateSeconds * 1_000
    this.pace = { alertsMax: ALERTS_MAX, gapMs: GAP_MS, updateMs, resendMs: null, openMinMs: 0 }
  }

  async send(alerts: readonly Alert[], signal: AbortSignal): Promise<AlertOutcome> {
    const text = alerts.map(told).join('\n\n')
    // No links, no names, no previews, no formatting: it quotes what programs in a sandbox wrote.
    const quiet = { mrkdwn: false, parse: 'none', link_names: false, unfurl_links: false, unfurl_media: false }
    return alertOutcome(await this.post.send(Buffer.from(JSON.stringify({ text, ...quiet })), signal))
  }

  async close(): Promise<void> {
    this.post.close()
  }
}

function told(alert: Alert): string {
  const { severity, detection, node, sandbox, sessionId, evidence, resolved, id } = alert
  const who = [`agent ${sandbox.agent}`, `task ${sandbox.task}`, `session ${sessionId}`, `node ${node.name}`]
  const lines = {
    what: `${resolved === null ? severity : `OVER (${resolved.why})`} ${headline(alert)}: ${plain(detection.reason)}`,
    numbers: `${plain(detection.detector)}: ${numbers(alert)}; ${howOften(alert)}`,
    who: plain(who.filter((each) => !each.endsWith(' ')).join(', ')),
    done: `done: ${whatWasDone(alert)}`,
    evidence: `alert ${id}${evidence.length === 0 ? '' : `, evidence ${evidence.join(' ')}`}`,
  }
  return Object.entries(LINE_CHARS_MAX)
    .map(([line, max]) => escaped(lines[line as keyof typeof lines], max))
    .join('\n')
}

/** What does not fit is left out; no escape is cut. */
export function escaped(text: string, charsMax: number): string {
  const out: string[] = []
  let room = charsMax - 1
  for (const character of text) {
    const safe = ESCAPES[character] ?? character
    room -= safe.length
    if (room < 0) return `${out.join('')}…`
    out.push(safe)
  }
  return out.join('')
}

/** Who is told of alerts, as a sink's settings ask for. */
import type { AlertSettings } from '../../schema/sink-settings.js'
import type { SinkSecrets } from '../secrets.js'
import type { AlertTransport } from './alert.js'
import { Alertmanager } from './alertmanager.js'
import { Slack } from './slack.js'

export function makeAlertTransport(settings: AlertSettings, secrets: SinkSecrets, version: string): AlertTransport {
  return settings.type === 'slack'
    ? new Slack(settings, secrets, version)
    : new Alertmanager(settings, secrets, version)
}

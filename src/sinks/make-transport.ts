/** Which transport a sink's settings ask for. */
import type { Log } from '../base/log.js'
import type { EventSinkSettings } from '../schema/sink-settings.js'
import { FileTransport } from './file-transport.js'
import { HttpTransport } from './http-transport.js'
import { KafkaTransport } from './kafka/kafka-transport.js'
import { NatsTransport } from './nats/nats-transport.js'
import { OtlpTransport } from './otlp/otlp-transport.js'
import type { SinkSecrets } from './secrets.js'
import { type SendDatagram, SyslogDatagrams, SyslogStream } from './syslog-transport.js'
import type { Transport } from './transport.js'

export interface TransportParts {
  readonly secrets: SinkSecrets
  readonly version: string
  readonly sendDatagram: SendDatagram
  readonly log: Log
}

export function makeTransport(
  settings: EventSinkSettings,
  { secrets, version, sendDatagram, log }: TransportParts,
): Transport {
  switch (settings.type) {
    case 'file':
      return new FileTransport(settings)
    case 'syslog': {
      const isStream = settings.transport === 'tls' || settings.transport === 'tcp'
      return isStream ? new SyslogStream(settings, secrets) : new SyslogDatagrams(settings, sendDatagram)
    }
    case 'nats':
      return new NatsTransport(settings, secrets, version)
    case 'kafka':
      return new KafkaTransport(settings, secrets, log)
    case 'otlp':
      return new OtlpTransport(settings, { secrets, version, log })
    case 'http':
      return new HttpTransport(settings, secrets, version)
  }
}

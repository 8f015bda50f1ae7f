/**
 * What may be said of a sink, in the configuration file and to the process that runs them: one typed value. Guards against what it does not know,
 * and against secrets in it: it has the files that they are in. Not here: what is usual where nothing is said (src/sinks), and what a sink does.
 */
import { z } from 'zod'
import { EVENT_KINDS } from '../proto/event-json.js'

export const SINK_SCHEMAS = ['native', 'ocsf', 'ecs', 'cef'] as const
export const SINK_SEVERITIES = ['INFO', 'LOW', 'MEDIUM', 'HIGH'] as const
export const SINKS_MAX = 16

const MIB = 1024 * 1024
const file = z.string().min(2).max(4_096).startsWith('/', 'must be an absolute path')
const word = z.string().min(1).max(256)
const seconds = (max: number) => z.number().min(0.1).max(max)

const batch = z.strictObject({
  events: z.int().min(1).max(10_000).optional(),
  kiB: z.int().min(1).max(16_384).optional(),
  /** What is not full waits for so long. */
  seconds: seconds(60).optional(),
})

const common = {
  schema: z.enum(SINK_SCHEMAS).optional(),
  /** Only these; all where nothing is said. */
  kinds: z.array(z.enum(EVENT_KINDS)).min(1).max(EVENT_KINDS.length).optional(),
  minSeverity: z.enum(SINK_SEVERITIES).optional(),
  batch: batch.optional(),
}

const tls = z.strictObject({
  /** In place of the system's authorities. */
  ca: file.optional(),
  cert: file.optional(),
  key: file.optional(),
  /** That the other end's certificate must have, if it is not the address's. */
  serverName: word.optional(),
})

const fileSink = z.strictObject({
  ...common,
  type: z.literal('file'),
  path: file,
  rotate: z
    .strictObject({
      mib: z
        .int()
        .min(1)
        .max(1024 * 1024)
        .optional(),
      hours: z
        .number()
        .min(1 / 60)
        .max(8_760)
        .optional(),
      keep: z.int().min(1).max(1_000).optional(),
    })
    .optional(),
})

const HOST_PORT = /^(\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):\d{1,5}$/

const syslogSink = z.strictObject({
  ...common,
  type: z.literal('syslog'),
  transport: z.enum(['tls', 'tcp', 'udp', 'unix']),
  /** host:port, or a path where the transport is unix. */
  address: z
    .string()
    .max(4_096)
    .refine((text) => text.startsWith('/') || HOST_PORT.test(text), 'must be host:port, or a path'),
  facility: z.int().min(0).max(23).optional(),
  appName: z
    .string()
    .regex(/^[!-~]{1,48}$/, 'must be printable ASCII without spaces')
    .optional(),
  /** Of a stream: RFC 6587 has both. */
  framing: z.enum(['octets', 'lines']).optional(),
  tls: tls.optional(),
})

const httpSink = z.strictObject({
  ...common,
  /** CEF is no JSON. */
  schema: z.enum(['native', 'ocsf', 'ecs']).optional(),
  type: z.literal('http'),
  url: z.url({ protocol: /^https?$/ }).max(4_096),
  format: z.enum(['json-lines', 'json-array', 'splunk-hec', 'elastic-bulk']).optional(),
  /** A file with what goes into the Authorization header. */
  tokenFile: file.optional(),
  /** Before it; bearer, or splunk where the format is. */
  auth: z.enum(['bearer', 'splunk', 'apikey', 'basic']).optional(),
  headers: z.record(z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/), z.string().max(4_096)).optional(),
  index: word.optional(),
  gzip: z.boolean().optional(),
  timeoutSeconds: seconds(600).optional(),
  tls: tls.optional(),
})

/** What of a server's address is not said is usual: port 4222. No user, password or token: those are in files. */
const NATS_SERVER = /^(nats|tls):\/\/(\[[0-9a-fA-F:.]+\]|[^\s:/@[\]]+)(:\d{1,5})?$/
/** A token of a subject, or the name of a stream. */
const NATS_WORD = /^[A-Za-z0-9_-]{1,64}$/
const natsWord = z.string().regex(NATS_WORD, 'must be letters, digits, hyphens and underscores, 64 at most')

const natsSink = z
  .strictObject({
    ...common,
    type: z.literal('nats'),
    /** Of one cluster; any of them is as good. */
    servers: z
      .array(z.string().regex(NATS_SERVER, 'must be nats://host:port or tls://host:port, without a password'))
      .min(1)
      .max(16),
    /** Of the nodes, in their subjects. */
    cluster: natsWord.optional(),
    stream: z
      .strictObject({
        name: natsWord.optional(),
        /** Where it is not there; else it is waited for. The rest is for that. */
        create: z.boolean().optional(),
        replicas: z.int().min(1).max(5).optional(),
        maxMiB: z.int().min(1).max(MIB).optional(),
        maxHours: z.number().min(0.01).max(87_600).optional(),
      })
      .optional(),
    /** A file with a user's JWT and seed, as `nsc` writes it. */
    credentialsFile: file.optional(),
    /** A file with the seed of a user's nkey. */
    nkeyFile: file.optional(),
    tokenFile: file.optional(),
    /** So long for an acknowledgement. */
    timeoutSeconds: seconds(600).optional(),
    tls: tls.optional(),
  })
  .refine(
    (sink) => [sink.credentialsFile, sink.nkeyFile, sink.tokenFile].filter((each) => each !== undefined).length <= 1,
    'must have one of credentialsFile, nkeyFile and tokenFile at most',
  )

/** A topic's name, as a broker allows it. */
const KAFKA_TOPIC = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/

const kafkaSink = z
  .strictObject({
    ...common,
    type: z.literal('kafka'),
    /** host:port of some of one cluster: they tell of the others. */
    brokers: z.array(z.string().max(300).regex(HOST_PORT, 'must be host:port')).min(1).max(16),
    topic: z.string().regex(KAFKA_TOPIC, 'must be letters, digits, dots, hyphens and underscores, 249 at most'),
    clientId: word.optional(),
    sasl: z
      .strictObject({
        mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']),
        username: word,
        /** A file with the password. */
        passwordFile: file,
      })
      .optional(),
    /** So long for one answer of a broker. */
    timeoutSeconds: seconds(600).optional(),
    /** Wanted where this is there, though it be empty. */
    tls: tls.optional(),
  })
  .refine(
    ({ sasl, tls }) => sasl?.mechanism !== 'plain' || tls !== undefined,
    'must have tls where sasl is plain: anyone on the way could read the password; `tls: {}` is enough',
  )

/** Of requests: those of HTTP itself and of gRPC are not for a configuration, and values in `-bin` are no text. */
const OTLP_HEADER =
  /^(?!(content-|grpc-|(host|connection|te|transfer-encoding|upgrade|user-agent)$))[a-z0-9_.-]{1,128}(?<!-bin)$/
/** Printable ASCII, which is what both HTTP and gRPC carry. */
const OTLP_HEADER_VALUE = /^[!-~]([ -~]{0,4094}[!-~])?$/

export function isOtlpHeader(name: string, value: string): boolean {
  return OTLP_HEADER.test(name) && OTLP_HEADER_VALUE.test(value)
}

const otlpHeader = z
  .string()
  .regex(OTLP_HEADER, 'must be small letters, digits, hyphens, dots and underscores, and none of HTTP’s own or gRPC’s')
const OTEL_NAME = /^[a-z][a-z0-9_.]{0,127}$/

const otlpSink = z
  .strictObject({
    ...common,
    /** CEF is no JSON. */
    schema: z.enum(['native', 'ocsf', 'ecs']).optional(),
    type: z.literal('otlp'),
    transport: z.enum(['grpc', 'http']),
    /** Of http without a path: /v1/logs comes behind it. Of grpc: a host and a port. */
    url: z
      .url({ protocol: /^https?$/ })
      .max(4_096)
      .refine((text) => new URL(text).username === '' && new URL(text).password === '', 'must be without a password'),
    headers: z.record(otlpHeader, z.string().regex(OTLP_HEADER_VALUE, 'must be printable ASCII')).optional(),
    /** A file with lines of `name: value`, for those that are secrets. */
    headersFile: file.optional(),
    /** A file with what goes into the Authorization header behind `Bearer`. */
    tokenFile: file.optional(),
    /** True where nothing is said. */
    gzip: z.boolean().optional(),
    /** Attributes of the node: `k8s.cluster.name`, `deployment.environment.name`. */
    resource: z
      .record(z.string().regex(OTEL_NAME, 'must be small letters, digits, dots and underscores'), word)
      .optional(),
    /** So long for one answer. */
    timeoutSeconds: seconds(600).optional(),
    tls: tls.optional(),
  })
  .refine(({ url, tls }) => tls === undefined || url.startsWith('https:'), 'must have an https url where tls is')
  .refine(
    ({ url, transport }) => transport !== 'grpc' || ['', '/'].includes(new URL(url).pathname),
    'must have a url without a path where transport is grpc',
  )

const alerts = {
  /** MEDIUM where nothing is said. */
  minSeverity: z.enum(SINK_SEVERITIES).optional(),
  /** Without another detection an alert is over after so long. */
  quietSeconds: z.number().min(10).max(86_400).optional(),
  timeoutSeconds: seconds(600).optional(),
  tls: tls.optional(),
}

const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]{0,127}$/

const alertmanagerSink = z.strictObject({
  ...alerts,
  type: z.literal('alertmanager'),
  /** Of the Alertmanager itself: /api/v2/alerts comes behind it. */
  url: z.url({ protocol: /^https?$/ }).max(4_096),
  tokenFile: file.optional(),
  auth: z.enum(['bearer', 'basic']).optional(),
  /** An alert that goes on is sent again so often, and is over for the receiver when it was not for four times that. */
  resendSeconds: z.number().min(1).max(600).optional(),
  /** Of every alert. */
  labels: z.record(z.string().regex(LABEL, 'must be letters, digits and underscores'), word).optional(),
})

const slackSink = z.strictObject({
  ...alerts,
  type: z.literal('slack'),
  /** A file with the address of the incoming webhook, which is a secret. */
  urlFile: file,
  /** That there were more of the same is told so often. */
  updateSeconds: z.number().min(10).max(86_400).optional(),
})

const ALERT_SINKS = [alertmanagerSink, slackSink] as const
const ALERT_TYPES: readonly string[] = ['alertmanager', 'slack']

export const sinkSettings = z.discriminatedUnion('type', [
  fileSink,
  syslogSink,
  httpSink,
  natsSink,
  kafkaSink,
  otlpSink,
  ...ALERT_SINKS,
])

/** By name. */
export const sinksSettings = z
  .record(z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be small letters, digits and hyphens'), sinkSettings)
  .refine((sinks) => Object.keys(sinks).length <= SINKS_MAX, `must be ${SINKS_MAX} at most`)

export const spoolSettings = z.strictObject({
  dir: file.optional(),
  maxMiB: z.int().min(8).max(MIB).optional(),
  maxHours: z.number().min(0.01).max(8_760).optional(),
})

export type SinkSettings = z.output<typeof sinkSettings>
export type AlertmanagerSettings = z.output<typeof alertmanagerSink>
export type SlackSettings = z.output<typeof slackSink>
export type AlertSettings = AlertmanagerSettings | SlackSettings
export type EventSinkSettings = Exclude<SinkSettings, AlertSettings>
export type FileSettings = z.output<typeof fileSink>
export type SyslogSettings = z.output<typeof syslogSink>
export type HttpSettings = z.output<typeof httpSink>
export type NatsSettings = z.output<typeof natsSink>
export type KafkaSettings = z.output<typeof kafkaSink>
export type OtlpSettings = z.output<typeof otlpSink>
export type SinksSettings = z.output<typeof sinksSettings>
export type TlsSettings = z.output<typeof tls>
export type SinkSchema = (typeof SINK_SCHEMAS)[number]
export type SinkSeverity = (typeof SINK_SEVERITIES)[number]

/** Those are told of alerts, not of events. */
export function isAlertSink(settings: SinkSettings): settings is AlertSettings {
  return ALERT_TYPES.includes(settings.type)
}

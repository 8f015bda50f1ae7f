/**
 * The configuration file: what it may hold, one typed value. Guards against what it does not know: an unknown key, a wrong type, a number
 * out of range is an error with its line and column, and a suggestion where one is near. Not here: which file (config-files.ts), and
 * what beats what.
 */
import { isIP } from 'node:net'
import { z } from 'zod'
import { SluiceError } from '../../base/error.js'
import { problemLine, readYaml } from '../../base/yaml-file.js'
import { sinksSettings, spoolSettings } from '../../schema/sink-settings.js'
import { COLOR_MODES, LOG_LEVELS } from '../environment.js'

const GLOBS_MAX = 64
const NODES_MAX = 4_096
const NODE_NAME_CHARS_MAX = 253
const path = z.string().min(2).max(4_096).startsWith('/', 'must be an absolute path')
/** The BPF file system takes no dots in a name. */
const pinDir = path.regex(/^[^.]*$/, 'must have no dots')
const name = z.string().min(1).max(256)
const PORT_MAX = 65_535
/** As the gateway takes them. */
const RESOLVERS_MAX = 8
const MIB = 1024 * 1024
const RING_MIB_MAX = 1024
/** More would have to be underway than the sensor keeps in memory (src/sensor/config.ts). */
const BULK_RING_MIB_MAX = 16
/** A BPF ring's size must be a power of two. */
const ringMib = (max: number) =>
  z
    .int()
    .min(1)
    .max(max)
    .refine((mib) => (mib & (mib - 1)) === 0, 'must be a power of two')
    .transform((mib) => mib * MIB)

const agent = z.strictObject({
  /** Cgroups that are watched as soon as they are there, by their path below the cgroup v2 root. */
  watch: z.array(z.string().min(1).max(4_096).startsWith('/', 'must begin with /')).max(GLOBS_MAX).optional(),
  /** Files, and folders with .yaml files: policies for the sandboxes that they select. */
  policies: z.array(path).max(GLOBS_MAX).optional(),
  runtimeDir: path.optional(),
  stateDir: path.optional(),
  pinDir: pinDir.optional(),
  engineUser: name.optional(),
  gatewayUser: name.optional(),
  group: name.optional(),
  adminGroup: name.optional(),
  ringMiB: z
    .strictObject({ priority: ringMib(RING_MIB_MAX).optional(), bulk: ringMib(BULK_RING_MIB_MAX).optional() })
    .optional(),
})

/** Of one end of an uplink over TLS. */
const tls = { address: z.string().min(1).max(300), ca: path, cert: path, key: path }

/** Of `sluice engine`, besides the keys of `agent` that concern an engine. */
const engine = z.strictObject({
  uplink: z.strictObject({ ...tls, nodes: z.array(name).min(1).max(NODES_MAX).optional() }),
})

/** Of `sluice sensor`, besides the keys of `agent` that concern a sensor. */
const sensor = z.strictObject({
  nodeName: z.string().min(1).max(NODE_NAME_CHARS_MAX).optional(),
  uplink: z.strictObject({ ...tls, serverName: name.optional() }),
})

/** `192.0.2.53`, `192.0.2.53:5353`, `[2001:db8::53]:5353`; without a port only where there is one that is usual. */
function hostAndPort(message: string, usual = '') {
  return z.string().transform((text, context) => {
    const [, v6, v4, port = usual] =
      /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(isIP(text) === 6 ? `[${text}]` : text) ?? []
    const host = v6 ?? v4 ?? ''
    const isPort = Number(port) >= 1 && Number(port) <= PORT_MAX
    if (isIP(host) === (v6 === undefined ? 4 : 6) && isPort) return { host, port: Number(port) }
    context.addIssue({ code: 'custom', message })
    return z.NEVER
  })
}

const resolver = hostAndPort('must be an address, with a port behind it if it is not 53', '53')

/** Of the gateway, wherever it is started. */
const gateway = z.strictObject({
  /** Asked in place of those in /etc/resolv.conf. */
  resolvers: z.array(resolver).min(1).max(RESOLVERS_MAX).optional(),
})

/** For Prometheus to ask; in an agent and in an engine by itself. */
const metrics = z.strictObject({ listen: hostAndPort('must be an address and a port, such as 127.0.0.1:9464') })

const KEEP_DAYS_MAX = 36_500
const KEEP_MIB_MAX = 1024 * 1024 * 1024

/** Of the sessions' signed history. */
const journal = z.strictObject({
  dir: path.optional(),
  /** None is written. */
  off: z.boolean().optional(),
  /** Older ones are removed, and the oldest where there is more. */
  keepDays: z.int().min(1).max(KEEP_DAYS_MAX).optional(),
  keepMiB: z.int().min(1).max(KEEP_MIB_MAX).optional(),
})

const nodeConfig = z.strictObject({
  socket: path.optional(),
  logLevel: z.enum(LOG_LEVELS).optional(),
  color: z.enum(COLOR_MODES).optional(),
  agent: agent.optional(),
  gateway: gateway.optional(),
  engine: engine.optional(),
  sensor: sensor.optional(),
  journal: journal.optional(),
  metrics: metrics.optional(),
  /** Of what is kept for the sinks, and the sinks by name. */
  spool: spoolSettings.optional(),
  sinks: sinksSettings.optional(),
})

/** A resolver that names are asked of. */
export interface ResolverAddress {
  readonly host: string
  readonly port: number
}

/** Every value optional; null is not one. */
export type NodeConfig = z.output<typeof nodeConfig>

/** `file` is for the messages. Throws USAGE with every mistake. */
export function parseNodeConfig(text: string, file: string): NodeConfig {
  const read = readYaml(text, nodeConfig)
  if (read.ok) return read.value
  throw new SluiceError('USAGE', read.problems.map((problem) => problemLine(file, problem)).join('; '))
}

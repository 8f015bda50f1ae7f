/**
 * The policy file: one schema from which come validation, types, the JSON Schema for editors and the reference. It checks the shape of
 * every value and the meaning of each by itself; what takes several values (two rules, a mode and a key) is check.ts's.
 */
import { z } from 'zod'
import { LIMITS_LADDER } from '../../proto/response-json.js'
import { SERVICE_NAMES } from './bundles/services.js'
import { TOOL_NAMES } from './bundles/tool-names.js'
import { DETECTORS, detectSchema } from './detect-settings.js'
import {
  absolutePath,
  binary,
  byteRate,
  bytes,
  cidr,
  count,
  deniedHost,
  duration,
  filePath,
  host,
  LIST_MAX,
  name,
  ports,
  rate,
  text,
  unixSocket,
} from './schema-parts.js'

export const RULES_MAX = 60_000
const CPUS_MAX = 4_096
const PATTERNS_MAX = 100
const STEPS_MAX = 16

/** A key that may be left out, with what holds then. */
function key<S extends z.ZodType>(schema: S, description: string, fallback?: string) {
  return schema.meta({ description, ...(fallback === undefined ? {} : { absent: fallback }) }).optional()
}

const httpRule = z.strictObject({
  method: key(z.array(z.string().regex(/^[A-Z]{1,32}$/, 'a method is written in capitals')).min(1), 'methods', 'all'),
  path: key(text.startsWith('/', 'a path begins with /'), 'path of the request; ** stands for anything', 'all'),
})

const reason = key(text, 'one sentence for who is refused', 'says which rule it was')
const binaries = key(binary, 'only for these programs, by path or by sha256:…', 'every program')

const hostRule = z.strictObject({
  host: host.meta({
    description:
      'api.example.com; *.example.com: one label before it; **.example.com: one or more; .example.com: it and all below',
  }),
  ports: key(
    ports,
    'ports and ranges: [443, 8000-8100]',
    '[443]; must be named with protocol udp or opaque, and icmp has none',
  ),
  protocol: key(z.enum(['tcp', 'udp', 'opaque']), 'opaque is tcp that is neither TLS nor HTTP', 'tcp'),
  binary: binaries,
  http: key(z.array(httpRule).min(1), 'only these requests; the gateway reads them', 'every request'),
  tls: key(z.enum(['inspect', 'passthrough']), 'whether the gateway ends TLS', 'inspect with http, else passthrough'),
  direct: key(z.boolean(), 'the name is resolved and its addresses opened; the gateway sees no connection', 'false'),
  ca: key(absolutePath, "a file of certificates that may have signed the host's", "the host's own"),
  identity: key(z.enum(['header', 'mtls']), 'tell the host who is calling', 'nothing is told'),
  allow_private: key(
    z.array(cidr).min(1),
    'the name may have addresses in these ranges though they are private, loopback, link-local or metadata',
    'such answers are refused',
  ),
  reason,
})

const cidrRule = z.strictObject({
  cidr: cidr.meta({ description: 'a range of addresses: 10.1.0.0/16, 2001:db8::/32' }),
  ports: key(ports, 'ports and ranges', '[443]; with protocol udp they must be named, icmp has none'),
  protocol: key(z.enum(['tcp', 'udp', 'icmp']), 'protocol', 'tcp'),
  binary: binaries,
  reason,
})

const DENIED_PORTS = 'all, of every protocol'
const denyRule = z.strictObject({
  deny: z
    .union(
      [
        z.strictObject({
          host: deniedHost.meta({ description: 'as host of a rule that allows; it may be as wide as it likes' }),
          ports: key(ports, 'ports and ranges', DENIED_PORTS),
        }),
        z.strictObject({
          cidr: cidr.meta({ description: 'a range of addresses' }),
          ports: key(ports, 'ports and ranges', DENIED_PORTS),
        }),
      ],
      'write deny: {host: …} or deny: {cidr: …}',
    )
    .meta({ description: 'a host or a cidr, with ports or without: beats every rule that allows' }),
  reason,
})

const egressRule = z.union([hostRule, cidrRule, denyRule], 'write a rule as host: …, cidr: … or deny: …')

const limit = (each: typeof rate, burst: typeof count) =>
  z.strictObject({
    rate: each.meta({ description: 'so many in a time: 20/s, 60/min, 5MiB/s' }),
    burst: key(burst, 'so much at once', 'what the rate gives in its unit of time'),
  })
const detectorName = z.enum([...DETECTORS, LIMITS_LADDER])
const UNDONE = ['throttle', 'deny', 'deny_egress', 'freeze'] as const
const step = z.union(
  [
    z.enum(['alert', ...UNDONE, 'kill', 'suspend']),
    z.strictObject({
      do: z.enum(UNDONE).meta({ description: 'what is done, until it is undone again' }),
      for: duration.meta({ description: 'how long, if nothing renews it: 30s, 10min' }),
    }),
  ],
  `a step is alert, ${UNDONE.join(', ')} or kill; or {do: freeze, for: 10min}`,
)

const select = z.strictObject({
  labels: key(z.record(z.string(), z.string()), "the launcher's labels", 'any'),
  cgroup: key(text, 'path below the cgroup v2 root; * stands for a level', 'any'),
  namespace: key(text, 'Kubernetes namespace', 'any'),
  sandboxTemplate: key(text, 'SandboxTemplate', 'any'),
  pod: key(text, 'name of the pod', 'any'),
})

/** What it is, and from where it comes, never stands in a policy: those who may write one are not those who may give out secrets. */
const credentialName = z
  .string('a credential is a name here; it is defined in the configuration of the node')
  .regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'a name has lower-case letters, digits and hyphens, at most 64')

const files = z.strictObject({
  write: key(z.array(filePath).max(LIST_MAX), 'the only places that may be written', 'everywhere'),
  protect: key(z.array(filePath).max(LIST_MAX), 'never writable, besides agent and shell configuration', '[]'),
  deny_read: key(z.array(filePath).max(LIST_MAX), 'never readable', '[]'),
})

const deniedProgram = z.union([
  z.strictObject({ path: absolutePath.meta({ description: 'of the program' }) }),
  z.strictObject({
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/, 'a hash has 64 hexadecimal digits in lower case')
      .meta({ description: 'of the file' }),
  }),
])

const egressBytes = z
  .strictObject({
    rate: key(byteRate, 'so many in a time: 5MiB/s', 'any'),
    burst: key(bytes, 'so much at once', 'what the rate gives in its unit of time'),
    total: key(bytes, 'in all; then nothing leaves any more', 'any'),
  })
  .refine(({ rate: each, total }) => each !== undefined || total !== undefined, 'write a rate or a total')
  .refine(({ rate: each, burst }) => each !== undefined || burst === undefined, 'a burst takes a rate')
const limits = z.strictObject({
  requests: key(limit(rate, count), 'HTTP requests, at the gateway', 'none'),
  connects: key(limit(rate, count), 'connects over IPv4 and IPv6, and first datagrams to a place', 'none'),
  execs: key(limit(rate, count), 'programs started; more wait, up to ten bursts or 1,024', 'none'),
  dns: key(limit(rate, count), 'names looked up', 'none'),
  egress_bytes: key(egressBytes, 'bytes sent', 'none'),
  processes: key(count, 'processes and threads at once', 'none'),
  memory: key(bytes, 'memory', 'none'),
  cpu: key(z.number().positive().max(CPUS_MAX), 'CPUs', 'none'),
  wall_clock: key(duration, 'time from start to end; then it is killed', 'none'),
  tokens: key(count, 'tokens of models', 'none'),
  connections: key(count, 'TCP connections that it made and that are open at once', 'none'),
})

export const policySchema = z.strictObject({
  version: z.literal(1, 'the version of this format is 1').meta({ description: 'of this format: 1' }),
  name: name.meta({ description: 'of the policy; verdicts carry it' }),
  mode: z
    .enum(['monitor', 'enforce'])
    .meta({ description: 'monitor: what would be refused is recorded as WOULD_DENY; enforce: it is refused' }),
  select: key(select, 'which sandboxes', 'what run starts'),
  bundles: key(
    z.array(z.enum([...SERVICE_NAMES, ...TOOL_NAMES])),
    'named lists of hosts; policy expand shows them',
    '[]',
  ),
  egress: key(z.array(egressRule).max(RULES_MAX), 'where it may go; what no rule allows is denied', '[]'),
  local: key(
    z.strictObject({
      listeners: key(
        z.enum(['own', 'any', 'none']),
        'loopback reaches listeners of the sandbox itself, all, or none',
        'own',
      ),
      unix: key(z.array(unixSocket).max(LIST_MAX), 'Unix sockets that may be connected to, besides its own', '[]'),
    }),
    'what is on this machine',
  ),
  dns: key(
    z.strictObject({
      mode: key(
        z.enum(['restrict', 'observe', 'off']),
        'restrict: only names that a rule allows are answered; observe: all are; off: port 53 is a port like any other',
        'restrict to enforce, observe to monitor',
      ),
    }),
    'names',
  ),
  files: key(files, 'files'),
  exec: key(
    z.strictObject({ deny: key(z.array(deniedProgram).max(LIST_MAX), 'programs that may not run', '[]') }),
    'programs',
  ),
  credentials: key(z.array(credentialName).max(LIST_MAX), 'names of credentials that the node defines', '[]'),
  limits: key(limits, 'how much, for each sandbox, while it happens'),
  detect: key(detectSchema, 'settings of detectors; off: true takes one out', 'all on'),
  respond: key(
    z.partialRecord(detectorName, z.array(step).max(STEPS_MAX)),
    'what a detection, or a limit that is reached, leads to: the next step whenever it goes on. {do: freeze, for: 10min} says how long; []: only the alert',
    'alert; to enforce also loop: [alert, alert, throttle], unless connects or execs are limited, and secret_then_egress: [alert, deny_egress]',
  ),
  redact: key(
    z.strictObject({ args: key(z.array(text).max(PATTERNS_MAX), 'patterns of what is secret in arguments', '[]') }),
    'besides the built-in rules',
  ),
  wire: key(
    z.enum(['off', 'observe', 'enforce']),
    'what goes through the gateway: observe redirects and never refuses',
    'enforce to enforce, off to monitor',
  ),
  unresolved: key(z.enum(['deny', 'allow']), 'a cgroup that no pod explains yet', 'deny'),
  floor: key(z.boolean(), 'holds above every other policy, which can only tighten it', 'false'),
  allow_brokers: key(z.boolean(), 'sockets of brokers (containers, D-Bus, ssh-agent) may be reached', 'false'),
  allow_privileged: key(z.boolean(), 'enforce also where the sandbox has the rights of root on the host', 'false'),
})

export type PolicyFile = z.output<typeof policySchema>
export type EgressRule = z.output<typeof egressRule>
export type HostRuleFile = z.output<typeof hostRule>
export type CidrRuleFile = z.output<typeof cidrRule>
export type DenyRuleFile = z.output<typeof denyRule>

/** For editors, draft 2020-12. */
export function policyJsonSchema(): Record<string, unknown> {
  const { $schema, ...schema } = z.toJSONSchema(policySchema, { io: 'input', unrepresentable: 'any' })
  return { $schema, title: 'Sluice policy', ...schema }
}

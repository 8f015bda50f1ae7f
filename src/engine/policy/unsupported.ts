/**
 * What a policy may say and this version does not do. In enforce mode it is refused by name, with what to do instead; in monitor mode it is
 * named. It guards that nothing is silently left out: whoever makes a key work takes its line out here.
 */
import type { Path } from '../../base/schema-issues.js'
import type { PolicyFile } from './schema.js'

export interface Unsupported {
  readonly path: Path
  readonly what: string
  readonly instead: string
}

const TOP: readonly [key: keyof PolicyFile, what: string, instead: string][] = [
  ['files', 'files are not judged yet', 'run the command as a user who has no more than it needs'],
  ['exec', 'programs are not judged yet', 'leave them out of the sandbox'],
  [
    'credentials',
    'credentials are not attached yet',
    'let a rule allow the host, and give the command a key of its own',
  ],
  ['redact', 'only built-in rules redact yet', 'keep secrets out of arguments'],
  ['unresolved', 'pods are not looked up yet', 'leave it out'],
]

const OF_A_RULE: readonly [key: string, what: string, instead: string][] = [
  ['http', 'requests are not read yet', 'allow the host as a whole, or do not allow it'],
  ['ca', 'the gateway does not end TLS yet', 'give the command its own certificates'],
  ['identity', 'the gateway does not end TLS yet', 'let the command say who it is'],
]

const NO_PODS = ['pods are not looked up yet', 'select by labels or by cgroup'] as const
const OF_SELECT: readonly [key: 'namespace' | 'sandboxTemplate' | 'pod', what: string, instead: string][] = [
  ['namespace', ...NO_PODS],
  ['sandboxTemplate', ...NO_PODS],
  ['pod', ...NO_PODS],
]

/** Those that take a gateway which reads what goes through it. */
const UNREAD_LIMITS: readonly string[] = ['requests', 'tokens']
const UNREAD_LIMIT = { what: 'requests are not read yet', instead: 'limit connects and egress_bytes' }
const DNS_LIMIT = { what: 'it is not judged in monitor mode yet', instead: 'leave it out' }
const OF_A_LADDER: Readonly<Record<string, Omit<Unsupported, 'path'>>> = {
  suspend: { what: 'nothing is suspended in a cluster yet', instead: 'freeze it' },
}
const INSPECT = { what: 'the gateway does not end TLS yet', instead: 'write tls: passthrough' }

/** In the order of the schema. */
export function unsupportedIn(file: PolicyFile): Unsupported[] {
  const top = TOP.flatMap(([key, what, instead]) => (file[key] === undefined ? [] : [{ path: [key], what, instead }]))
  const rules = (file.egress ?? []).flatMap((rule, index) =>
    OF_A_RULE.flatMap(([key, what, instead]) => (key in rule ? [{ path: ['egress', index, key], what, instead }] : [])),
  )
  const inspected = (file.egress ?? []).flatMap((rule, index): Unsupported[] =>
    'tls' in rule && rule.tls === 'inspect' ? [{ path: ['egress', index, 'tls'], ...INSPECT }] : [],
  )
  const limits = Object.keys(file.limits ?? {}).flatMap((key): Unsupported[] => {
    if (UNREAD_LIMITS.includes(key)) return [{ path: ['limits', key], ...UNREAD_LIMIT }]
    return key === 'dns' && file.mode === 'monitor' ? [{ path: ['limits', key], ...DNS_LIMIT }] : []
  })
  const steps = Object.entries(file.respond ?? {}).flatMap(([detector, ladder = []]): Unsupported[] =>
    ladder.flatMap((step, at) => {
      const why = OF_A_LADDER[typeof step === 'string' ? step : step.do]
      return why === undefined ? [] : [{ path: ['respond', detector, at], ...why }]
    }),
  )
  const selected = OF_SELECT.flatMap(([key, what, instead]) =>
    file.select?.[key] === undefined ? [] : [{ path: ['select', key], what, instead }],
  )
  return [...selected, ...top, ...limits, ...steps, ...rules, ...inspected]
}

/** For the reference: each key once. */
export function unsupportedKeys(): { readonly key: string; readonly what: string; readonly instead: string }[] {
  return [
    ...TOP.map(([key, what, instead]) => ({ key, what, instead })),
    ...OF_SELECT.map(([key, what, instead]) => ({ key: `select.${key}`, what, instead })),
    ...UNREAD_LIMITS.map((key) => ({ key: `limits.${key}`, ...UNREAD_LIMIT })),
    ...Object.entries(OF_A_LADDER).map(([step, why]) => ({ key: `respond: ${step}`, ...why })),
    ...OF_A_RULE.map(([key, what, instead]) => ({ key: `egress[].${key}`, what, instead })),
    { key: 'egress[].tls: inspect', ...INSPECT },
  ]
}

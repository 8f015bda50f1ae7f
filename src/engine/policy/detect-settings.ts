/**
 * `detect:` of a policy: which detectors are off, and by which thresholds the others go. One table of what may be set; from it come the schema,
 * so that what is not in it is refused with what was meant, and the values for detect/detectors.ts. Every detector is on unless it is said.
 */
import { z } from 'zod'
import type { IDetectorSetting } from '../../proto/codec.js'
import { parseDuration, parseRate } from './quantity.js'
import { duration, rate } from './schema-parts.js'

export const DETECTORS = [
  ...(['loop', 'exec_storm', 'retry_storm', 'volume', 'bash_heavy', 'shell_smuggling', 'secret_access'] as const),
  ...(['secret_then_egress', 'dns_tunnel', 'config_tamper', 'escape_attempt', 'drop_and_run'] as const),
  ...(['out_of_workspace', 'novelty', 'sandbox_reuse'] as const),
] as const
export type DetectorName = (typeof DETECTORS)[number]

export interface DetectorSetting {
  readonly off: boolean
  /** By the detector's own names. */
  readonly thresholds: Readonly<Record<string, number>>
}

export interface DetectSettings {
  readonly detectors: Readonly<Partial<Record<DetectorName, DetectorSetting>>>
  /** Folders where the policy lets the sandbox write, absolute. */
  readonly writable: readonly string[]
}

export const NO_SETTINGS: DetectSettings = Object.freeze({ detectors: {}, writable: [] })

type Kind = 'count' | 'share' | 'duration' | 'rate'

interface Setting {
  /** In the policy. */
  readonly key: string
  /** To the detector. */
  readonly name: string
  readonly kind: Kind
  /** Of a count. */
  readonly max: number
  readonly text: string
  readonly usual: string
  /** Of two policies the one with more of it notices more. */
  readonly moreIsStricter: boolean
}

const COUNT_MAX = 1_000_000

const counts = (key: string, name: string, text: string, usual: string, max = COUNT_MAX): Setting => ({
  ...{ key, name, kind: 'count', max, text, usual, moreIsStricter: false },
})
const share = (key: string, text: string, usual: string): Setting => ({
  ...{ key, name: key, kind: 'share', max: 1, text, usual, moreIsStricter: false },
})
const time = (key: string, name: string, text: string, usual: string): Setting => ({
  ...{ key, name, kind: 'duration', max: 0, text, usual, moreIsStricter: true },
})

/** What is remembered of a session grows with these: hence their limits. */
const SETTINGS: Readonly<Record<DetectorName, readonly Setting[]>> = {
  loop: [
    counts('repeats', 'repeats', 'the same call so often', '5', 60),
    { ...counts('window', 'window', 'calls that are looked back at', '30', 60), moreIsStricter: true },
    counts('cycles', 'cycles', 'a cycle of calls so often', '4', 30),
    { ...counts('period', 'period', 'calls in the longest cycle', '8', 15), moreIsStricter: true },
    counts('similar', 'similar', 'calls that hardly differ', '8', 60),
    share('similarity', 'share of words that such calls have in common', '0.85'),
    counts('failures', 'failures', 'failures of one kind running', '8'),
  ],
  exec_storm: [
    counts('execs', 'execs', 'one command line so often', '50'),
    time('window', 'windowMs', 'within this time', '10s'),
  ],
  retry_storm: [
    counts('one_target', 'oneTarget', 'refused attempts at one target', '5'),
    counts('all', 'all', 'refused attempts', '20'),
    time('window', 'windowMs', 'within this time', '60s'),
  ],
  volume: [
    counts('burst', 'burst', 'connections', '300'),
    time('burst_window', 'burstMs', 'within this time', '4s'),
    time('window', 'windowMs', 'what counts are taken over', '10s'),
    counts('deviations', 'deviations', 'above the average', '6', 100),
    counts('windows', 'windows', 'windows above it', '3', 1_000),
    { ...counts('calls', 'callsPerMinute', 'tool calls', '60/min'), kind: 'rate' },
    counts('min_sessions', 'minSessions', 'sessions of the agent before their average is what is usual', '5', 1_000),
  ],
  bash_heavy: [
    share('share', 'of calls that are shells or inline code', '0.9'),
    counts('min_calls', 'minCalls', 'calls before it is told', '20'),
  ],
  shell_smuggling: [
    counts('depth', 'depth', 'shells with a command, one started by the other', '4', 7),
    counts('encoded', 'encoded', 'characters of encoded text in one command', '8192'),
  ],
  secret_access: [counts('files', 'files', 'different secrets before it is told', '1', 64)],
  secret_then_egress: [time('window', 'windowMs', 'from the read to the host', '60s')],
  dns_tunnel: [
    counts('names', 'names', 'different names below one domain', '100', 200),
    time('window', 'windowMs', 'within this time', '60s'),
    counts('encoded', 'encoded', 'characters of encoded text in one name', '40', 253),
    counts('encoded_names', 'encodedNames', 'names with less of it', '3', 50),
  ],
  config_tamper: [counts('files', 'files', 'different files before it is told', '1', 64)],
  escape_attempt: [],
  drop_and_run: [],
  out_of_workspace: [counts('folders', 'folders', 'different folders before it is told', '1', 64)],
  novelty: [
    { ...counts('sessions', 'sessions', 'sessions that are looked back at', '20', 1_000), moreIsStricter: false },
    counts('min_sessions', 'minSessions', 'sessions before it is told', '5', 1_000),
    time('every', 'everyMs', 'from one list to the next', '7d'),
  ],
  sandbox_reuse: [time('outlives', 'outlivesMs', 'after its task has ended', '60s')],
}

function shapeOf({ kind, max }: Setting): z.ZodType {
  if (kind === 'duration') return duration
  if (kind === 'rate') return rate
  if (kind === 'share') return z.number().gt(0, 'a share is above 0').max(1, 'a share is at most 1')
  return z.int('write a whole number').min(1, 'write at least 1').max(max, `at most ${max}`)
}

function detector(settings: readonly Setting[]) {
  const shape = Object.fromEntries(
    settings.map((setting) => [
      setting.key,
      shapeOf(setting).meta({ description: setting.text, absent: setting.usual }).optional(),
    ]),
  )
  return z.strictObject({
    off: z.boolean().meta({ description: 'true takes it out', absent: 'false' }).optional(),
    ...shape,
  })
}

export const detectSchema = z.strictObject(
  Object.fromEntries(
    DETECTORS.map((name) => [
      name,
      detector(SETTINGS[name])
        .meta({ description: `settings of ${name}` })
        .optional(),
    ]),
  ) as { [Name in DetectorName]: z.ZodOptional<ReturnType<typeof detector>> },
)

type DetectFile = z.output<typeof detectSchema>

/** `writable`: what `files.write` comes to. */
export function detectSettings(file: DetectFile | undefined, writable: readonly string[] = []): DetectSettings {
  const detectors = Object.fromEntries(
    Object.entries(file ?? {}).map(([name, given]) => [name, settingOf(SETTINGS[name as DetectorName], given ?? {})]),
  )
  return { detectors, writable }
}

/** Of several policies that hold at once: what notices more; off is only what all of them take out. */
export function strictest(all: readonly DetectSettings[]): DetectSettings {
  const [first, ...rest] = all
  if (first === undefined || rest.length === 0) return first ?? NO_SETTINGS
  const detectors = DETECTORS.map(
    (name) =>
      [
        name,
        merged(
          name,
          all.map((each) => each.detectors[name]),
        ),
      ] as const,
  )
  return { detectors: Object.fromEntries(detectors), writable: all.flatMap(({ writable }) => writable) }
}

function merged(name: DetectorName, given: readonly (DetectorSetting | undefined)[]): DetectorSetting {
  const thresholds: Record<string, number> = {}
  for (const { name: key, moreIsStricter } of SETTINGS[name]) {
    const values = given.flatMap((each) => each?.thresholds[key] ?? [])
    if (values.length > 0) thresholds[key] = moreIsStricter ? Math.max(...values) : Math.min(...values)
  }
  return { off: given.every((each) => each?.off === true), thresholds }
}

function settingOf(settings: readonly Setting[], given: Readonly<Record<string, unknown>>): DetectorSetting {
  const thresholds = Object.fromEntries(
    settings.flatMap(({ key, name, kind }) => {
      const value = given[key]
      return value === undefined ? [] : [[name, amountOf(kind, value)]]
    }),
  )
  return { off: given.off === true, thresholds }
}

const MINUTE_MS = 60_000

/** The schema has let it through. */
function amountOf(kind: Kind, value: unknown): number {
  if (kind === 'duration') return parseDuration(String(value)) ?? 0
  if (kind !== 'rate') return Number(value)
  const { count: events, perMs } = parseRate(String(value)) ?? { count: 0, perMs: MINUTE_MS }
  return (events * MINUTE_MS) / perMs
}

/** As the engine gets them: sorted, so that the same settings have the same bytes. */
export function compiledSettings({ detectors }: DetectSettings): IDetectorSetting[] {
  return DETECTORS.flatMap((detector) => {
    const { off = false, thresholds = {} } = detectors[detector] ?? {}
    const sorted = Object.entries(thresholds).sort(([a], [b]) => (a < b ? -1 : 1))
    return off || sorted.length > 0 ? [{ detector, off, thresholds: Object.fromEntries(sorted) }] : []
  })
}

/** The inverse. */
export function settingsOf(compiled: readonly IDetectorSetting[]): DetectSettings {
  const entries = compiled.map(({ detector, off, thresholds }) => {
    return [detector, { off: off ?? false, thresholds: { ...thresholds } }] as const
  })
  return entries.length === 0 ? NO_SETTINGS : { detectors: Object.fromEntries(entries), writable: [] }
}

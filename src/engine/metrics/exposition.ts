/**
 * What the engine counts, as Prometheus wants it. Guards that asking costs the way of an event nothing: numbers are put together when they
 * are asked for. What each is called is part of the interface; docs/reference/metrics.md is generated from here.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { EventTally, SandboxTally, Table } from './event-tally.js'

/** What is asked for when somebody asks. */
export interface EngineNumbers {
  /** Sandboxes that are watched now. */
  sandboxes(): number
  isSensorConnected(): boolean
  /** Facts of the kernel that belong to no session. */
  stray(): number
  /** Facts of the kernel that could not be read. */
  undecodable(): number
  /** Batches of the sensor that are in their sessions for good. */
  committedBatches(): number
  /** Who looks on at live events. */
  watchers(): number
  /** Null: there is none. */
  journal(): JournalNumbers | null
  spool(): SpoolNumbers | null
  sinks(): readonly SinkNumbers[]
  /** What keeps or sends events, and whether it does. */
  parts(): readonly { readonly part: string; readonly problem: string | null }[]
}

interface SpoolNumbers {
  readonly events: number
  readonly bytes: number
  readonly shed: number
  readonly missed: number
  readonly faults: number
}

interface SinkNumbers {
  readonly name: string
  readonly behind: number | null
  readonly delivered: number
  readonly filtered: number
  readonly failures: number
  readonly dead: number
}

interface JournalNumbers {
  readonly events: number
  readonly lost: number
  readonly checkpoints: number
  readonly faults: number
}

export interface Exposition {
  readonly contentType: string
  /** All of it, in the text format. */
  text(): Promise<string>
  /** For the reference. */
  described(): Promise<{ name: string; help: string; type: string; labels: readonly string[] }[]>
}

/** From a thread that holds nothing up to an engine that has fallen behind. */
const DELAY_BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

export function newExposition(tally: EventTally, numbers: EngineNumbers): Exposition {
  const registry = new Registry()
  const delays = new Histogram({
    name: 'sluice_event_delay_seconds',
    help: 'From what happened in the kernel until its event is given out; one event in 64 is timed',
    buckets: DELAY_BUCKETS_SECONDS,
    registers: [registry],
  })
  tally.onDelay = (seconds) => delays.observe(seconds)
  exposeEvents(registry, tally)
  exposeSandboxes(registry, tally)
  exposeEngine(registry, numbers)
  exposeSending(registry, numbers)
  collectDefaultMetrics({ register: registry, prefix: 'sluice_engine_' })
  const labels = new Map(registry.getMetricsAsArray().map((metric) => [metric.name, labelsOf(metric)]))
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    async described() {
      const found = await registry.getMetricsAsJSON()
      return found.map(({ name, help, type }) => ({ name, help, type: String(type), labels: labels.get(name) ?? [] }))
    },
  }
}

function exposeEvents(registers: Registry, tally: EventTally): void {
  const registry = { registers: [registers] }
  new Counter({
    ...{ name: 'sluice_events_total', help: 'Events given out, by kind', labelNames: ['kind'], ...registry },
    collect() {
      this.reset()
      for (const [kind, count] of tally.events) this.inc({ kind }, count)
    },
  })
  new Counter({
    name: 'sluice_events_lost_total',
    help: 'Events that are known to be missing, by the stage that lost them and their kind',
    labelNames: ['stage', 'kind'],
    ...registry,
    collect() {
      this.reset()
      for (const [stage, kind, count] of tally.lost.entries()) this.inc({ stage, kind }, count)
    },
  })
}

/** Name, help, the two labels besides the sandbox, and where the numbers are. */
const BY_SANDBOX: readonly (readonly [string, string, readonly [string, string], keyof SandboxTally])[] = [
  ['sluice_verdicts_total', 'Verdicts by what was judged and the decision', ['kind', 'decision'], 'verdicts'],
  ['sluice_detections_total', 'Detections', ['detector', 'severity'], 'detections'],
  ['sluice_responses_total', 'States that responses came to', ['action', 'state'], 'responses'],
  ['sluice_limit_refusals_total', 'What a limit refused, or would have', ['limit', 'decision'], 'refusals'],
]

function exposeSandboxes(registry: Registry, tally: EventTally): void {
  for (const [name, help, [row, column], which] of BY_SANDBOX) {
    new Counter({
      ...{ name, help, labelNames: ['sandbox', row, column], registers: [registry] },
      collect() {
        this.reset()
        for (const [sandbox, of] of tally.bySandbox) {
          const table: Table = of[which]
          for (const [inRow, inColumn, count] of table.entries())
            this.inc({ sandbox, [row]: inRow, [column]: inColumn }, count)
        }
      },
    })
  }
}

function exposeEngine(registry: Registry, numbers: EngineNumbers): void {
  const gauges: readonly (readonly [string, string, () => number])[] = [
    ['sluice_sandboxes', 'Sandboxes that are watched now', () => numbers.sandboxes()],
    ['sluice_sensor_connected', '1 if the sensor is connected', () => Number(numbers.isSensorConnected())],
    ['sluice_journal', '1 if the engine has a journal', () => Number(numbers.journal() !== null)],
    ['sluice_spool_bytes', 'Events that the spool keeps, in bytes', () => numbers.spool()?.bytes ?? 0],
    ['sluice_watchers', 'Clients that look on at live events', () => numbers.watchers()],
  ]
  for (const [name, help, value] of gauges) {
    new Gauge({
      ...{ name, help, registers: [registry] },
      collect() {
        this.set(value())
      },
    })
  }
  const counters: readonly (readonly [string, string, () => number])[] = [
    ['sluice_stray_facts_total', 'Facts of the kernel that belong to no session', () => numbers.stray()],
    ['sluice_undecodable_facts_total', 'Facts of the kernel that could not be read', () => numbers.undecodable()],
    ['sluice_committed_batches_total', 'Batches that are in their sessions', () => numbers.committedBatches()],
    ['sluice_journal_events_total', 'Events given to the journal', () => numbers.journal()?.events ?? 0],
    ['sluice_journal_lost_total', 'Events that the journal could not be given', () => numbers.journal()?.lost ?? 0],
    ['sluice_journal_checkpoints_total', 'Checkpoints signed', () => numbers.journal()?.checkpoints ?? 0],
    ['sluice_journal_faults_total', 'Times the journal could not be written', () => numbers.journal()?.faults ?? 0],
    ['sluice_spool_events_total', 'Events given to the spool, for the sinks', () => numbers.spool()?.events ?? 0],
    ['sluice_spool_shed_total', 'Events that the spool had no room for any more', () => numbers.spool()?.shed ?? 0],
    ['sluice_spool_missed_total', 'Events that no disk took for the spool', () => numbers.spool()?.missed ?? 0],
    [
      'sluice_spool_faults_total',
      'Times the spool could not be written or was gone',
      () => numbers.spool()?.faults ?? 0,
    ],
  ]
  for (const [name, help, value] of counters) {
    new Counter({
      ...{ name, help, registers: [registry] },
      collect() {
        this.reset()
        this.inc(value())
      },
    })
  }
}

/** Name, help, and the number. */
const BY_SINK: readonly (readonly [string, string, (sink: SinkNumbers) => number])[] = [
  ['sluice_sink_delivered_total', 'Events that arrived', ({ delivered }) => delivered],
  ['sluice_sink_filtered_total', 'Events that were not for the sink', ({ filtered }) => filtered],
  ['sluice_sink_failures_total', 'Attempts to deliver that failed', ({ failures }) => failures],
  ['sluice_sink_dead_total', 'Events that the receiver refused for good', ({ dead }) => dead],
]

/** By sinks of the configuration, of which there are few. */
function exposeSending(registry: Registry, numbers: EngineNumbers): void {
  const registers = [registry]
  for (const [name, help, value] of BY_SINK) {
    new Counter({
      ...{ name, help, labelNames: ['sink'], registers },
      collect() {
        this.reset()
        for (const sink of numbers.sinks()) this.inc({ sink: sink.name }, value(sink))
      },
    })
  }
  new Gauge({
    ...{
      name: 'sluice_sink_behind',
      help: 'Events in the spool that the sink does not have',
      labelNames: ['sink'],
      registers,
    },
    collect() {
      this.reset()
      for (const { name, behind } of numbers.sinks()) if (behind !== null) this.set({ sink: name }, behind)
    },
  })
  new Gauge({
    name: 'sluice_failing',
    help: '1 if what keeps or sends events does not: journal, spool, sinks (their process), sink:NAME',
    ...{ labelNames: ['part'], registers },
    collect() {
      this.reset()
      for (const { part, problem } of numbers.parts()) this.set({ part }, Number(problem !== null))
    },
  })
}

function labelsOf(metric: object): readonly string[] {
  return 'labelNames' in metric && Array.isArray(metric.labelNames) ? metric.labelNames.map(String) : []
}

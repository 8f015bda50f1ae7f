/**
 * The parts of an engine that keep and send events, as far as they can fail: journal, spool, and the sinks, which are another process and tell by a file.
 * Guards that what nothing is heard of counts as failing. Not here: who is told.
 */
import type { IEvent, INode } from '../proto/codec.js'
import { readStatus, type SinkStatus, type SinksStatus } from '../proto/spool/sinks-status.js'
import { PartFaults, type PartState } from './part-faults.js'

/** Of a status that is written each second. */
const SILENT_MS = 10_000
const NO_JOURNAL = 'there is none: the log says why'
const SILENT = `nothing was heard of the process that sends events away for ${SILENT_MS / 1_000} s: it does not run, or can not write down how it does`

interface MayFail {
  /** Null: none. */
  readonly problem: string | null
}

export interface KeptParts {
  readonly journal: MayFail | null
  readonly spool: MayFail | null
  readonly clock: { nowUnixNs(): bigint }
  tell(event: IEvent): void
  sensor(): { readonly nodeName: string; readonly bootId: string } | null
}

export interface WatchedParts {
  readonly faults: PartFaults
  readonly sinks: SinksWatch | null
}

/** As the engine is configured. Nobody looks yet. */
export function watchKeptParts(
  config: { readonly journal?: object | undefined; readonly spool?: { readonly dir: string } | undefined },
  { journal, spool, clock, tell, sensor }: KeptParts,
): WatchedParts {
  const sinks = config.spool === undefined ? null : new SinksWatch(statusReader(config.spool.dir))
  const none = config.journal === undefined ? null : NO_JOURNAL
  let node: INode | null = null
  const faults = new PartFaults({
    look: () => [
      { part: 'journal', problem: journal === null ? none : journal.problem },
      ...(spool === null ? [] : [{ part: 'spool', problem: spool.problem }]),
      ...(sinks?.states() ?? []),
    ],
    node() {
      const { nodeName: name, bootId } = sensor() ?? {}
      if (name !== undefined && bootId !== undefined) node = { name, bootId }
      return node
    },
    ...{ tell, nowUnixNs: () => clock.nowUnixNs() },
  })
  return { faults, sinks }
}

/** The sinks, as their process wrote it down last. */
export class SinksWatch {
  private readonly read: () => SinksStatus | null
  private readonly nowMs: () => number
  private heardMs: number
  private time: string | null = null
  /** How often each had delivered when it began to fail: it has done nothing since. */
  private readonly stuck = new Map<string, number>()

  constructor(read: () => SinksStatus | null, nowMs: () => number = () => performance.now()) {
    this.read = read
    this.nowMs = nowMs
    this.heardMs = nowMs()
  }

  status(): readonly SinkStatus[] {
    return this.read()?.sinks ?? []
  }

  states(): PartState[] {
    const found = this.read()
    // By a clock that nobody sets: another text is a newer one.
    if (found !== null && found.time !== this.time) this.heardMs = this.nowMs()
    this.time = found?.time ?? this.time
    const isSilent = this.nowMs() - this.heardMs >= SILENT_MS
    if (isSilent || found === null) return [{ part: 'sinks', problem: isSilent ? SILENT : null }]
    return [
      { part: 'sinks', problem: null },
      ...found.sinks.map((sink) => ({ part: `sink:${sink.name}`, problem: this.problemOf(sink) })),
    ]
  }

  /** One that delivers between two failures does deliver. */
  private problemOf({ name, isFailing, delivered, lastError }: SinkStatus): string | null {
    const before = this.stuck.get(name)
    this.stuck.set(name, delivered)
    return isFailing && before === delivered ? (lastError ?? 'it does not say why') : null
  }
}

/** Null where there is none that can be read. */
function statusReader(folder: string): () => SinksStatus | null {
  return () => {
    try {
      return readStatus(folder)
    } catch {
      return null
    }
  }
}

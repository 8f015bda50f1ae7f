/**
 * Counts what sessions give out, for whoever asks by a number. Guards that a tally costs an event next to nothing, and that it is bounded
 * whatever sandboxes are called. Not here: how numbers are shown (exposition.ts).
 */
import { type IEvent, type IVerdict, toBigInt } from '../../proto/codec.js'
import { DECISIONS, EVENT_KINDS, type EventKind } from '../../proto/event-json.js'
import { named } from '../../proto/json-values.js'
import { RESPONSE_ACTIONS, RESPONSE_STATES } from '../../proto/response-json.js'
import { STAGES } from '../../proto/session-json.js'
import { SEVERITIES } from '../../proto/tool-call-json.js'

/** Sandboxes with numbers of their own; the others share one. */
export const SANDBOXES_MAX = 256
export const OTHERS = '(others)'
/** One in so many is timed. */
const TIMED_EVERY = 64
const NS_PER_SECOND = 1e9

/** Numbers by two names, such as a detector and a severity. */
export class Table {
  private readonly rows = new Map<string, Map<string, number>>()

  add(row: string, column: string, count: number): void {
    let columns = this.rows.get(row)
    if (columns === undefined) {
      columns = new Map()
      this.rows.set(row, columns)
    }
    columns.set(column, (columns.get(column) ?? 0) + count)
  }

  *entries(): Generator<[row: string, column: string, count: number]> {
    for (const [row, columns] of this.rows) for (const [column, count] of columns) yield [row, column, count]
  }
}

/** Of one sandbox, or of those that share. */
export interface SandboxTally {
  /** By kind of event and decision. */
  readonly verdicts: Table
  /** By detector and severity. */
  readonly detections: Table
  /** By action and state. */
  readonly responses: Table
  /** By limit and decision: what was refused, or would have been. */
  readonly refusals: Table
}

export class EventTally {
  readonly events = new Map<EventKind, number>()
  /** By stage and kind: events that are known to be missing. */
  readonly lost = new Table()
  readonly bySandbox = new Map<string, SandboxTally>()
  /** Of some events, how old they were when they were given out, in seconds. */
  onDelay: (seconds: number) => void = () => {}
  private readonly nowUnixNs: () => bigint
  /** Sandboxes of `bySandbox` that have ended, the earliest first: they make room. */
  private readonly ended = new Set<string>()
  private seen = 0

  constructor(nowUnixNs: () => bigint) {
    this.nowUnixNs = nowUnixNs
  }

  saw(event: IEvent): void {
    const kind = EVENT_KINDS.find((each) => event[each])
    if (kind === undefined) return
    this.events.set(kind, (this.events.get(kind) ?? 0) + 1)
    this.seen++
    if (this.seen % TIMED_EVERY === 0) this.time(event)
    if (kind === 'gap') {
      const { stage, kind: of, count } = event.gap ?? {}
      this.lost.add(named(STAGES, stage), of || 'any', Number(toBigInt(count)))
    }
    this.ofSandbox(event, kind)
  }

  private time(event: IEvent): void {
    const ns = Number(this.nowUnixNs() - toBigInt(event.timeUnixNs))
    this.onDelay(Math.max(0, ns / NS_PER_SECOND))
  }

  private ofSandbox(event: IEvent, kind: EventKind): void {
    const { detection, response, limitHit } = event
    const verdict = verdictOf(event)
    if (verdict) {
      const times = event.connect?.count ?? event.fileOpen?.count
      this.tallyOf(event).verdicts.add(kind, decisionOf(verdict), Math.max(1, Number(toBigInt(times))))
    }
    if (detection) {
      this.tallyOf(event).detections.add(detection.detector ?? '', named(SEVERITIES, detection.severity), 1)
    }
    if (response) {
      const { action, state } = response
      this.tallyOf(event).responses.add(named(RESPONSE_ACTIONS, action), named(RESPONSE_STATES, state), 1)
    }
    if (limitHit) {
      const refused = Number(toBigInt(limitHit.refused))
      this.tallyOf(event).refusals.add(limitHit.what ?? '', decisionOf(limitHit.verdict ?? {}), refused)
    }
    if (event.sandboxEnded) {
      const name = nameOf(event)
      if (this.bySandbox.has(name)) this.ended.add(name)
    }
  }

  private tallyOf(event: IEvent): SandboxTally {
    const name = nameOf(event)
    const known = this.bySandbox.get(name)
    if (known !== undefined) {
      this.ended.delete(name)
      return known
    }
    if (this.bySandbox.size >= SANDBOXES_MAX && name !== OTHERS) {
      const [earliest] = this.ended
      if (earliest === undefined) return this.bySandbox.get(OTHERS) ?? this.newTally(OTHERS)
      this.ended.delete(earliest)
      this.bySandbox.delete(earliest)
    }
    return this.newTally(name)
  }

  private newTally(name: string): SandboxTally {
    const tally = { verdicts: new Table(), detections: new Table(), responses: new Table(), refusals: new Table() }
    this.bySandbox.set(name, tally)
    return tally
  }
}

function nameOf({ sandbox }: IEvent): string {
  return sandbox?.name || sandbox?.id || ''
}

/** Null: it was judged by nobody. */
function verdictOf(event: IEvent): IVerdict | null {
  const verdict = (event.connect ?? event.dns ?? event.fileOpen ?? event.fileChange ?? event.listen)?.verdict
  return verdict && (verdict.decision ?? 0) !== 0 ? verdict : null
}

function decisionOf({ decision }: IVerdict): string {
  return named(DECISIONS, decision)
}

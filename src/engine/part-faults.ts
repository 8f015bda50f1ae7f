/**
 * Tells when a part that keeps or sends events no longer does, and when it does again, as events of the node: a security team that gets less than
 * there is must be able to know it. Guards that a change of state is told and nothing else: a part that fails now and then is not told of, and one that
 * fails for long is told of once. Not here: what is wrong with which part, and who is told.
 */
import { derivedUuid } from '../base/uuid.js'
import { fromBigInt, type IEvent, type INode, Severity } from '../proto/codec.js'

/** One that fails for less is not told of. */
const HOLD_MS = 5_000
const LOOK_MS = 1_000
const NS_PER_MS = 1_000_000n
const REASON_CHARS_MAX = 500
export const DELIVERY = 'delivery'

export interface PartState {
  /** `spool`, `journal`, `sinks`, or `sink:NAME`. */
  readonly part: string
  /** Null: none. */
  readonly problem: string | null
}

export interface PartFaultsOptions {
  look(): readonly PartState[]
  tell(event: IEvent): void
  node(): INode | null
  nowUnixNs(): bigint
  nowMs?(): number
}

interface Failing {
  readonly sinceMs: number
  problem: string
  isTold: boolean
}

export class PartFaults {
  private readonly options: PartFaultsOptions
  private readonly nowMs: () => number
  private readonly failing = new Map<string, Failing>()
  private timer: NodeJS.Timeout | null = null
  private seen: readonly PartState[] = []
  private told = 0

  constructor(options: PartFaultsOptions) {
    this.options = options
    this.nowMs = options.nowMs ?? (() => performance.now())
  }

  /** As they were when they were last looked at. */
  get parts(): readonly PartState[] {
    return this.seen
  }

  start(): void {
    this.timer = setInterval(() => this.look(), LOOK_MS)
    this.timer.unref()
  }

  stop(): void {
    if (this.timer !== null) clearInterval(this.timer)
  }

  look(): void {
    const now = this.nowMs()
    this.seen = this.options.look()
    const well = new Set(this.failing.keys())
    for (const { part, problem } of this.seen) {
      if (problem === null) continue
      well.delete(part)
      const known = this.failing.get(part) ?? { sinceMs: now, problem, isTold: false }
      known.problem = problem
      this.failing.set(part, known)
      if (known.isTold || now - known.sinceMs < HOLD_MS) continue
      known.isTold = true
      this.tell(part, Severity.SEVERITY_MEDIUM, `${nameOf(part)} fails`, problem)
    }
    for (const part of well) this.isWell(part)
  }

  private isWell(part: string): void {
    const { isTold = false, problem = '' } = this.failing.get(part) ?? {}
    this.failing.delete(part)
    if (isTold) this.tell(part, Severity.SEVERITY_INFO, `${nameOf(part)} works again`, `before: ${problem}`)
  }

  private tell(part: string, severity: Severity, title: string, problem: string): void {
    const { tell, node, nowUnixNs } = this.options
    const at = nowUnixNs()
    this.told++
    tell({
      ...{ schema: 1, source: 'engine', node: node(), sandbox: null, sessionId: '', toolCallId: '' },
      uid: derivedUuid({ unixMs: at / NS_PER_MS, parts: [DELIVERY, part, title, String(this.told)] }),
      ...{ timeUnixNs: fromBigInt(at), seq: fromBigInt(0n) },
      detection: { detector: DELIVERY, severity, title, reason: `${title}: ${problem}`.slice(0, REASON_CHARS_MAX) },
    })
  }
}

function nameOf(part: string): string {
  return part.startsWith('sink:') ? `the sink ${part.slice('sink:'.length)}` : `the ${part}`
}

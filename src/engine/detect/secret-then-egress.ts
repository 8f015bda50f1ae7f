/**
 * `secret_then_egress`: a tool call, or what it started, read a secret and within a minute reaches a host that the session had not reached before,
 * or asks for its name. Told once a secret and call. Not seen: a secret that one call printed and another one sends.
 */
import { clipped } from './bounded.js'
import type { Fact } from './fact.js'
import { type Detector, type Finding, NONE } from './finding.js'
import { ReachedHosts } from './reached-hosts.js'
import { secretRead } from './secret-reads.js'
import type { ToolCall } from './tool-call.js'

export interface SecretThenEgressThresholds {
  readonly windowMs: number
}

export const SECRET_THEN_EGRESS_DEFAULTS: SecretThenEgressThresholds = Object.freeze({ windowMs: 60_000 })
/** Calls that read one; of more the oldest is forgotten. */
const READS_MAX = 16
const TEXT_CHARS_MAX = 200

interface Read {
  readonly call: number
  readonly timeMs: number
  readonly uid: string
  readonly what: string
  readonly path: string
}

export class SecretThenEgressDetector implements Detector {
  private readonly limits: SecretThenEgressThresholds
  private readonly hosts = new ReachedHosts()
  private reads: readonly Read[] = []
  private workdir = ''
  private forgotten = 0

  constructor(limits: Partial<SecretThenEgressThresholds> = {}) {
    this.limits = { ...SECRET_THEN_EGRESS_DEFAULTS, ...limits }
  }

  shed(): number {
    return this.forgotten + this.hosts.forgotten
  }

  fact(fact: Fact, call: ToolCall | null): readonly Finding[] {
    if (fact.kind === 'started') this.workdir = fact.workdir
    if (fact.kind === 'read') return this.read(fact, call)
    if (fact.kind !== 'attempt' && fact.kind !== 'name') return NONE
    const host = this.hosts.newIn(fact)
    const read = host === null || call === null ? undefined : this.reads.findLast((each) => each.call === call.number)
    if (host === null || read === undefined) return NONE
    const measured = fact.timeMs - read.timeMs
    if (measured > this.limits.windowMs) return NONE
    this.reads = this.reads.filter((each) => each !== read)
    return [this.finding({ read, uid: fact.uid, host, measured })]
  }

  private read(fact: Fact & { kind: 'read' }, call: ToolCall | null): readonly Finding[] {
    const what = call === null ? null : secretRead(fact, call, this.workdir)
    if (what === null || call === null) return NONE
    const path = clipped(fact.path, TEXT_CHARS_MAX)
    const others = this.reads.filter((each) => each.call !== call.number)
    if (others.length >= READS_MAX) this.forgotten += 1
    this.reads = [...others.slice(1 - READS_MAX), { call: call.number, timeMs: fact.timeMs, uid: fact.uid, what, path }]
    return NONE
  }

  private finding({ read, uid, host, measured }: { read: Read; uid: string; host: string; measured: number }): Finding {
    const seconds = (measured / 1000).toFixed(1)
    return {
      ...{ detector: 'secret_then_egress', severity: 'high', title: 'A secret was read and a new host reached' },
      reason: `${seconds} s after it had read ${read.path} (${read.what}) the same call reached ${clipped(host, TEXT_CHARS_MAX)}, which is new to the session`,
      evidence: [read.uid, uid],
      ...{ measured: measured / 1000, threshold: this.limits.windowMs / 1000, baseline: null },
    }
  }
}

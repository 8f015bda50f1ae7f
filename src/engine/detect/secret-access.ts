/** `secret_access`: a file that holds secrets was read, or another process's environment. Told once a file. */
import { clipped, Latest, Met } from './bounded.js'
import { programOf } from './classify.js'
import type { Fact } from './fact.js'
import { type Detector, EVIDENCE_MAX, type Finding, NONE } from './finding.js'
import { secretRead } from './secret-reads.js'
import type { ToolCall } from './tool-call.js'

export interface SecretAccessThresholds {
  /** Different files before it is told. */
  readonly files: number
}

export const SECRET_ACCESS_DEFAULTS: SecretAccessThresholds = Object.freeze({ files: 1 })
const FILES_MAX = 64
const PATH_CHARS_MAX = 200

export class SecretAccessDetector implements Detector {
  private readonly limits: SecretAccessThresholds
  private readonly files = new Met(FILES_MAX)
  private readonly uids = new Latest<string>(EVIDENCE_MAX)
  private workdir = ''
  private count = 0

  constructor(limits: Partial<SecretAccessThresholds> = {}) {
    this.limits = { ...SECRET_ACCESS_DEFAULTS, ...limits }
  }

  shed(): number {
    return this.files.forgotten
  }

  fact(fact: Fact, call: ToolCall | null): readonly Finding[] {
    if (fact.kind === 'started') this.workdir = fact.workdir
    const what = secretRead(fact, call, this.workdir)
    if (what === null || fact.kind !== 'read' || !this.files.add(fact.path)) return NONE
    this.count += 1
    this.uids.push(fact.uid)
    if (this.count < this.limits.files) return NONE
    const program = fact.process === null ? '' : programOf(fact.process.exe, fact.process.args)
    return [
      {
        ...{ detector: 'secret_access', severity: 'medium', title: 'A secret was read' },
        reason: `${clipped(program, PATH_CHARS_MAX)} read ${clipped(fact.path, PATH_CHARS_MAX)}: ${what}`,
        ...{ evidence: this.uids.all(), measured: this.count, threshold: this.limits.files, baseline: null },
      },
    ]
  }
}

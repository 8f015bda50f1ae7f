/**
 * `sandbox_reuse`: two tasks in one sandbox or one workspace, one after the other, so that what one left the other finds; or a sandbox in which
 * something still starts long after what it was made for has ended. Each told once a session. Tasks are those that the launcher names; without
 * names only the second is seen.
 */
import { clipped } from './bounded.js'
import { type Fact, processEnd } from './fact.js'
import { type Detector, type Finding, NONE } from './finding.js'
import type { SandboxUses } from './sandbox-uses.js'

export interface SandboxReuseThresholds {
  /** After the session's first process. */
  readonly outlivesMs: number
}

export const SANDBOX_REUSE_DEFAULTS: SandboxReuseThresholds = Object.freeze({ outlivesMs: 60_000 })
const TEXT_CHARS_MAX = 200

export class SandboxReuseDetector implements Detector {
  private readonly limits: SandboxReuseThresholds
  private readonly uses: SandboxUses
  private first = ''
  private endedMs: number | null = null
  private isTold = false

  constructor(uses: SandboxUses, limits: Partial<SandboxReuseThresholds> = {}) {
    this.uses = uses
    this.limits = { ...SANDBOX_REUSE_DEFAULTS, ...limits }
  }

  fact(fact: Fact): readonly Finding[] {
    if (fact.kind === 'started') return this.started(fact)
    if (fact.kind !== 'exec' && fact.kind !== 'exit') return NONE
    const own = fact.process === null ? '' : fact.process.execId.slice(0, processEnd(fact.process.execId))
    if (fact.kind === 'exit') {
      if (own === this.first && own !== '') this.endedMs = fact.timeMs
      return NONE
    }
    // One that was running before is not what it was made for.
    if (this.first === '' && !fact.adopted) this.first = clipped(own, TEXT_CHARS_MAX)
    return this.later(fact)
  }

  private started({ uid, sandbox, workdir, task }: Fact & { kind: 'started' }): readonly Finding[] {
    const inSandbox = this.uses.use(`sandbox ${sandbox}`, task)
    const inWorkspace = workdir === '' || workdir === '/' ? null : this.uses.use(`workspace ${workdir}`, task)
    const before = inSandbox ?? inWorkspace
    if (before === null) return NONE
    const where = inSandbox === null ? `the workspace ${workdir}` : `the sandbox ${sandbox}`
    const reason = `${clipped(where, TEXT_CHARS_MAX)} was used for ${clipped(before, TEXT_CHARS_MAX)} before, and now for ${clipped(task, TEXT_CHARS_MAX)}`
    return [finding({ title: 'Two tasks in one place', reason, uid, measured: 2, threshold: 2 })]
  }

  private later({ timeMs, uid }: Fact): readonly Finding[] {
    const measured = this.endedMs === null ? 0 : timeMs - this.endedMs
    if (this.isTold || this.endedMs === null || measured < this.limits.outlivesMs) return NONE
    this.isTold = true
    const reason = `a program was started ${Math.round(measured / 1000)} s after what the sandbox was made for had ended`
    const threshold = this.limits.outlivesMs / 1000
    return [finding({ title: 'A sandbox that outlives its task', reason, uid, measured: measured / 1000, threshold })]
  }
}

function finding(of: Pick<Finding, 'title' | 'reason' | 'measured' | 'threshold'> & { uid: string }): Finding {
  const { uid, ...rest } = of
  return { ...{ detector: 'sandbox_reuse', severity: 'low', baseline: null, evidence: [uid] }, ...rest }
}

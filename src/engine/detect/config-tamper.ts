/**
 * `config_tamper`: something changed, or was kept from changing, what makes others run or obey: agent and shell settings, hooks, timers,
 * services. Told once a file. What an installer brings along is not told, and what is removed with all that it was for neither (config-removals.ts).
 */
import { clipped, Met } from './bounded.js'
import { programOf } from './classify.js'
import { ConfigRemovals, keyOf, type Removal } from './config-removals.js'
import type { Fact, MutationHow, ProcessFact } from './fact.js'
import { type Detector, type Finding, NONE } from './finding.js'
import { isOneOf } from './programs.js'
import { setsGitToRun, type Tampering, tamperingWith } from './tampering.js'
import type { ToolCall } from './tool-call.js'

export interface ConfigTamperThresholds {
  /** Different files before it is told. */
  readonly files: number
}

export const CONFIG_TAMPER_DEFAULTS: ConfigTamperThresholds = Object.freeze({ files: 1 })
const FILES_MAX = 64
const PATH_CHARS_MAX = 200
const PUTS: ReadonlySet<MutationHow> = new Set(['WRITE', 'RENAME', 'LINK', 'SYMLINK'])

export class ConfigTamperDetector implements Detector {
  private readonly limits: ConfigTamperThresholds
  private readonly files = new Met(FILES_MAX)
  private readonly removals = new ConfigRemovals()
  private workdir = ''
  private count = 0

  constructor(limits: Partial<ConfigTamperThresholds> = {}) {
    this.limits = { ...CONFIG_TAMPER_DEFAULTS, ...limits }
  }

  shed(): number {
    return this.files.forgotten
  }

  fact(fact: Fact, call: ToolCall | null): readonly Finding[] {
    if (fact.kind === 'started') this.workdir = fact.workdir
    const over = this.removals.take(fact)
    const changed = changedBy(fact)
    if (over.length === 0 && changed.length === 0) return NONE
    return [...over, ...changed.flatMap((path) => this.change(fact, path, call))].flatMap((each) => this.told(each))
  }

  private change(fact: Fact, path: string, call: ToolCall | null): readonly Change[] {
    const { process } = fact
    const tampering = tamperingWith(path, isPut(fact, path))
    if (process === null || tampering === null || this.isUsual(tampering, process, call)) return []
    const program = programOf(process.exe, process.args)
    if (isRemoval(fact)) return this.removals.add({ fact, path, program, tampering })
    const did = fact.kind === 'refused' ? 'tried to change' : 'changed'
    return [{ uid: fact.uid, path, key: keyOf(path), program, did, tampering }]
  }

  private isUsual({ owners, ofHarness, what }: Tampering, process: ProcessFact, call: ToolCall | null): boolean {
    if (ofHarness && call === null) return true
    if (!isOneOf(owners, process, this.workdir)) return false
    return what !== "git's settings" || !setsGitToRun(process.args)
  }

  private told({ uid, path, key, program, did = 'removed', tampering }: Change): readonly Finding[] {
    if (!this.files.add(key)) return NONE
    this.count += 1
    if (this.count < this.limits.files) return NONE
    const finding: Finding = {
      ...{ detector: 'config_tamper', severity: 'high', title: 'Settings that others obey were changed' },
      reason: `${clipped(program, PATH_CHARS_MAX)} ${did} ${clipped(path, PATH_CHARS_MAX)}: ${tampering.what}`,
      ...{ evidence: [uid], measured: this.count, threshold: this.limits.files, baseline: null },
    }
    return [finding]
  }
}

type Change = Removal & { readonly did?: string }

function changedBy(fact: Fact): readonly string[] {
  if (fact.kind === 'mutation') return fact.paths
  return fact.kind === 'refused' && fact.write ? [fact.path] : []
}

function isRemoval(fact: Fact): boolean {
  return fact.kind === 'mutation' && fact.how === 'UNLINK'
}

/** Nothing of it was made here, or it leads elsewhere. */
function isPut(fact: Fact, path: string): boolean {
  if (fact.kind !== 'mutation') return false
  return PUTS.has(fact.how) && path === fact.paths.at(-1)
}

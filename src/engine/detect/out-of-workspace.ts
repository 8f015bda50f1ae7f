/**
 * `out_of_workspace`: a file was changed that is neither in the workspace nor where programs keep what is theirs: temporary files, caches, what
 * installers write. Told once a folder.
 */
import { clipped, Met } from './bounded.js'
import { programOf } from './classify.js'
import type { Fact } from './fact.js'
import { type Detector, type Finding, NONE } from './finding.js'
import type { ToolCall } from './tool-call.js'
import type { Lineage } from './tool-calls.js'

export interface OutOfWorkspaceThresholds {
  /** Different folders before it is told. */
  readonly folders: number
}

export const OUT_OF_WORKSPACE_DEFAULTS: OutOfWorkspaceThresholds = Object.freeze({ folders: 1 })
const FOLDERS_MAX = 64
const PATH_CHARS_MAX = 200
const FOLDER_LEVELS = 3

/** Temporary, or nobody's file. */
const TEMPORARY =
  /^\/(?:tmp|var\/tmp|dev|proc|sys|run\/(?:user|lock)|var\/lock)(?:\/|$)|\/__pycache__\/|\.pyc(?:\.\d+)?$/
const HOME = '(?:/root|/home/[^/]+)'
/** In a home: caches, histories and what tools keep for themselves. */
const KEPT = new RegExp(
  `^${HOME}/(?:\\.(?:cache|npm|yarn|pnpm-store|pnpm-state|bun|deno|nvm|node-gyp|cargo|rustup|gradle|m2|ivy2|sbt|nuget|dotnet|conda|pyenv|rbenv|gem|bundle|terraform\\.d|ccache|sccache|matplotlib|ipython|jupyter|keras|nltk_data|local/(?:share|state|lib|bin)|config/(?!git/|fish/|autostart/|systemd/|environment\\.d/))(?:/|$)|go/|\\.(?:\\w+_history|lesshst|viminfo|wget-hsts|gitconfig|node_repl_history|python_history|rnd|selected_editor|sudo_as_admin_successful|coverage|v8flags[^/]*|pytest_cache)$|\\.ssh/known_hosts|\\.gnupg/|\\.mozilla/|\\.docker/)`,
)
/** A harness keeps what it is in a folder of its own. */
const OF_HARNESS = new RegExp(`^${HOME}/\\.[^/]+`)

export class OutOfWorkspaceDetector implements Detector {
  private readonly limits: OutOfWorkspaceThresholds
  private readonly allowed: readonly string[]
  private readonly folders = new Met(FOLDERS_MAX)
  private workdir: string | null = null
  private count = 0

  /** `allowed`: folders where the policy lets it write, absolute. */
  constructor(limits: Partial<OutOfWorkspaceThresholds> = {}, allowed: readonly string[] = []) {
    this.limits = { ...OUT_OF_WORKSPACE_DEFAULTS, ...limits }
    this.allowed = allowed
  }

  shed(): number {
    return this.folders.forgotten
  }

  fact(fact: Fact, call: ToolCall | null, { installs }: Lineage): readonly Finding[] {
    if (fact.kind === 'started') this.workdir = fact.workdir
    // Nobody said where the workspace is: nothing is outside of it.
    if (fact.kind !== 'mutation' || installs || this.workdir === null || this.workdir === '') return NONE
    for (const path of fact.paths) {
      if (this.isUsual(path, call) || !this.folders.add(folderOf(path))) continue
      this.count += 1
      if (this.count >= this.limits.folders) return [this.finding(fact, path)]
    }
    return NONE
  }

  private isUsual(path: string, call: ToolCall | null): boolean {
    const isIn = (folder: string) => path === folder || path.startsWith(`${folder}/`)
    if (isIn(this.workdir ?? '') || TEMPORARY.test(path) || KEPT.test(path)) return true
    return this.allowed.some(isIn) || (call === null && OF_HARNESS.test(path))
  }

  private finding({ process, uid }: Fact, path: string): Finding {
    const program = process === null ? 'something' : programOf(process.exe, process.args)
    return {
      ...{ detector: 'out_of_workspace', severity: 'medium', title: 'A change outside of the workspace' },
      reason: `${clipped(program, PATH_CHARS_MAX)} changed ${clipped(path, PATH_CHARS_MAX)}, and the workspace is ${clipped(this.workdir ?? '', PATH_CHARS_MAX)}`,
      ...{ evidence: [uid], measured: this.count, threshold: this.limits.folders, baseline: null },
    }
  }
}

/** Its first few levels. */
function folderOf(path: string): string {
  const parts = path.split('/', FOLDER_LEVELS + 2)
  return parts.slice(0, Math.min(parts.length - 1, FOLDER_LEVELS + 1)).join('/') || path
}

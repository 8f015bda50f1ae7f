/**
 * All detectors of one session, with the thresholds that a policy gives them; without one each is on, with its own. The only place that knows
 * every one of them: a new one is added here, and its settings in policy/detect-settings.ts.
 */
import type { DetectorName, DetectSettings } from '../policy/detect-settings.js'
import { BashHeavyDetector } from './bash-heavy.js'
import type { Commands } from './command.js'
import { ConfigTamperDetector } from './config-tamper.js'
import { DnsTunnelDetector } from './dns-tunnel.js'
import { DropAndRunDetector } from './drop-and-run.js'
import { EscapeAttemptDetector } from './escape-attempt.js'
import { ExecStormDetector } from './exec-storm.js'
import type { Detector } from './finding.js'
import type { History } from './history.js'
import { LoopDetector } from './loop.js'
import { NoveltyDetector } from './novelty.js'
import { OutOfWorkspaceDetector } from './out-of-workspace.js'
import { RetryStormDetector } from './retry-storm.js'
import { SandboxReuseDetector } from './sandbox-reuse.js'
import type { SandboxUses } from './sandbox-uses.js'
import { SecretAccessDetector } from './secret-access.js'
import { SecretThenEgressDetector } from './secret-then-egress.js'
import { ShellSmugglingDetector } from './shell-smuggling.js'
import { VolumeDetector } from './volume.js'

export interface DetectorParts {
  /** Empty: no policy says anything. */
  readonly settings: DetectSettings
  readonly commands: Commands
  readonly uses: SandboxUses
  /** Of the identity; null: nothing is kept. */
  readonly history: History | null
}

type Make = (thresholds: Readonly<Record<string, number>>, parts: DetectorParts) => Detector

/** In the order in which they are asked. Thresholds have the names that the detector gives them. */
export const DETECTORS: Readonly<Record<DetectorName, Make>> = {
  loop: (of) => new LoopDetector(of),
  exec_storm: (of) => new ExecStormDetector(of),
  retry_storm: (of) => new RetryStormDetector(of),
  volume: (of, { history }) => new VolumeDetector(of, history),
  bash_heavy: (of) => new BashHeavyDetector(of),
  shell_smuggling: (of, { commands }) => new ShellSmugglingDetector(commands, of),
  secret_access: (of) => new SecretAccessDetector(of),
  secret_then_egress: (of) => new SecretThenEgressDetector(of),
  dns_tunnel: (of) => new DnsTunnelDetector(of),
  config_tamper: (of) => new ConfigTamperDetector(of),
  escape_attempt: () => new EscapeAttemptDetector(),
  drop_and_run: () => new DropAndRunDetector(),
  out_of_workspace: (of, { settings }) => new OutOfWorkspaceDetector(of, settings.writable),
  novelty: (of, { history }) => new NoveltyDetector(history, of),
  sandbox_reuse: (of, { uses }) => new SandboxReuseDetector(uses, of),
}

/** New ones, for one session. */
export function detectorsFor(parts: DetectorParts): Detector[] {
  return Object.entries(DETECTORS).flatMap(([name, make]) => {
    const { off = false, thresholds = {} } = parts.settings.detectors[name as DetectorName] ?? {}
    return off ? [] : [make(thresholds, parts)]
  })
}

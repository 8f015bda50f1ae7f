import { describe, expect, it } from 'vitest'
import { readYaml } from '../../../../src/base/yaml-file.js'
import { BASH_HEAVY_DEFAULTS } from '../../../../src/engine/detect/bash-heavy.js'
import { Commands } from '../../../../src/engine/detect/command.js'
import { CONFIG_TAMPER_DEFAULTS } from '../../../../src/engine/detect/config-tamper.js'
import { detectorsFor, DETECTORS as MAKERS } from '../../../../src/engine/detect/detectors.js'
import { DNS_TUNNEL_DEFAULTS } from '../../../../src/engine/detect/dns-tunnel.js'
import { EXEC_STORM_DEFAULTS } from '../../../../src/engine/detect/exec-storm.js'
import { LOOP_DEFAULTS } from '../../../../src/engine/detect/loop.js'
import { NOVELTY_DEFAULTS } from '../../../../src/engine/detect/novelty.js'
import { OUT_OF_WORKSPACE_DEFAULTS } from '../../../../src/engine/detect/out-of-workspace.js'
import { RETRY_STORM_DEFAULTS } from '../../../../src/engine/detect/retry-storm.js'
import { SANDBOX_REUSE_DEFAULTS } from '../../../../src/engine/detect/sandbox-reuse.js'
import { SandboxUses } from '../../../../src/engine/detect/sandbox-uses.js'
import { SECRET_ACCESS_DEFAULTS } from '../../../../src/engine/detect/secret-access.js'
import { SECRET_THEN_EGRESS_DEFAULTS } from '../../../../src/engine/detect/secret-then-egress.js'
import { SessionDetection } from '../../../../src/engine/detect/session-detection.js'
import { SHELL_SMUGGLING_DEFAULTS } from '../../../../src/engine/detect/shell-smuggling.js'
import { VOLUME_DEFAULTS } from '../../../../src/engine/detect/volume.js'
import {
  DETECTORS,
  type DetectSettings,
  detectSettings,
  strictest,
} from '../../../../src/engine/policy/detect-settings.js'
import { policySchema } from '../../../../src/engine/policy/schema.js'
import { syntax } from '../../../support/bash-grammar.js'
import { Story } from '../../../support/session-facts.js'

const HEAD = 'version: 1\nname: p\nmode: monitor\n'
const read = (detect: string) => readYaml(`${HEAD}detect: ${detect}\n`, policySchema)

function settings(detect: string): DetectSettings {
  const result = read(detect)
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  return detectSettings(result.value.detect)
}

function problems(detect: string): string[] {
  const result = read(detect)
  return result.ok ? [] : result.problems.map(({ message }) => message)
}

/** Of each detector, what it has by itself. */
const DEFAULTS: Record<string, object> = {
  ...{ loop: LOOP_DEFAULTS, exec_storm: EXEC_STORM_DEFAULTS, retry_storm: RETRY_STORM_DEFAULTS },
  ...{ volume: VOLUME_DEFAULTS, bash_heavy: BASH_HEAVY_DEFAULTS, shell_smuggling: SHELL_SMUGGLING_DEFAULTS },
  ...{ secret_access: SECRET_ACCESS_DEFAULTS, secret_then_egress: SECRET_THEN_EGRESS_DEFAULTS },
  ...{ dns_tunnel: DNS_TUNNEL_DEFAULTS, config_tamper: CONFIG_TAMPER_DEFAULTS, escape_attempt: {}, drop_and_run: {} },
  ...{ out_of_workspace: OUT_OF_WORKSPACE_DEFAULTS, novelty: NOVELTY_DEFAULTS, sandbox_reuse: SANDBOX_REUSE_DEFAULTS },
}
/** As the reference says them. */
const AS_SAID: Record<string, string> = {
  loop: '{repeats: 5, window: 30, cycles: 4, period: 8, similar: 8, similarity: 0.85, failures: 8}',
  exec_storm: '{execs: 50, window: 10s}',
  retry_storm: '{one_target: 5, all: 20, window: 60s}',
  volume: '{burst: 300, burst_window: 4s, window: 10s, deviations: 6, windows: 3, calls: 60/min, min_sessions: 5}',
  bash_heavy: '{share: 0.9, min_calls: 20}',
  shell_smuggling: '{depth: 4, encoded: 8192}',
  secret_access: '{files: 1}',
  secret_then_egress: '{window: 60s}',
  dns_tunnel: '{names: 100, window: 60s, encoded: 40, encoded_names: 3}',
  config_tamper: '{files: 1}',
  escape_attempt: '{}',
  drop_and_run: '{}',
  out_of_workspace: '{folders: 1}',
  novelty: '{sessions: 20, min_sessions: 5, every: 7d}',
  sandbox_reuse: '{outlives: 60s}',
}

describe('detect:', () => {
  it('knows every detector that there is, and no other', () => {
    expect(Object.keys(MAKERS)).toEqual([...DETECTORS])
    expect(Object.keys(DEFAULTS).sort()).toEqual([...DETECTORS].sort())
  })

  it.each([...DETECTORS])('sets every threshold of %s, and says what it is without', (name) => {
    expect(settings(`{${name}: ${AS_SAID[name]}}`).detectors[name]).toEqual({ off: false, thresholds: DEFAULTS[name] })
  })

  it.each([
    ['{lop: {}}', "unknown key 'detect.lop'; did you mean 'loop'?"],
    ['{loop: {repeat: 3}}', "unknown key 'detect.loop.repeat'; did you mean 'repeats'?"],
    ['{exec_storm: {repeats: 3}}', "unknown key 'detect.exec_storm.repeats'; known are off, execs, window"],
    ['{loop: {repeats: 0}}', 'write at least 1'],
    ['{loop: {window: 1000000}}', 'at most 60'],
    ['{loop: {repeats: 2.5}}', 'write a whole number'],
    ['{bash_heavy: {share: 90}}', 'a share is at most 1'],
    ['{volume: {calls: 60}}', 'write a rate as 20/s or 60/min'],
    ['{exec_storm: {window: 10}}', 'write a time as 30s, 10min or 2h'],
    ['{loop: {off: maybe}}', 'expected boolean'],
  ])('refuses %s', (detect, message) => {
    expect(problems(detect)).toEqual([expect.stringContaining(message)])
  })

  it('takes a detector out, and leaves the others in', () => {
    const parts = { commands: new Commands(syntax), uses: new SandboxUses(), history: null }
    const all = detectorsFor({ ...parts, settings: settings('{}') })
    const some = detectorsFor({ ...parts, settings: settings('{loop: {off: true}, volume: {off: false}}') })
    expect([all.length, some.length]).toEqual([DETECTORS.length, DETECTORS.length - 1])
  })

  it('reaches the detectors', () => {
    const story = new Story()
    for (let at = 0; at < 3; at += 1) story.call('git status')
    const commands = new Commands(syntax)
    const found = (detect: string) => {
      const detectors = detectorsFor({ commands, uses: new SandboxUses(), history: null, settings: settings(detect) })
      return story.tell(new SessionDetection({ commands, detectors })).map(({ detector }) => detector)
    }
    expect(found('{}')).toEqual([])
    expect(found('{loop: {repeats: 3}, bash_heavy: {min_calls: 2}}')).toEqual(['bash_heavy', 'loop'])
  })

  it('of several policies is what notices more', () => {
    const one = settings('{loop: {repeats: 8, window: 20}, volume: {off: true}, dns_tunnel: {off: true}}')
    const other = settings('{loop: {repeats: 6, window: 30}, volume: {off: true}}')
    const { detectors } = strictest([one, other])
    expect(detectors.loop).toEqual({ off: false, thresholds: { repeats: 6, window: 30 } })
    expect([detectors.volume?.off, detectors.dns_tunnel?.off]).toEqual([true, false])
  })
})

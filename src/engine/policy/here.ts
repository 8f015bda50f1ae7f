/**
 * What a policy asks for and this machine can't enforce, with its place in the file: for `policy check --here` and for who starts a command under
 * it. Guards that it is named before anything is started. Of adopted sandboxes only their processes tell: the sensor's to refuse.
 */

import { APART_ABI, type Lack, type PolicyHost, programsLack, unixLack } from '../../base/policy-host.js'
import { findProgramFile } from '../../base/program-file.js'
import type { Path } from '../../base/schema-issues.js'
import { about } from '../../base/yaml-file.js'
import type { Finding, ParsedPolicy } from './resolve-rules.js'

const HASH_PREFIX = 'sha256:'

/** The machine, and who is to run there. */
export interface Here extends PolicyHost {
  /** The command would run as root. */
  readonly asRoot: boolean
  /** Root starts it. */
  readonly byRoot: boolean
}

/** Of what is enforced; in monitor mode nothing has to hold. */
export function findingsHere(policy: ParsedPolicy, here: Here): Finding[] {
  const { file } = policy
  if (file.mode !== 'enforce') return []
  const unix = file.allow_brokers === true ? null : unixLack(here)
  return [...(unix === null ? [] : [refusal(policy, ['mode'], unix)]), ...programsHere(policy, here)]
}

function programsHere(policy: ParsedPolicy, here: Here): Finding[] {
  const { file } = policy
  const rules = (file.egress ?? []).flatMap((rule, index) =>
    'binary' in rule && rule.binary !== undefined ? [{ binary: rule.binary, path: ['egress', index, 'binary'] }] : [],
  )
  const lack = file.allow_privileged === true ? null : programsLack({ ...here, apart: here.landlock >= APART_ABI })
  const lacks = lack === null ? [] : rules.map(({ path }) => refusal(policy, path, lack))
  const files = rules.flatMap(({ binary, path }) =>
    binary.flatMap((text, index) => (text.startsWith(HASH_PREFIX) ? [] : programAt(policy, text, [...path, index]))),
  )
  return [...lacks, ...files]
}

/** What is at a path that a rule names. */
function programAt(policy: ParsedPolicy, program: string, path: Path): Finding[] {
  const found = findProgramFile('', program)
  if (found.path !== null) return []
  if (found.problem === null) {
    const message = about(path, `${program} is not here: the rule is for nobody until it is`)
    return [{ ...policy.at(path), severity: 'warning', message }]
  }
  const instead = 'name a program that is root’s, in folders of root’s'
  return [refusal(policy, path, { what: `${found.problem}, so it can be any program`, instead })]
}

function refusal({ at }: ParsedPolicy, path: Path, { what, instead }: Lack): Finding {
  return { ...at(path), severity: 'error', message: about(path, `can't be enforced here: ${what}; ${instead}`) }
}

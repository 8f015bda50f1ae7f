/**
 * Which of a session's reads are reads of secrets: of a file that holds one, or of another process's environment, by a program that is not there
 * to read it. Asked by each detector that cares. Not seen: what was open before, and what a program gets passed.
 */
import type { Fact } from './fact.js'
import { isOneOf } from './programs.js'
import { secretOf } from './secrets.js'
import type { ToolCall } from './tool-call.js'

const ENVIRONMENT = /^\/proc\/(\d+)\/(?:task\/\d+\/)?environ$/
const OWN = /^(?:\/proc\/(?:self|thread-self)\/|environ$)/

/** Looks at processes and says who they are: no reader of secrets. */
const LOOKS_AT_PROCESSES = [
  'ps',
  'pgrep',
  'pkill',
  'pidof',
  'top',
  'htop',
  'killall',
  'lsof',
  'fuser',
  'w',
  'systemctl',
]

/** What it is; null: no secret, or its reader's own. */
export function secretRead(fact: Fact, call: ToolCall | null, workdir: string): string | null {
  if (fact.kind !== 'read' || fact.process === null) return null
  if (fact.path.startsWith('/proc/')) return ofAnother(fact) ? "another process's environment" : null
  const secret = secretOf(fact.path)
  if (secret === null || isOneOf(secret.owners, fact.process, workdir)) return null
  return secret.ofHarness && call === null ? null : secret.what
}

function ofAnother({ path, asked, process }: Fact & { kind: 'read' }): boolean {
  const pid = ENVIRONMENT.exec(path)?.[1]
  if (pid === undefined || process === null || OWN.test(asked)) return false
  return Number(pid) !== process.pid && !isOneOf(LOOKS_AT_PROCESSES, process, '')
}

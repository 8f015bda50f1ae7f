/**
 * What the launcher puts around a command beyond what it always does: under a policy in enforce mode, and no other, since a command that is only
 * watched must be able to do what it could without us. Says what is missing of it, for `degraded`. The layers themselves are native/launch-calls.c, native/launch-landlock.c.
 */
import { lstatSync, readFileSync } from 'node:fs'
import { execa } from 'execa'
import { APART_ABI } from '../../base/policy-host.js'
import { LAUNCHER } from './launcher.js'
import type { PlannedPolicy } from './planned-policy.js'

const ROOT_UID = 0
const SOCKETS = '/proc/net/unix'
/** As many as the launcher takes. */
const COVERED_MAX = 256
/** Linux 6.12 */
const SCOPES_ABI = 6
const ASK_DEADLINE_MS = 5_000

export interface LaunchLayers {
  readonly confine: boolean
  /** Its processes can't get at each other's memory: what a rule by program takes. */
  readonly apart: boolean
  /** Sockets that the command finds to be none. */
  readonly covered: readonly string[]
  readonly degraded: readonly string[]
}

const NO_LAYERS: LaunchLayers = Object.freeze({
  confine: false,
  apart: false,
  covered: [],
  degraded: [
    'seccomp: refuses only typing into the terminal, so the command may make every other system call that its user may',
    'landlock: not applied, so the command may write wherever its user may',
  ],
})
const FILES_OPEN = 'landlock: holds no files, so the command may write wherever its user may'

export async function layersFor(policy: PlannedPolicy | null): Promise<LaunchLayers> {
  if (!policy?.enforced) return NO_LAYERS
  const abi = await landlockAbi()
  const unscoped = `landlock: this kernel has version ${abi} of ${SCOPES_ABI}, so the command may signal and trace what else its user runs`
  const isRoot = process.geteuid?.() === ROOT_UID
  return {
    confine: true,
    apart: policy.namesPrograms && abi >= APART_ABI,
    covered: isRoot ? coveredSockets(policy, readOr(SOCKETS)) : [],
    degraded: [FILES_OPEN, ...(abi < SCOPES_ABI ? [unscoped] : [])],
  }
}

/** 0 where it can't be told. */
export async function landlockAbi(): Promise<number> {
  const { stdout } = await execa(LAUNCHER, ['--layers'], { cwd: '/', reject: false, timeout: ASK_DEADLINE_MS })
  return Number(/^landlock (\d+)$/m.exec(stdout ?? '')?.[1] ?? 0)
}

/**
 * Sockets that are there now and that the policy does not name: the hooks refuse them too, but not on every kernel, and not to who is quick
 * enough to have a name lead elsewhere.
 * @param table as /proc/net/unix
 */
export function coveredSockets(
  { unix, allowBrokers }: Pick<PlannedPolicy, 'unix' | 'allowBrokers'>,
  table: string,
): string[] {
  if (allowBrokers) return []
  const named = new Set(unix.map(({ path }) => Buffer.from(path ?? []).toString()))
  const paths = table.split('\n').flatMap((line) => /^\S+: (?:\S+ +){6}(\/.*)$/.exec(line)?.[1] ?? [])
  return [...new Set(paths)].filter((path) => !named.has(path) && isSocket(path)).slice(0, COVERED_MAX)
}

function isSocket(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/**
 * Judges the facts of a host: each check is ok, lacks something (`fail`, `warn`) or is worth knowing (`note`), with what is lost and
 * the exact fix. Guards that nothing that could not be checked is called ok. Pure.
 */
import {
  BTF_PATH,
  type Capability,
  ENABLE_BTF,
  essenceOfRefusal,
  hasCapability,
  isAtLeast,
  KERNEL_MIN,
  NODE_MIN,
  tooOld,
} from '../../base/kernel-host.js'
import { ENGINE_USER } from '../environment.js'
import type { HostFacts } from './host-facts.js'
import type { ProgramProbe } from './probe.js'

export type CheckState = 'ok' | 'fail' | 'warn' | 'note'

export interface Check {
  readonly name: string
  readonly state: CheckState
  /** What was found. */
  readonly found: string
  /** What does not work because of it; null for `ok` and `note`. */
  readonly lost: string | null
  /** What to do; null where there is nothing to do. */
  readonly fix: string | null
}

const MIB = 1024 * 1024
/** With less no session of any length is written to its end. */
const JOURNAL_FREE_MIN = 64 * MIB
const SECONDS_CHARS = 'YYYY-MM-DDTHH:MM:SS'.length
const REBUILD = 'npm run build'

/** SYS_ADMIN stands for BPF and PERFMON too, which are there since 5.8. */
const CAPABILITIES: readonly Capability[] = [
  'CAP_SYS_ADMIN',
  'CAP_BPF',
  'CAP_PERFMON',
  'CAP_NET_ADMIN',
  'CAP_SETUID',
  'CAP_SETGID',
  'CAP_KILL',
]

export function checkHost(facts: HostFacts): Check[] {
  return [
    checkKernel(facts),
    checkNode(facts),
    checkPrivilege(facts),
    checkBtf(facts),
    ...checkLockdown(facts),
    checkCgroup(facts),
    noteBpffs(facts),
    checkAddon(facts),
    checkLauncher(facts),
    ...checkPrograms(facts),
    checkEngineUser(facts),
    noteAgent(facts),
    checkJournal(facts),
    ...checkPolicies(facts),
    ...checkPins(facts),
    ...noteLayers(facts),
  ]
}

const ok = (name: string, found: string): Check => ({ name, state: 'ok', found, lost: null, fix: null })
const fail = (name: string, found: string, lost: string, fix: string): Check => ({
  name,
  state: 'fail',
  found,
  lost,
  fix,
})
const warn = (name: string, found: string, lost: string, fix: string): Check => ({
  name,
  state: 'warn',
  found,
  lost,
  fix,
})
const note = (name: string, found: string): Check => ({ name, state: 'note', found, lost: null, fix: null })

function checkKernel({ platform, kernel }: HostFacts): Check {
  if (platform !== 'linux') return fail('kernel', `${platform}, not Linux`, 'everything', 'run it on Linux')
  const old = tooOld(kernel.release)
  if (old === null) return ok('kernel', `Linux ${kernel.release}`)
  const fix = `boot Linux ${KERNEL_MIN.join('.')} or newer`
  return fail('kernel', old, 'watching: what it relies on came later', fix)
}

function checkNode({ nodeVersion }: HostFacts): Check {
  if (isAtLeast(nodeVersion, NODE_MIN)) return ok('node', `Node.js ${nodeVersion}`)
  const fix = `use Node.js ${NODE_MIN.join('.')} or newer`
  return fail('node', `Node.js ${nodeVersion}`, 'it is not tested on this one', fix)
}

function checkPrivilege({ uid, kernel: { effectiveCapabilities } }: HostFacts): Check {
  if (uid !== 0) {
    return warn('privilege', `uid ${uid}, not root`, 'sluice run, and the checks that need root', 'sudo sluice doctor')
  }
  if (effectiveCapabilities === null) {
    return warn(
      'privilege',
      'root, capabilities unknown',
      'this check: /proc/self/status is not readable',
      'mount /proc',
    )
  }
  const missing = CAPABILITIES.filter((name) => !hasCapability(effectiveCapabilities, name))
  if (missing.length === 0) return ok('privilege', 'root with the capabilities it takes')
  return fail(
    'privilege',
    `root without ${missing.join(', ')}`,
    'loading programs, making cgroups or changing users, whichever these are for',
    `grant ${missing.join(', ')} (in a container: --privileged, or --cap-add for each)`,
  )
}

function checkBtf({ kernel: { btfProblem } }: HostFacts): Check {
  if (btfProblem === null) return ok('btf', BTF_PATH)
  return fail('btf', `${BTF_PATH} ${btfProblem}`, 'watching: programs can not be fitted to this kernel', ENABLE_BTF)
}

/** A kernel without it, or one whose securityfs is not mounted, has nothing to tell. */
function checkLockdown({ kernel: { lockdown } }: HostFacts): Check[] {
  if (lockdown === null) return []
  if (lockdown !== 'confidentiality') return [ok('lockdown', lockdown)]
  const lost = 'watching: programs may not read kernel memory'
  return [fail('lockdown', lockdown, lost, 'boot without lockdown=confidentiality (integrity is fine)')]
}

function checkCgroup({ mounts: cgroupMounts }: HostFacts): Check {
  if (cgroupMounts === null) {
    return warn('cgroup', 'unknown', 'this check: /proc/self/mountinfo is not readable', 'mount /proc')
  }
  const v2 = cgroupMounts.find((mount) => mount.fsType === 'cgroup2')
  if (v2 === undefined) {
    const beside = 'mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified'
    const hasV1 = cgroupMounts.some((mount) => mount.fsType === 'cgroup')
    const fix = hasV1 ? beside : 'mount -t cgroup2 none /sys/fs/cgroup'
    return fail('cgroup', 'no cgroup v2 mount', 'watching: a sandbox is a cgroup v2 subtree', fix)
  }
  const v1 = cgroupMounts.filter((mount) => mount.fsType === 'cgroup').length
  const hybrid = v1 === 0 ? '' : `, hybrid: ${v1} version 1 hierarchies beside it`
  return ok('cgroup', `version 2 at ${v2.path}${hybrid}`)
}

/** Pins would be there; `run` makes none. */
function noteBpffs({ mounts }: HostFacts): Check {
  const found = mounts?.find((mount) => mount.fsType === 'bpf')
  return note('bpffs', found === undefined ? 'not mounted; run does not need it' : `at ${found.path}`)
}

/** Whether it also loads is what trying the programs tells. */
function checkAddon({ addonBuilt }: HostFacts): Check {
  if (addonBuilt) return ok('addon', 'built')
  return fail('addon', 'it is not built', 'everything but reading recordings', REBUILD)
}

function checkLauncher({ launcherBuilt }: HostFacts): Check {
  return launcherBuilt ? ok('launcher', 'built') : fail('launcher', 'it is not built', 'sluice run', REBUILD)
}

function checkPrograms({ probe, kernel }: HostFacts): Check[] {
  if (probe === null && tooOld(kernel.release) !== null) {
    return [warn('programs', 'not tried: the kernel is too old', 'this check', 'see kernel')]
  }
  if (probe === null) {
    return [warn('programs', 'not tried', 'this check: loading programs takes root', 'sudo sluice doctor')]
  }
  if (probe.error !== null || probe.programs.length === 0) {
    const found = probe.error ?? 'the probe knows of no program'
    return [fail('programs', found, 'watching: no eBPF program can be loaded', 'mend what fails above, then try again')]
  }
  const broken = probe.programs.filter((program) => !program.loaded || !program.attached)
  const working = probe.programs.length - broken.length
  const found = `${working} of ${probe.programs.length} load and attach`
  const all = broken.length === 0 ? ok('programs', found) : fail('programs', found, 'run refuses to start', 'see below')
  const degraded = broken.length > 0 ? [] : probe.degraded
  return [
    all,
    ...probe.programs.map((program) => checkProgram(program, kernel.lockdown)),
    ...degraded.map((problem) => warn('optional', problem, 'only this; every sandbox says so', 'a newer kernel')),
  ]
}

function checkProgram(program: ProgramProbe, lockdown: string | null): Check {
  const name = program.hook || program.name
  if (program.loaded && program.attached) return ok(name, program.name)
  const found = `${program.name} does not ${program.loaded ? 'attach' : 'load'}: ${essenceOfRefusal(program.error ?? 'no reason given')}`
  const lost = program.lost === '' ? 'what it sees' : program.lost
  const isLocked = lockdown === 'confidentiality'
  return fail(name, found, lost, isLocked ? 'see lockdown' : 'use a newer kernel, or report it with doctor --json')
}

function checkEngineUser({ engineUserExists }: HostFacts): Check {
  if (engineUserExists === true) return ok('engine user', ENGINE_USER)
  const found = engineUserExists === null ? `${ENGINE_USER} could not be looked up` : `no user ${ENGINE_USER}`
  const fix = `useradd --system --no-create-home --shell /usr/sbin/nologin ${ENGINE_USER}`
  return warn('engine user', found, 'the engine runs as root, where it needs no privilege', fix)
}

/** None is no lack: runs bring parts of their own, where root starts them. */
function noteAgent({ agent, uid }: HostFacts): Check {
  if (agent === 'listens')
    return note('agent', 'runs here: `run` uses it, `sandboxes` and `events -f` show what it watches')
  if (agent === 'forbidden')
    return note('agent', 'runs here, and this user may not use it (groups sluice, sluice-admin)')
  return note('agent', uid === 0 ? 'none runs here: each run brings its own parts' : 'none runs here: `run` needs root')
}

function checkJournal({ journal }: HostFacts): Check {
  const { dir, state, sessions, bytes, signedUnixMs, freeBytes, hasKey } = journal
  if (dir === null) return note('journal', 'is off: sessions leave no signed history')
  if (state === 'none') return note('journal', `${dir}: nothing was written yet`)
  if (state !== 'there') return note('journal', `${dir}: ${state.problem}`)
  const signed = signedUnixMs === null ? 'nothing signed yet' : `signed last ${secondsText(signedUnixMs)}`
  const found = `${dir}: ${sessions} sessions, ${mib(bytes)}, ${signed}, ${mib(freeBytes)} free`
  if (!hasKey) {
    const lost = 'whoever verifies a session has no public key to do it with'
    return warn(
      'journal',
      `${found}; its public key is gone`,
      lost,
      'bring the .pub file back; an engine that starts makes it anew',
    )
  }
  if (freeBytes >= JOURNAL_FREE_MIN) return ok('journal', found)
  const lost = 'the history of sessions: what can not be written is counted and told as a gap'
  return warn('journal', found, lost, 'make room, or set journal.keepMiB to less')
}

function mib(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`
}

function secondsText(unixMs: number): string {
  return `${new Date(unixMs).toISOString().slice(0, SECONDS_CHARS)}Z`
}

function checkPolicies({ policyProblems }: HostFacts): Check[] {
  if (policyProblems.length === 0) return []
  const lost = 'what these say: the last good policy of each sandbox holds instead'
  return [fail('policies', policyProblems.join('; '), lost, 'mend the file: sluice policy check FILE says how')]
}

/** Pins keep programs in the kernel, which cost and whose records nobody reads. */
function checkPins({ agent, pins }: HostFacts): Check[] {
  if (agent !== 'nobody' || pins.length === 0) return []
  const found = `${pins.join(', ')}: of an agent that does not answer`
  const lost = 'nothing, but its programs go on in the kernel, and cost'
  return [warn('pins', found, lost, 'start `sluice agent`, which goes on with them, or: sudo sluice doctor --clean')]
}

/** Layers besides the programs: what the kernel has is noted; what a run lacks of them is in its own `degraded`. */
function noteLayers({ kernel: { lsms }, seccomp, landlock: version }: HostFacts): Check[] {
  const active = lsms === null ? 'unknown (/sys/kernel/security/lsm is not readable)' : lsms.join(', ') || 'none'
  const bpf =
    lsms === null ? 'unknown' : lsms.includes('bpf') ? 'active' : 'not active: a program on its hooks never runs'
  const landlock = version > 0 ? `version ${version}` : lsms === null ? 'unknown' : 'not active'
  return [
    note('lsm', active),
    note('bpf lsm', `${bpf}; not used yet`),
    note(
      'landlock',
      `${landlock}; in enforce mode scopes for signals and abstract sockets (version 6), memory of its own processes under rules with binary (version 2); files not yet`,
    ),
    note(
      'seccomp',
      `${seccomp ? 'available' : 'not available'}; keeps a command from typing into its terminal, and from more in enforce mode`,
    ),
  ]
}

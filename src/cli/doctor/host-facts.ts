/**
 * Reads what `doctor` judges: the host as it is, without judging. Guards that what can't be read is null, never a guess.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { NATIVE_DIR } from '../../base/installation.js'
import { type KernelHost, readKernelHost, tooOld } from '../../base/kernel-host.js'
import { parseMounts } from '../../base/mounts.js'
import { connectControl } from '../../proto/rpc.js'
import { systemUserExists } from '../../supervise/system-user.js'
import { probeAgent } from '../agent-probe.js'
import { ENGINE_USER } from '../environment.js'
import { landlockAbi } from '../run/launch-layers.js'
import { type JournalFacts, readJournalFacts } from './journal-facts.js'
import { type ProbeResult, probeKernel } from './probe.js'

/** File systems that the checks ask for. */
const FS_TYPES = ['cgroup', 'cgroup2', 'bpf'] as const
const ASK_DEADLINE_MS = 3_000
type FsType = (typeof FS_TYPES)[number]

export interface Mount {
  readonly path: string
  readonly fsType: FsType
}

/** `null` everywhere: could not be read. */
export interface HostFacts {
  readonly platform: string
  readonly kernel: KernelHost
  readonly nodeVersion: string
  readonly uid: number
  readonly mounts: readonly Mount[] | null
  /** Seccomp line of /proc/self/status is there. */
  readonly seccomp: boolean
  /** Version of Landlock; 0 where there is none, or nobody to ask. */
  readonly landlock: number
  readonly addonBuilt: boolean
  readonly launcherBuilt: boolean
  readonly engineUserExists: boolean | null
  /** At the control socket of a node's agent, as this user finds it. */
  readonly agent: 'listens' | 'forbidden' | 'nobody'
  /** What that agent says is wrong with policies, of the node's files and of sandboxes; empty where it can't be asked. */
  readonly policyProblems: readonly string[]
  /** Folders of pins, where this user may look: of an agent that runs, or of one that is gone. */
  readonly pins: readonly string[]
  /** Null: not root, or a kernel on which there is no use in it, so nothing was tried. */
  readonly probe: ProbeResult | null
  readonly journal: JournalFacts
}

/** @param places the control socket of the agent to look for, where it has its pins, and the journal (null: there is to be none) */
export async function readHostFacts(places: {
  socket: string
  pinDir: string
  journalDir: string | null
  startDeadlineMs: number | null
}): Promise<HostFacts> {
  const uid = process.geteuid?.() ?? -1
  const status = readText('/proc/self/status')
  const mountinfo = readText('/proc/self/mountinfo')
  const kernel = readKernelHost()
  const native = nativeFiles()
  const canProbe = uid === 0 && tooOld(kernel.release) === null
  const [engineUserExists, agent, probe, landlock] = await Promise.all([
    systemUserExists(ENGINE_USER),
    probeAgent(places.socket),
    canProbe ? probeKernel(places.startDeadlineMs) : null,
    native.includes('launch') ? landlockAbi() : 0,
  ])
  return {
    platform: process.platform,
    kernel,
    nodeVersion: process.versions.node,
    uid,
    mounts: mountinfo === null ? null : mountsOfInterest(mountinfo),
    seccomp: status !== null && /^Seccomp:/m.test(status),
    landlock,
    addonBuilt: native.some((name) => name.startsWith('sluice.')),
    launcherBuilt: native.includes('launch'),
    engineUserExists,
    agent,
    policyProblems: agent === 'listens' ? await policyProblems(places.socket) : [],
    pins: foldersIn(places.pinDir),
    probe,
    journal: readJournalFacts(places.journalDir),
  }
}

/** Mounts of both cgroup versions and of bpffs, in the order of proc_pid_mountinfo(5). */
export function mountsOfInterest(mountinfo: string): Mount[] {
  return parseMounts(mountinfo).flatMap(({ path, fsType }): Mount[] => {
    const known = FS_TYPES.find((type) => type === fsType)
    return known === undefined ? [] : [{ path, fsType: known }]
  })
}

async function policyProblems(socket: string): Promise<string[]> {
  try {
    const client = await connectControl(socket, ASK_DEADLINE_MS)
    try {
      const { policyProblems, sandboxes } = await client.listSandboxes({})
      const ofSandboxes = (sandboxes ?? []).flatMap(({ sandbox, policyProblems: problems }) =>
        (problems ?? []).map((problem) => `${sandbox?.id ?? ''}: ${problem}`),
      )
      return [...(policyProblems ?? []), ...ofSandboxes]
    } finally {
      client.close()
    }
  } catch {
    return []
  }
}

/** Names of the files that the native build made; nothing is loaded here. */
function nativeFiles(): string[] {
  try {
    return readdirSync(NATIVE_DIR)
  } catch {
    return []
  }
}

function foldersIn(path: string): string[] {
  try {
    const entries = readdirSync(path, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(path, name))
  } catch {
    return []
  }
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}

/**
 * The proof that our cgroup programs let strangers through, made before they may sit at the cgroup root: a mistake there would cut
 * the whole machine off. Each program is attached to a throw-away cgroup, and a task in it that is not ours sends, receives and connects; once more while
 * another throw-away cgroup is a sandbox in quarantine, which must be refused, once more while that one has a policy, once more while it
 * has limits, and once more while its names go to the gateway. Hooks that the kernel lets refuse nothing are tried like the others.
 */
import { randomBytes } from 'node:crypto'
import { rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf, SluiceError } from '../base/error.js'
import type { Addon, BpfObject, Cgroup } from '../native/addon.js'
import { ABI } from '../native/generated/abi.js'
import { type PlannedProgram, plannedOf } from './attach-plan.js'
import { encodeLimitState, encodeLimits, LIMIT_STATE_KEY, openRule } from './limit-values.js'
import { encodeSandbox, encodeState, STATE_KEY, sandboxKey } from './map-values.js'
import { encodePolicyState, encodeSandboxPolicy, POLICY_STATE_KEY } from './policy-values.js'
import { encodeGateway, encodeRedirect, GATEWAY_KEY, redirectKey } from './redirect-values.js'

/** Beginning of the throw-away cgroup's name, directly below the cgroup v2 root. */
export const PROOF_PREFIX = 'sluice-proof-'

const AF_UNIX = 1
const AF_INET = 2
const AF_INET6 = 10
interface Refusals {
  /** Sockets that the hook runs for, and could refuse. */
  readonly family: number
  /** Refuses a cgroup's tasks because the cgroup is in quarantine. */
  readonly byQuarantine: boolean
  /** Refuses a cgroup's packets because the cgroup has a policy; the others go by the task, and the proof's is nobody's. */
  readonly byPolicy: boolean
  /** The same because it has limits. */
  readonly byLimits: boolean
  /** Runs for what comes in: something has to arrive. */
  readonly onTheWayIn?: true
}

const HOOKS: ReadonlyMap<string, Refusals> = new Map([
  ['cgroup/connect4', { family: AF_INET, byQuarantine: true, byPolicy: false, byLimits: false }],
  ['cgroup/connect6', { family: AF_INET6, byQuarantine: true, byPolicy: false, byLimits: false }],
  ['cgroup/sendmsg4', { family: AF_INET, byQuarantine: true, byPolicy: false, byLimits: false }],
  ['cgroup/sendmsg6', { family: AF_INET6, byQuarantine: true, byPolicy: false, byLimits: false }],
  ['cgroup/recvmsg4', { family: AF_INET, byQuarantine: false, byPolicy: false, byLimits: false }],
  ['cgroup/recvmsg6', { family: AF_INET6, byQuarantine: false, byPolicy: false, byLimits: false }],
  ['cgroup/getpeername4', { family: AF_INET, byQuarantine: false, byPolicy: false, byLimits: false }],
  ['cgroup/getpeername6', { family: AF_INET6, byQuarantine: false, byPolicy: false, byLimits: false }],
  ['cgroup/connect_unix', { family: AF_UNIX, byQuarantine: true, byPolicy: false, byLimits: false }],
  ['cgroup/sendmsg_unix', { family: AF_UNIX, byQuarantine: true, byPolicy: false, byLimits: false }],
  ['cgroup/sock_create', { family: AF_INET, byQuarantine: false, byPolicy: false, byLimits: false }],
  ['cgroup/sock_release', { family: AF_INET, byQuarantine: false, byPolicy: false, byLimits: false }],
  ['cgroup/sock_ops', { family: AF_INET, byQuarantine: false, byPolicy: false, byLimits: false }],
  ['cgroup_skb/egress', { family: AF_INET, byQuarantine: false, byPolicy: true, byLimits: true }],
  ['cgroup_skb/ingress', { family: AF_INET, byQuarantine: false, byPolicy: false, byLimits: false, onTheWayIn: true }],
])
/** Of a policy that no map has: whatever it is asked, it denies. */
const NO_POLICY = 0xffffffff
const EPERM = 1
const EAFNOSUPPORT = 97

interface ProofOptions {
  addon: Addon
  object: BpfObject
  cgroupRoot: string
  /** Those to prove; all of the plan by default. */
  programs?: readonly PlannedProgram[]
}

/** What the machine may be in while a stranger sends; the maps say so for as long as `during` takes. */
interface Situation {
  /** As the end of a sentence. */
  readonly when: string
  /** The sandbox that a hook has to refuse then, for those that refuse one. */
  readonly refused: { readonly by: 'byQuarantine' | 'byPolicy' | 'byLimits'; readonly what: string } | null
  during(object: BpfObject, sandbox: bigint, body: () => void): void
}

const SITUATIONS: readonly Situation[] = [
  { when: '', refused: null, during: (_object, _sandbox, body) => body() },
  {
    when: ' while another one is in quarantine',
    refused: { by: 'byQuarantine', what: 'a sandbox in quarantine' },
    during: whileQuarantined,
  },
  {
    when: ' while another one has a policy',
    refused: { by: 'byPolicy', what: 'a sandbox whose policy denies it' },
    during: whilePoliced,
  },
  {
    when: ' while another one has limits',
    refused: { by: 'byLimits', what: 'a sandbox over its limit' },
    during: whileLimited,
  },
  { when: ' while another one’s names go to the gateway', refused: null, during: whileRedirected },
]

/**
 * @throws SluiceError KERNEL if a program refused the stranger, with or without a sandbox in quarantine, or did not refuse the sandbox.
 * Errors other than EPERM (no IPv6, say) are not its doing.
 */
export function proveLetsForeignTasksThrough(options: ProofOptions): void {
  const { programs = plannedOf(options.object) } = options
  const atRoot = programs.filter(({ at }) => at === 'cgroup-root').map(withRefusals)
  withCgroup(options, (stranger) =>
    withCgroup(options, (sandbox) => {
      proveStrangerPasses(options, atRoot, { stranger, sandbox })
      for (const program of atRoot) proveSandboxIsRefused(options, program, sandbox)
    }),
  )
}

interface ProofCgroup {
  readonly path: string
  readonly cgroup: Cgroup
}

function withCgroup({ addon, cgroupRoot }: ProofOptions, body: (made: ProofCgroup) => void): void {
  const path = join(cgroupRoot, `${PROOF_PREFIX}${randomBytes(6).toString('hex')}`)
  const cgroup = makeCgroup(addon, cgroupRoot, path)
  try {
    body({ path, cgroup })
  } finally {
    cgroup.close()
    rmdirSync(path)
  }
}

/** The first thing that is written to the hierarchy: where it is read-only, here it shows. */
function makeCgroup(addon: Addon, cgroupRoot: string, path: string): Cgroup {
  try {
    return addon.openCgroup(path, { create: true })
  } catch (error) {
    const reason = messageOf(error).split(': ').at(-1)
    throw new SluiceError('KERNEL', `no cgroup can be made in ${cgroupRoot}: ${reason}`, {
      hint: `mount cgroup v2 there for writing (in a container: -v ${cgroupRoot}:${cgroupRoot}:rw)`,
      cause: error,
    })
  }
}

type Prover = Pick<ProofOptions, 'addon' | 'object'>

interface ProvedProgram extends PlannedProgram {
  readonly refusals: Refusals
}

function withRefusals(planned: PlannedProgram): ProvedProgram {
  const refusals = HOOKS.get(planned.hook)
  if (refusals === undefined) throw new Error(`it is not known what ${planned.hook} could refuse`)
  return { ...planned, refusals }
}

/**
 * All at once, as they will be at the root: one that refuses is enough for the kernel, so that what passes all passes each. Where it does not
 * pass, each is asked by itself, for its name.
 */
function proveStrangerPasses(
  { addon, object }: Prover,
  programs: readonly ProvedProgram[],
  { stranger, sandbox }: { stranger: ProofCgroup; sandbox: ProofCgroup },
): void {
  const reaches = reachesOf(addon, programs, stranger)
  for (const { program } of programs) object.attachCgroup(program, stranger.path)
  const refused = SITUATIONS.find(({ during }) => {
    let isRefused = false
    during(object, sandbox.cgroup.id, () => {
      isRefused = reaches.some((reach) => reach() === EPERM)
    })
    return isRefused
  })
  for (const { program } of programs) object.detach(program)
  if (refused === undefined) return
  const [only, ...others] = programs
  if (only !== undefined && others.length === 0)
    throw wouldRefuse(only.hook, `tasks that are in no sandbox${refused.when}`)
  for (const program of programs) proveStrangerPasses({ addon, object }, [program], { stranger, sandbox })
  throw wouldRefuse('the programs together', `tasks that are in no sandbox${refused.when}`)
}

/** One for every family: a hook runs for sockets of its own only, and what it doesn't run for it can't refuse. */
function reachesOf(addon: Addon, programs: readonly ProvedProgram[], { cgroup }: ProofCgroup): (() => number)[] {
  const families = new Set(programs.map(({ refusals }) => refusals.family))
  return [...families].map((family) => {
    const isHeard = programs.some(({ refusals }) => refusals.family === family && refusals.onTheWayIn === true)
    // Where nothing arrives before they are attached, that is not their doing.
    const hears = isHeard && addon.probeReach(cgroup, family, true) !== EPERM
    return () => addon.probeReach(cgroup, family, hears)
  })
}

function proveSandboxIsRefused({ addon, object }: Prover, planned: ProvedProgram, { path, cgroup }: ProofCgroup): void {
  const { program, hook, refusals } = planned
  const situations = SITUATIONS.filter(({ refused }) => refused !== null && refusals[refused.by])
  if (situations.length === 0) return
  object.attachCgroup(program, path)
  for (const { refused, during } of situations) {
    during(object, cgroup.id, () => {
      const errno = addon.probeReach(cgroup, refusals.family, false)
      if (errno === EPERM || errno === EAFNOSUPPORT) return
      throw new SluiceError('KERNEL', `${hook} would let ${refused?.what} connect or send; it was not attached`)
    })
  }
  object.detach(program)
}

function wouldRefuse(hook: string, whom: string): SluiceError {
  return new SluiceError('KERNEL', `${hook} would refuse ${whom}; it was not attached`)
}

/** Of maps that a sensor before us filled, all but the entry of `cgroupId` is as it was afterwards. */
function whileQuarantined(object: BpfObject, cgroupId: bigint, body: () => void): void {
  const before = object.lookup('sl_state', STATE_KEY)
  if (before === null) throw new Error('sl_state has no entry')
  object.update('sl_sandboxes', sandboxKey(cgroupId), encodeSandbox(cgroupId, ABI.enums.SL_SANDBOX_QUARANTINED))
  object.update('sl_state', STATE_KEY, encodeState({ quarantined: true }))
  try {
    body()
  } finally {
    object.delete('sl_sandboxes', sandboxKey(cgroupId))
    object.update('sl_state', STATE_KEY, before)
  }
}

/** With a limit that is enforced, and nothing to count by: all that it is about is over it. */
function whileLimited(object: BpfObject, cgroupId: bigint, body: () => void): void {
  const before = object.lookup('sl_limit_state', LIMIT_STATE_KEY)
  if (before === null) throw new Error('sl_limit_state has no entry')
  const key = sandboxKey(cgroupId)
  const rule = openRule(1, { enforced: true, throttled: false, stops: false })
  const rules = { connects: rule, execs: rule, egress_bytes: rule, connections: rule }
  object.update('sl_sandboxes', key, encodeSandbox(cgroupId))
  object.update('sl_limits', key, encodeLimits({ sandbox: cgroupId, rules }))
  object.update('sl_limit_state', LIMIT_STATE_KEY, encodeLimitState({ limited: true }))
  try {
    body()
  } finally {
    object.update('sl_limit_state', LIMIT_STATE_KEY, before)
    object.delete('sl_limits', key)
    object.delete('sl_sandboxes', key)
  }
}

/** With names that go to a gateway which is not there. */
function whileRedirected(object: BpfObject, cgroupId: bigint, body: () => void): void {
  const before = object.lookup('sl_gateway', GATEWAY_KEY)
  if (before === null) throw new Error('sl_gateway has no entry')
  object.update('sl_redirects', redirectKey(cgroupId, 0n), encodeRedirect({ port4: 0, port6: 0 }))
  object.update('sl_gateway', GATEWAY_KEY, encodeGateway({ aliveNs: 0n, redirecting: true }))
  try {
    body()
  } finally {
    object.delete('sl_redirects', redirectKey(cgroupId, 0n))
    object.update('sl_gateway', GATEWAY_KEY, before)
  }
}

/** With a policy that denies everything. */
function whilePoliced(object: BpfObject, cgroupId: bigint, body: () => void): void {
  const before = object.lookup('sl_policy_state', POLICY_STATE_KEY)
  if (before === null) throw new Error('sl_policy_state has no entry')
  const key = sandboxKey(cgroupId)
  object.update('sl_sandboxes', key, encodeSandbox(cgroupId))
  object.update(
    'sl_sandbox_policies',
    key,
    encodeSandboxPolicy({ sandbox: cgroupId, policy: NO_POLICY, generation: 1, flags: ABI.enums.SL_POLICY_ENFORCED }),
  )
  object.update('sl_policy_state', POLICY_STATE_KEY, encodePolicyState({ policed: true }))
  try {
    body()
  } finally {
    object.update('sl_policy_state', POLICY_STATE_KEY, before)
    object.delete('sl_sandbox_policies', key)
    object.delete('sl_sandboxes', key)
  }
}

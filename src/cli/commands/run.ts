/**
 * `sluice run`: has one command watched, by the node's agent or by a sensor and an engine that it brings for its length, and gives back
 * its exit code. Guards that nothing is started before the record can be written, and that everything that was started is taken down,
 * in order, on every way out.
 */
import { isUtf8 } from 'node:buffer'
import { readFileSync } from 'node:fs'
import { SluiceError } from '../../base/error.js'
import { refuseOldKernel } from '../../base/kernel-host.js'
import type { LogLevel } from '../../base/log.js'
import { readPolicyHost } from '../../base/policy-host.js'
import { writeStderr } from '../../base/stderr.js'
import type { ICompiledPolicy, IPolicySources } from '../../proto/codec.js'
import { needsGateway } from '../../proto/policy-needs.js'
import type { ControlClient } from '../../proto/rpc.js'
import { startOwnStack } from '../../supervise/own-stack.js'
import { type PolicyFile, readPolicyFiles } from '../../supervise/policy-files.js'
import type { JournalPlace } from '../../supervise/stack-parts.js'
import { agentIsBack, CONTROL_DEADLINE_MS } from '../agent-probe.js'
import type { ResolverAddress } from '../config/node-config.js'
import { neutralise } from '../display-text.js'
import { type ColorMode, commandEnvironment, ENGINE_USER, type Environment, GATEWAY_USER } from '../environment.js'
import { exitCodeOf } from '../exit-code.js'
import type { CompiledFiles } from '../policy-compiler.js'
import { errorLine } from '../report.js'
import { identify, type RunAs, resolveRunAs } from '../run/account.js'
import { hiddenFolders } from '../run/hidden-folders.js'
import { killSandboxOf } from '../run/kill-sandbox.js'
import { type LaunchLayers, landlockAbi, layersFor } from '../run/launch-layers.js'
import { type Launched, startLauncher } from '../run/launcher.js'
import { openRecordFile } from '../run/open-record.js'
import { ownPolicy, type PlannedPolicy, type PlannedRun, plannedPolicy } from '../run/planned-policy.js'
import type { RecordFile } from '../run/record-file.js'
import type { RunOptions } from '../run/run-options.js'
import { relaySignals, type SignalRelay } from '../run/signals.js'
import { type AgentSocket, chooseStack } from '../run/stack-choice.js'

const RUNTIME_DIR = '/run/sluice'
const SIGNAL_BASE = 128
const AS_ROOT = 'root: the command runs as root, which can undo the watching; use --user'
const ROOT_UID = 0

export interface RunContext {
  readonly environment: Environment
  readonly color: ColorMode
  readonly logLevel: LogLevel
  readonly socket: AgentSocket
  /** That a gateway of the run's own asks; null: those of resolv.conf. */
  readonly resolvers: readonly ResolverAddress[] | null
  /** Of parts of the run's own; null: there is none. */
  readonly journal: JournalPlace | null
  /** Where policies of the node are: also parts of the run's own hold it to them. */
  readonly policyPaths: readonly string[]
}

/** What watches the command. */
interface Stack {
  readonly controlSocket: string
  /** What a whole installation would have and this one lacks. */
  readonly degraded: readonly string[]
  /** Calls once, with how it ended, if the sensor dies by itself. */
  onSensorDeath(cb: (detail: string) => void): void
  /** After the engine has died: whether there is another one. Never rejects. */
  engineBack(): Promise<boolean>
  stop(): Promise<void>
}

interface Prepared {
  readonly options: RunOptions
  readonly context: RunContext
  readonly runAs: RunAs
  readonly record: RecordFile | null
  readonly signals: SignalRelay
  /** Null: the run is only watched. */
  readonly policy: ICompiledPolicy | null
  /** What it was compiled from. */
  readonly sources: IPolicySources | null
  /** Of the node, for parts of the run's own; null: the agent has them. */
  readonly nodePolicies: readonly PolicyFile[] | null
}

/** What the run is held to, as was known when its launcher was started. */
interface Planned {
  readonly held: PlannedPolicy | null
  readonly layers: LaunchLayers
}

/** The exit code. Throws SluiceError for failures of ours before the command was started. */
export async function run(options: RunOptions, context: RunContext): Promise<number> {
  const isRoot = process.geteuid?.() === ROOT_UID
  const kind = await chooseStack({ own: options.own, socket: context.socket, isRoot })
  // Before anything is started: there nothing would come of it.
  refuseOldKernel()
  refuseMangledArguments(options.command)
  // Never disposed: a signal that comes when the command is over must not replace its exit code, to the very end of this process.
  const signals = relaySignals()
  // Only root can be somebody else's doing.
  const invoker = isRoot ? await identify(context.environment.invoker) : null
  const runAs = await resolveRunAs({ requested: options.user, invoker, ownUsers: [ENGINE_USER, GATEWAY_USER] })
  const compiled = await policyOf(options, context, { asRoot: runAs.uid === ROOT_UID, byRoot: isRoot })
  const record = options.record === null ? null : openRecordFile(options.record, invoker)
  try {
    const { policy, sources } = compiled ?? { policy: null, sources: null }
    // What can't be read is thrown.
    const nodePolicies = kind === 'agent' ? null : readPolicyFiles(context.policyPaths, { error() {} }).files
    return await runWithStack({ options, context, runAs, record, signals, policy, sources, nodePolicies })
  } finally {
    await record?.close()
  }
}

async function runWithStack(prepared: Prepared): Promise<number> {
  const { options, context, runAs, policy, nodePolicies } = prepared
  const starting = nodePolicies === null ? agentStack(context.socket.path) : ownStack(context, { policy, nodePolicies })
  // Looked at below; a failure must not count as unhandled until then.
  starting.catch(() => {})
  let control: ControlClient | null = null
  let launched: Launched | null = null
  try {
    // Where the node has policies the launcher waits for what they say; elsewhere it starts while the roles do.
    control = nodePolicies?.length === 0 ? null : await connectedTo(await starting)
    const held = control === null ? await ownPolicy(policy) : await plannedPolicy(control, plannedRun(prepared))
    const layers = await layersFor(held)
    launched = await startLauncher({
      command: options.command,
      workdir: options.workdir,
      runAs,
      env: commandEnvironment(context.environment, runAs.account),
      hidden: hiddenFolders(),
      covered: layers.covered,
      confine: layers.confine,
      apart: layers.apart,
    })
    const parts = await loadParts()
    control ??= await connectedTo(await starting)
    return await runOnStack(prepared, { held, layers }, { stack: await starting, control, launched, parts })
  } finally {
    await launched?.abandon()
    control?.close()
    await stopStack(starting)
  }
}

/** Before anything is started: a policy with errors starts nothing. */
async function policyOf(
  options: RunOptions,
  { environment }: RunContext,
  who: { asRoot: boolean; byRoot: boolean },
): Promise<CompiledFiles | null> {
  const { policies, mode, quiet } = options
  const { compileFiles, workdirPolicy } = await import('../policy-compiler.js')
  const workdir = workdirPolicy(options.workdir)
  if (policies.length === 0 && workdir === null) return null
  const warn = (line: string) => writeStderr(`${line}\n`)
  if (workdir !== null && !quiet) warn(neutralise(`sluice: ${workdir} holds for this run too`))
  const here = mode === 'monitor' ? null : { ...readPolicyHost(await landlockAbi()), ...who }
  return compileFiles(policies, { mode, workdir, environment, warn, here })
}

async function ownStack(
  { logLevel, environment, resolvers, journal }: RunContext,
  { policy, nodePolicies: policies }: { policy: ICompiledPolicy | null; nodePolicies: readonly PolicyFile[] },
): Promise<Stack> {
  const { startDeadlineMs } = environment
  const isNamed = policies.length > 0 || (policy !== null && needsGateway(policy))
  const stack = await startOwnStack({
    ...{ runtimeDir: RUNTIME_DIR, logLevel, engineUser: ENGINE_USER, journal, policies },
    ...(startDeadlineMs === null ? {} : { readyDeadlineMs: startDeadlineMs }),
    ...(isNamed ? { gatewayUser: GATEWAY_USER, resolvers } : {}),
  })
  return {
    controlSocket: stack.controlSocket,
    degraded: stack.degraded,
    onSensorDeath(cb) {
      void stack.roles.sensor.exited.then(({ expected, detail }) => {
        if (!expected) cb(detail)
      })
    },
    engineBack: () => stack.engineBack(),
    stop: () => stack.stop(),
  }
}

/** It is there, and stays; how its parts are is told by the session. */
async function agentStack(controlSocket: string): Promise<Stack> {
  const engineBack = () => agentIsBack(controlSocket)
  return { controlSocket, degraded: [], onSensorDeath() {}, engineBack, stop: async () => {} }
}

async function connectedTo({ controlSocket }: Stack): Promise<ControlClient> {
  const { connectControl } = await loadParts()
  return connectControl(controlSocket, CONTROL_DEADLINE_MS)
}

function plannedRun({ options, policy, sources }: Prepared): PlannedRun {
  return { name: options.name, labels: options.labels, policy, sources }
}

type Parts = Awaited<ReturnType<typeof loadParts>>

/** Called while the roles are starting, rather than before them. */
async function loadParts() {
  const [
    { connectControl },
    { consumeEvents },
    { watchRun },
    { liveView },
    { openLiveLines },
    { concludeRun, failOnMatched },
  ] = await Promise.all([
    import('../../proto/rpc.js'),
    import('../run/event-consumer.js'),
    import('../run/watched-run.js'),
    import('../run/live-view.js'),
    import('../run/live-lines.js'),
    import('../run/conclude-run.js'),
  ])
  return { connectControl, consumeEvents, watchRun, liveView, openLiveLines, concludeRun, failOnMatched }
}

async function runOnStack(
  prepared: Prepared,
  { held, layers }: Planned,
  { stack, control, launched, parts }: { stack: Stack; control: ControlClient; launched: Launched; parts: Parts },
): Promise<number> {
  const { options, context, runAs, record, signals, policy, sources } = prepared
  if (signals.stopRequested() !== 0) return SIGNAL_BASE + signals.stopRequested()
  stack.onSensorDeath((detail) => {
    const isHeld = held?.enforced === true
    // Its programs went with it: nothing would be refused any more.
    if (isHeld) killSandboxOf(launched.pid)
    const end = isHeld ? '; the command was killed, as nothing holds its policy any more' : ''
    writeStderr(`${errorLine(new SluiceError('KERNEL', `the sensor died: ${detail}${end}`))}\n`)
  })
  const controls = [control]
  const live = options.live === null ? null : parts.openLiveLines()
  const show = live && options.live ? parts.liveView(options.live, context.color, live.write) : null
  const consumer = parts.consumeEvents(record, show)
  const asRoot = runAs.uid === ROOT_UID
  try {
    const start = {
      pid: launched.pid,
      name: options.name,
      agent: options.agent,
      task: options.task,
      labels: { ...options.labels },
      command: options.command.map((argument) => Buffer.from(argument)),
      workdir: Buffer.from(options.workdir),
      user: runAs.label,
      ...{ policy, sources, plannedHash: held?.digest ?? '', apart: layers.apart && !asRoot },
      degraded: [...stack.degraded, ...layers.degraded, ...(asRoot ? [AS_ROOT] : [])],
    }
    const say = (line: string) => writeStderr(`${line}\n`)
    const reconnect = async () => {
      const next = await nextEngine(stack, parts)
      if (next === null) return null
      say('sluice: the engine died and was started again')
      controls.push(next)
      return next.run()
    }
    const outcome = await parts.watchRun({ call: control.run(), reconnect, start, launched, consumer, signals, say })
    if (outcome.kind === 'stopped') return SIGNAL_BASE + outcome.signal
    const { degraded } = stack
    await parts.concludeRun({
      ...{ options, color: context.color, outcome, record, consumer, live, degraded, asRoot, policy: held },
    })
    return exitCodeOf(outcome.status, parts.failOnMatched(options, consumer) !== null)
  } finally {
    await live?.end()
    for (const each of controls) each.close()
  }
}

/** Null where no engine takes the place of the one that died. */
async function nextEngine(stack: Stack, parts: Parts): Promise<Awaited<ReturnType<Parts['connectControl']>> | null> {
  if (!(await stack.engineBack())) return null
  return await parts.connectControl(stack.controlSocket, CONTROL_DEADLINE_MS).catch(() => null)
}

/** What can't be put in order is told; it does not change the exit code. */
async function stopStack(starting: Promise<Stack>): Promise<void> {
  const stack = await starting.catch(() => null)
  try {
    await stack?.stop()
  } catch (error) {
    writeStderr(`${errorLine(error)}\n`)
  }
}

/**
 * Node decodes arguments as UTF-8 and could only pass on U+FFFD for a byte that is not. A command that would get other arguments
 * than were typed is refused.
 */
function refuseMangledArguments(command: readonly string[]): void {
  if (command.some((argument) => argument.includes('\uFFFD')) && !isUtf8(readFileSync('/proc/self/cmdline'))) {
    throw new SluiceError('UNSUPPORTED', 'an argument of the command is not valid UTF-8', {
      hint: 'put the command into a script and run that',
    })
  }
}

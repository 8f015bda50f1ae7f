/** Composes the sensor: the only role with kernel privileges. It passes kernel facts up and carries out commands; it decides nothing. */
import { randomUUID } from 'node:crypto'
import { readFileSync, renameSync, rmSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import { type RoleHost, type RunningRole, runRole, type StopReason } from '../base/role-process.js'
import { type Addon, loadAddon } from '../native/addon.js'
import { ABI } from '../native/generated/abi.js'
import {
  ConnectRequest,
  encodeBuffer,
  fromBigInt,
  type ICommandResult,
  type IConnectRequest,
  type IHello,
} from '../proto/codec.js'
import { plannedOf } from './attach-plan.js'
import { findCgroupRoot } from './cgroup-root.js'
import { CgroupWatch } from './cgroup-watch.js'
import { Commands, type CommandsOptions, sandboxState } from './commands.js'
import { type SensorConfig, sensorConfigSchema } from './config.js'
import { ConnectionResets } from './connection-resets.js'
import { Controllers } from './controllers.js'
import { resumeEarlierSandboxes } from './earlier-sandboxes.js'
import { engineAccess } from './engine-access.js'
import { EngineLink } from './engine-link.js'
import { startFoldSweep } from './fold-sweep.js'
import { heldCapabilities } from './held-capabilities.js'
import { type KernelSide, openKernelSide } from './kernel-side.js'
import { encodeLimitFact, type LimitReached } from './limit-facts.js'
import { LimitWatch } from './limit-watch.js'
import { createLossReader, type LossReader } from './losses.js'
import { openOutbox } from './open-outbox.js'
import type { Outbox } from './outbox.js'
import { openPinFolder, type PinFolder } from './pin-folder.js'
import { POLICIES_FOLDER } from './policy-store.js'
import { encodeProcessFacts } from './process-facts.js'
import { LOCK_FILE } from './run-state.js'
import { encodeRunning } from './running-processes.js'
import { type HeldSandbox, SandboxCgroups } from './sandbox-cgroups.js'
import { SandboxIdentity } from './sandbox-identity.js'
import { SandboxLimits } from './sandbox-limits.js'
import { SandboxPolicies } from './sandbox-policies.js'
import type { Stream } from './stream.js'
import { sweepStaleRuns } from './sweep.js'
import { TaskWalk } from './task-walk.js'
import { Uplink } from './uplink.js'
import { parsePattern, type WatchPattern } from './watch-patterns.js'

const BOOT_ID = '/proc/sys/kernel/random/boot_id'

async function start(config: SensorConfig, { log, fail }: RoleHost): Promise<RunningRole> {
  const patterns = (config.agent?.watch ?? []).map(parsePattern)
  const addon = loadAddon()
  const lock = lockRun(addon, config)
  if (lock === null) throw new SluiceError('IO', `another sensor holds ${join(config.runDir, LOCK_FILE)}`)
  const nodeName = config.nodeName ?? hostname()
  const engine = engineAccess(config, nodeName)
  const connecting = engine.connect(config.connectMs)
  connecting.catch(() => {}) // awaited below; the kernel's own error comes first
  const bootId = readFileSync(BOOT_ID, 'utf8').trim()
  const { outbox, stream } = openOutbox({
    ...{ ...config.spool, keepsAll: config.agent !== null, addon, bootId, log },
    onRoom: () => uplink.resume(),
  })
  const cgroupRoot = findCgroupRoot()
  sweepStaleRuns({ addon, cgroupRoot, runtimeDir: config.runtimeDir, log })
  const pins = openPins(config, addon, log)
  const kernel = await openKernelSide({ addon, cgroupRoot, ringBytes: config.ringBytes, pins })
  const { sendProcesses, tell } = factSender((kind, found) => uplink.sendFacts(kind, found))
  const holding = { addon, kernel, cgroupRoot, config, tell, log }
  const { walk, tags, policies, sandboxes, limitWatch } = holdSandboxes(holding)
  endOtherVersions(pins, log)
  const losses = createLossReader(kernel)
  let watch: CgroupWatch | null = null
  const uplink = new Uplink({
    ...{ addon, kernel, losses, told: () => lookAround(policies, limitWatch) },
    nextBatchSeq: () => stream.next(),
    bootToUnixNs: stream.bootToUnixNs,
    push: (frame, done) => outbox.push(frame, done),
    flushMs: config.flushMs,
    ...(config.agent === null ? {} : { cgroupsChanged: () => watch?.look() }),
  })
  const watched = { sandboxes, identity: tags, policies, losses, uplink }
  watch = cgroupWatch({ config, patterns, addon, cgroupRoot, ...watched, outbox, sendProcesses, log })
  const sweep = startFoldSweep({ walk, uring: kernel.uring, needed: () => !sandboxes.isEmpty, log })
  const bootTimeNs = () => addon.bootTimeNs()
  const commands = new Commands({
    ...{ sandboxes, policies, bootTimeNs, sendProcesses, log, thawed: () => limitWatch.thawed() },
    holdFound: (selected) => watch?.hold(selected),
    drainToEnd: () => sweep.before(() => uplink.drainToEnd()),
    ...answersBy(outbox),
    forget: (cgroupId) => losses.forget(cgroupId),
  })
  const identity = helloOf({ addon, kernel, bootId, nodeName, stream })
  const link = new EngineLink({
    // The first attempt began while the programs were loading.
    connect: once(connecting, (deadlineMs) => engine.connect(deadlineMs)),
    hello: hellos({ identity, outbox, losses, sandboxes, policies }),
    firstWords: firstWords({ policies, sandboxes, walk, bootTimeNs }),
    onCommand: (command) => commands.accept(command),
    ...{ outbox, log },
  })
  const held = { config, sandboxes, identity: tags, policies, limitWatch, walk, pins, kernel, lock, log }
  // Before an engine can ask for anything.
  uplink.introduce()
  await begin(link, engine.isRemote ? null : config.connectMs, (error) => failToStart(held, () => fail(error)))
  for (const part of [watch, limitWatch, uplink]) part?.start()
  return {
    async stop(why) {
      watch?.stop()
      sweep.stop()
      policies.stop()
      uplink.stop()
      await link.stop()
      outbox.close()
      stream.close()
      letGo(held, why)
    },
  }
}

/** An engine of this machine is started with the sensor: without one in time, something is wrong. Null: it is elsewhere and may be late. */
async function begin(link: EngineLink, connectMs: number | null, fail: (error: unknown) => void): Promise<void> {
  if (connectMs === null) {
    link.startWithout()
    return
  }
  await link.start(connectMs).catch((error: unknown) => {
    fail(error)
    throw error
  })
}

interface Held {
  readonly config: SensorConfig
  readonly sandboxes: SandboxCgroups
  readonly identity: SandboxIdentity
  readonly policies: SandboxPolicies
  readonly limitWatch: LimitWatch
  readonly log: Log
  readonly walk: TaskWalk
  readonly pins: PinFolder | null
  readonly kernel: KernelSide
  readonly lock: { release(): void }
}

/** Nobody stops what did not start, and whoever is told kills this process: what is a run's own ends with it, an agent's would not. */
function failToStart(held: Held, tell: () => void): void {
  if (held.config.agent !== null) letGo(held, 'failed')
  tell()
}

const LEFT_HELD =
  'sandboxes stay under their policies: the next agent goes on with them, `sluice doctor --clean` lifts them'

/** A sensor that dies, or loses its supervisor, leaves an agent's sandboxes to the next one. */
function letGo(held: Held, why: StopReason): void {
  const { config, sandboxes, policies, limitWatch, walk, pins, kernel, lock, log } = held
  const isAll = config.agent !== null && keeps(config.agent, sandboxes, why)
  limitWatch.stop({ letGo: !isAll })
  // An agent that is stopped, as to be started in another version, lifts nothing that it enforces.
  const isKept = config.agent === null ? () => false : (cgroupId: bigint) => policies.isEnforced(cgroupId)
  if (!isAll) held.identity.holdNoneFound()
  const released = isAll || sandboxes.releaseAll(isKept)
  const keep = isAll || (config.agent !== null && !sandboxes.isEmpty)
  const heldTo = keep ? sandboxes.list().filter(({ cgroupId }) => policies.isEnforced(cgroupId)) : []
  if (why === 'told' && heldTo.length > 0) log.warn({ sandboxes: heldTo.length }, LEFT_HELD)
  walk.close()
  if (!keep) pins?.removeAll()
  kernel.close()
  pins?.close()
  // What could not be removed stays listed in the run's folder, for the next start's sweep.
  if (released && config.agent === null) rmSync(config.runDir, { recursive: true, force: true })
  lock.release()
  if (!released) throw new SluiceError('KERNEL', 'a sandbox is still in use; the next run cleans it up')
}

/** Nobody misses programs that watch nothing: those of an agent that could not start must not stay. */
function keeps(agent: NonNullable<SensorConfig['agent']>, sandboxes: SandboxCgroups, why: StopReason): boolean {
  if (why === 'told') return agent.onStop === 'keep'
  return !sandboxes.isEmpty || agent.watch.length > 0
}

/** With those of an earlier sensor, where it is to go on with them. */
function holdSandboxes(options: {
  addon: Addon
  kernel: KernelSide
  cgroupRoot: string
  config: SensorConfig
  tell(reached: LimitReached): void
  log: Log
}): {
  walk: TaskWalk
  tags: SandboxIdentity
  policies: SandboxPolicies
  sandboxes: SandboxCgroups
  limitWatch: LimitWatch
} {
  const { addon, kernel, cgroupRoot, config, log } = options
  const walk = new TaskWalk(addon, kernel.object)
  const identity = new SandboxIdentity({ object: kernel.object, walk, cgroupRoot })
  const stateDir = config.runDir
  const limits = new SandboxLimits({
    ...{ object: kernel.object, controllers: new Controllers(cgroupRoot), log },
    sandbox: (cgroupId) => sandboxes.limited(cgroupId),
    keep: (cgroupId, change) => sandboxes.keepLimits(cgroupId, change),
  })
  const limitWatch = new LimitWatch({
    ...{ limits, object: kernel.object, log },
    bootTimeNs: () => addon.bootTimeNs(),
    monotonicNs: () => process.hrtime.bigint(),
    tell: (reached) => options.tell(reached),
    kill: (cgroupId) => sandboxes.killAt(cgroupId),
  })
  const policies = new SandboxPolicies({
    ...{ addon, object: kernel.object, walk, mailbox: config.mailbox, limits },
    limitsOver: (sandbox) => limitWatch.over(sandbox),
    ...{ resets: new ConnectionResets({ addon, walk, log }), folder: join(stateDir, POLICIES_FOLDER), log },
  })
  const sandboxes: SandboxCgroups = new SandboxCgroups({ addon, identity, policies, walk, cgroupRoot, stateDir, log })
  if (config.agent !== null) resumeEarlierSandboxes({ sandboxes, identity, policies, stateDir, log })
  return { walk, tags: identity, policies, sandboxes, limitWatch }
}

/** Now that our programs hold the sandboxes to their policies: until here both did, and what either denied was denied. */
function endOtherVersions(pins: PinFolder | null, log: Log): void {
  if (pins === null || pins.others.length === 0) return
  const folders = [...pins.others]
  log.warn({ folders, pins: pins.removeOthers() }, 'what another version of sluice had in force is taken over')
}

function answersBy(outbox: Outbox): Pick<CommandsOptions, 'answer' | 'answerAhead'> {
  const bytes = (result: ICommandResult) => encodeBuffer(ConnectRequest, { result })
  return {
    answer: (result) => outbox.answer(bytes(result)),
    answerAhead: (result) => outbox.answerAhead(bytes(result)),
  }
}

/** Each as of when it is said; what may have got lost with a connection is said again. */
function hellos(of: {
  identity: IHello
  outbox: Outbox
  losses: LossReader
  sandboxes: SandboxCgroups
  policies: SandboxPolicies
}): () => IHello {
  const { identity, outbox, losses, sandboxes, policies } = of
  return () => {
    losses.repeat()
    const firstBatchSeq = fromBigInt(BigInt(outbox.first))
    const held = sandboxes.list().map((one) => ({
      ...{ ...sandboxState(one), ...policies.stateOf(one.cgroupId) },
      held: policies.isHeld(one.cgroupId),
    }))
    return { ...identity, firstBatchSeq, sandboxes: held }
  }
}

/** What an engine needs to tell the facts by that follow. */
function firstWords(of: {
  policies: SandboxPolicies
  sandboxes: SandboxCgroups
  walk: TaskWalk
  bootTimeNs(): bigint
}): () => Buffer[] {
  const { policies, sandboxes, walk, bootTimeNs } = of
  return () => {
    const held = sandboxes.list()
    return [...policies.held(held), ...encodeRunning({ walk, sandboxes: held, bootTimeNs })]
  }
}

/** Numbers what this sensor says itself. */
function factSender(send: (kind: number, facts: readonly Uint8Array[]) => void): {
  sendProcesses(found: ProcessesFound): void
  tell(reached: LimitReached): void
} {
  let sent = 0n
  return {
    sendProcesses: (found) => send(ABI.enums.SL_KIND_PROCESS, encodeProcessFacts({ ...found, nextSeq: () => ++sent })),
    tell: (reached) => send(ABI.enums.SL_KIND_LIMIT, [encodeLimitFact(reached, ++sent)]),
  }
}

/** The rings told of something: what it may have to do with is looked at. */
function lookAround(policies: SandboxPolicies, limitWatch: LimitWatch): void {
  policies.lookForDoors()
  limitWatch.look()
}

type ProcessesFound = Parameters<CommandsOptions['sendProcesses']>[0]

/** Null for a run, which watches nothing but what it makes. */
function cgroupWatch(options: {
  config: SensorConfig
  patterns: readonly WatchPattern[]
  addon: Addon
  cgroupRoot: string
  sandboxes: SandboxCgroups
  identity: SandboxIdentity
  policies: SandboxPolicies
  losses: LossReader
  uplink: Uplink
  outbox: Outbox
  sendProcesses(found: ProcessesFound): void
  log: Log
}): CgroupWatch | null {
  const { config, addon, policies, uplink, outbox, losses, sendProcesses } = options
  if (config.agent === null) return null
  // Without an engine nobody hears it: the next Hello lists what there is.
  const send = (message: IConnectRequest) => outbox.answer(encodeBuffer(ConnectRequest, message))
  const sayGone = async ({ cgroupId, record }: HeldSandbox) => {
    await uplink.drainToEnd()
    losses.forget(cgroupId)
    send({ gone: record.id })
  }
  return new CgroupWatch({
    ...options,
    bootTimeNs: () => addon.bootTimeNs(),
    found(sandbox, untilNs) {
      const pids = new Set(sandbox.tasks.filter((task) => !task.dead).map((task) => task.pid))
      const held = policies.isHeld(sandbox.cgroupId)
      send({ announced: { ...sandboxState(sandbox), degraded: heldCapabilities(pids), held } })
      // Those that were seen to exec since are known.
      const tasks = sandbox.tasks.filter((task) => task.execCount === 0)
      sendProcesses({ sandbox: sandbox.cgroupId, tasks, untilNs })
    },
    // Not from within a pass over the rings: it may be one that found this out.
    gone: (sandbox) => void setImmediate(() => void sayGone(sandbox)),
  })
}

/** Locked under another name first: a sweep must never see the lock file of a live run unlocked. An agent's folder is not swept. */
function lockRun(addon: Addon, { runDir, agent }: SensorConfig): { release(): void } | null {
  const file = join(runDir, LOCK_FILE)
  if (agent !== null) return addon.lockFile(file)
  const lock = addon.lockFile(`${file}.new`)
  if (lock !== null) renameSync(`${file}.new`, file)
  return lock
}

function helloOf(options: {
  addon: Addon
  kernel: KernelSide
  bootId: string
  nodeName: string
  stream: Stream
}): IHello {
  return {
    abiVersion: options.addon.abiVersion,
    nodeName: options.nodeName,
    bootId: options.bootId,
    instance: randomUUID(),
    stream: options.stream.id,
    hooks: [...plannedOf(options.kernel.object).map((planned) => planned.hook), ...options.kernel.uring.hooks],
    degraded: [...options.kernel.degraded, ...options.kernel.uring.degraded],
    counters: options.kernel.countersId,
  }
}

function openPins(config: SensorConfig, addon: Addon, log: Log): PinFolder | null {
  if (config.agent === null) return null
  const pins = openPinFolder(addon, config.agent.pinDir)
  if (pins.mounted !== null) log.info({ at: pins.mounted }, 'mounted a BPF file system, which stays')
  return pins
}

/** Gives `first` to the first caller; `next` answers the others. */
function once<T>(first: Promise<T>, next: (deadlineMs: number) => Promise<T>): (deadlineMs: number) => Promise<T> {
  let waiting: Promise<T> | null = first
  return (deadlineMs) => {
    const taken = waiting
    waiting = null
    return taken ?? next(deadlineMs)
  }
}

runRole({ name: 'sensor', parse: (raw) => sensorConfigSchema.parse(raw), start })

/**
 * Composes the engine: one unix socket for the sensor, one for the command line, and the pipeline between them. Everything is loaded
 * and listened on before privileges go; the role is ready when it can do its work without any.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { dropPrivileges, userNameOf } from '../base/drop-privileges.js'
import type { Log } from '../base/log.js'
import { type RunningRole, runRole } from '../base/role-process.js'
import { type Addon, loadAddon } from '../native/addon.js'
import {
  type Caller,
  loadTlsIdentity,
  type PeerCheck,
  type PeerVetting,
  type RefusedRemote,
  serveUnix,
  serveUplinkTls,
} from '../proto/rpc.js'
import { Access } from './access.js'
import { Adoptions } from './adoptions.js'
import { BackPressure } from './back-pressure.js'
import { BaselinesAdmin, type KeptIdentities } from './baselines-admin.js'
import type { PreparedBaselines } from './baselines-folder.js'
import { loadBashGrammar } from './bash-grammar.js'
import { BootClock } from './boot-clock.js'
import { StreamBudget } from './bounded-stream.js'
import { type EngineConfig, parseEngineConfig } from './config.js'
import { ControlApi } from './control-api.js'
import { Commands } from './detect/command.js'
import { detectorsFor } from './detect/detectors.js'
import { SandboxUses } from './detect/sandbox-uses.js'
import { SessionDetection } from './detect/session-detection.js'
import { tellDns, tellLimit } from './dns-event.js'
import { EngineState } from './engine-state.js'
import { GatewayDesk } from './gateway-desk.js'
import { type ConnectedSensor, Ingest } from './ingest.js'
import type { Journal } from './journal/journal.js'
import { openJournal } from './journal/open-journal.js'
import { type WatchedParts, watchKeptParts } from './kept-parts.js'
import { launcherCheck } from './launcher-check.js'
import { type KeptBaselines, LiveDetection } from './live-detection.js'
import { numbersOf } from './metrics/engine-numbers.js'
import { EventTally } from './metrics/event-tally.js'
import type { EngineNumbers } from './metrics/exposition.js'
import { openMetrics } from './metrics/open-metrics.js'
import { NodePolicyTexts } from './node-policy-texts.js'
import { Orphans } from './orphans.js'
import { onlyChildrenOf, onlyFirst, onlySupervisor, type PeerFacts, peerCheck } from './peer-check.js'
import { Pipeline } from './pipeline.js'
import type { NodePolicies } from './policy/node-policies.js'
import { PolicyDesk } from './policy-desk.js'
import { PolicyKeeper } from './policy-keeper.js'
import { processFacts } from './process-facts.js'
import { Redactor } from './redact.js'
import { RefusalLog } from './refusal-log.js'
import type { Responder } from './respond/responder.js'
import { findInForce, respondTo, shutBefore } from './responding.js'
import { ResponseHands } from './response-hands.js'
import { sinksOf } from './run-sinks.js'
import { SandboxAdmin } from './sandbox-admin.js'
import { SandboxBook } from './sandbox-book.js'
import { SandboxRegistry } from './sandbox-registry.js'
import type { PreparedSpool } from './spool/open-spool.js'
import { tapOf } from './tap.js'
import { Watchers } from './watchers.js'
import { Whereabouts } from './whereabouts.js'

const UPLINK_MODE = 0o600
const CONTROL_MODE = 0o660
const ROOT_UID = 0
const BOOT_ID = '/proc/sys/kernel/random/boot_id'
/** Of one server; both close at once, within the role's own STOP_DEADLINE_MS. */
const CLOSE_DEADLINE_MS = 2_000

async function start(config: EngineConfig, log: Log): Promise<RunningRole> {
  // It reads files: before privileges go, and while everything else is made.
  const grammar = loadBashGrammar()
  const addon = loadAddon()
  const backPressure = new BackPressure()
  const registry = new SandboxRegistry()
  const bootId = readFileSync(BOOT_ID, 'utf8').trim()
  const clock = new BootClock(addon, bootId)
  const state = new EngineState(config.stateFile, log)
  const kept = await baselinesOf(config, log)
  const live = liveDetection(new Commands(await grammar), kept, log)
  const pipeline = new Pipeline({
    redactor: new Redactor(state.redactKey),
    nowUnixNs: () => clock.nowUnixNs(),
    earlier: state.earlier,
    detection: live,
  })
  const checks = peerChecks(config, { addon, registry, log })
  const { refusals } = checks
  const texts = new NodePolicyTexts(config.policies, log)
  const spool = await spoolOf(config, log)
  const opened = openJournal(config.journal, {
    ...{ user: config.user, log, isResumable: state.kept },
    nowUnixNs: () => clock.nowUnixNs(),
    tell: (event) => spool?.append(event),
  })
  const journal = opened?.journal ?? null
  const tally = config.metrics === undefined ? null : new EventTally(() => clock.nowUnixNs())
  const { control, vet, vetGateway, ingest, desk, keeper, responder, numbers, faults } = controlSide(config, {
    ...{ kept, journal, spool, tally, pipeline, live, backPressure, clock, state, registry, log, refusals, bootId },
    node: texts.policies,
  })
  const uplinks = await serveUplinks(config, { checks, ingest, log })
  const controlServer = await serveControl(config, { checks, control, vet, log })
  const metrics = await openMetrics(config.metrics, { tally, numbers, log })
  const gatewayServer = await serveGateway(config, { checks, desk, vet: vetGateway, log })
  if (config.user !== null && process.getuid?.() === ROOT_UID) dropPrivileges('engine', config.user)
  addon.setNonDumpable()
  kept?.open()
  spool?.open()
  if (config.agent !== null) faults.start()
  return {
    told(message) {
      if (texts.told(message)) keeper.changed('the node’s policies were read anew')
    },
    async stop() {
      await desk.stop()
      // What the gateway told last.
      control.flush()
      control.stop()
      responder.stop()
      ingest.stop()
      metrics?.stop()
      faults.stop()
      await Promise.all([controlServer, ...gatewayServer, ...uplinks].map((server) => server.close(CLOSE_DEADLINE_MS)))
      await opened?.stop()
      spool?.stop()
      kept?.close()
    },
  }
}

/** A run of its own has none, and does not wait for their library. */
async function baselinesOf({ baselines, user }: EngineConfig, log: Log): Promise<PreparedBaselines | null> {
  if (baselines === undefined) return null
  const { prepareBaselines } = await import('./baselines-folder.js')
  return prepareBaselines(baselines, user, log)
}

/** Nor for this one's. */
async function spoolOf({ spool, user }: EngineConfig, log: Log): Promise<PreparedSpool | null> {
  return spool === undefined ? null : (await import('./spool/open-spool.js')).prepareSpool(spool, user, log)
}

/** Each session has detectors of its own; what commands mean is worked out once for all. */
function liveDetection(commands: Commands, baselines: KeptBaselines | null, log: Log): LiveDetection {
  const parts = { commands, uses: new SandboxUses() }
  return new LiveDetection({
    detection: (goOn, known) =>
      new SessionDetection({ commands, detectors: detectorsFor({ ...parts, ...known }), goOn }),
    ...{ baselines, log },
  })
}

function serveControl(
  { controlSocket: path, agent }: EngineConfig,
  parts: { checks: ReturnType<typeof peerChecks>; control: ControlApi; vet: ControlSide['vet']; log: Log },
): Promise<{ close(deadlineMs: number): Promise<void> }> {
  const { checks, control, vet, log } = parts
  const memberGid = agent?.memberGid ?? null
  return serveUnix({
    ...{ path, mode: CONTROL_MODE, check: checks.control, log, services: { control } },
    ...(memberGid === null ? {} : { gid: memberGid }),
    ...(agent === null ? {} : { vet }),
  })
}

/** The gateway comes back by itself when it is another user already: its group may connect. */
async function serveGateway(
  { gateway }: EngineConfig,
  parts: { checks: ReturnType<typeof peerChecks>; desk: GatewayDesk; vet: PeerVetting; log: Log },
): Promise<{ close(deadlineMs: number): Promise<void> }[]> {
  if (gateway === undefined) return []
  const { checks, desk, vet, log } = parts
  const { socket: path, gid } = gateway
  const shared = gid === null ? { mode: UPLINK_MODE } : { mode: CONTROL_MODE, gid }
  return [await serveUnix({ path, ...shared, check: checks.gateway, vet, log, services: { gateway: desk.handler } })]
}

/** Certificates are read here, before root goes. */
async function serveUplinks(
  { uplinkSocket, uplinkTls }: EngineConfig,
  parts: { checks: ReturnType<typeof peerChecks>; ingest: Ingest; log: Log },
): Promise<{ close(deadlineMs: number): Promise<void> }[]> {
  const { checks, ingest, log } = parts
  const uplink = ingest.handler
  const servers: { close(deadlineMs: number): Promise<void> }[] = []
  if (uplinkTls !== undefined) {
    const { address, nodes = null } = uplinkTls
    const identity = loadTlsIdentity(uplinkTls)
    const onRefused = (remote: RefusedRemote) => checks.refusals.refusedRemote(address, remote)
    const server = await serveUplinkTls({ address, identity, nodes, onRefused, uplink })
    log.info({ ...server.address, nodes }, 'sensors may connect')
    servers.push(server)
  }
  if (uplinkSocket !== null) {
    const mode = UPLINK_MODE
    servers.push(await serveUnix({ path: uplinkSocket, mode, check: checks.uplink, log, services: { uplink } }))
  }
  return servers
}

/** Who may connect, and where it is written down who may not. */
function peerChecks(config: EngineConfig, parts: { addon: Addon; registry: SandboxRegistry; log: Log }) {
  const { addon, registry, log } = parts
  const { agent, supervisorPid } = config
  const refusals = new RefusalLog(log)
  const check = (path: string, uids: readonly number[] | null, admit: (peer: PeerFacts) => string | null): PeerCheck =>
    peerCheck({
      peer: (fd) => addon.peer(fd),
      uids,
      sandboxOf: (pid) => registry.sandboxOf(pid),
      admit,
      onRefused: (refused) => refusals.refused(path, refused),
    })
  const { controlSocket, uplinkUids, controlUids } = config
  const uplinkSocket = config.uplinkSocket ?? ''
  const gatewaySocket = config.gateway?.socket ?? ''
  const parentOf = (pid: number) => processFacts(pid)?.ppid ?? null
  // A root process that left its sandbox may be such a child, too: it is asked for its sticky id besides (`vetGateway`).
  const isOurs = supervisorPid === null ? () => null : onlyChildrenOf(supervisorPid, parentOf)
  const gateway = check(gatewaySocket, null, isOurs)
  if (agent === null || supervisorPid === null) {
    return {
      refusals,
      uplink: check(uplinkSocket, uplinkUids, onlyFirst({ supervisorPid, part: 'sensor', pid: config.sensorPid })),
      gateway,
      control: check(controlSocket, controlUids, onlySupervisor(supervisorPid)),
    }
  }
  const access = new Access(agent)
  const hasRank = (peer: PeerFacts) =>
    access.rankOf(peer) === null ? `user ${peer.uid} is neither root nor in the group of this agent` : null
  return {
    refusals,
    uplink: check(uplinkSocket, uplinkUids, onlyChildrenOf(supervisorPid, parentOf)),
    gateway,
    control: check(controlSocket, null, hasRank),
  }
}

interface ControlSide {
  readonly control: ControlApi
  readonly ingest: Ingest
  readonly desk: GatewayDesk
  readonly keeper: PolicyKeeper
  readonly responder: Responder
  readonly numbers: EngineNumbers
  readonly faults: WatchedParts['faults']
  /** Of processes that are children of our supervisor. */
  readonly vetGateway: PeerVetting
  vet(caller: Caller): Promise<string | null>
}

function controlSide(
  config: EngineConfig,
  parts: {
    journal: Journal | null
    spool: PreparedSpool | null
    tally: EventTally | null
    pipeline: Pipeline
    live: LiveDetection
    kept: KeptIdentities | null
    backPressure: BackPressure
    registry: SandboxRegistry
    clock: BootClock
    state: EngineState
    log: Log
    refusals: RefusalLog
    bootId: string
    node: NodePolicies
  },
): ControlSide {
  const { kept, journal, spool, tally, pipeline, live, backPressure, clock, state, registry, log } = parts
  const { refusals, bootId, node } = parts
  const isAgent = config.agent !== null
  const sensor = (): ConnectedSensor | null => ingest.sensor
  const access = new Access(config.agent ?? { memberGid: null, adminGid: null })
  const budget = new StreamBudget()
  const watchers = new Watchers(budget)
  const book = new SandboxBook()
  const tap = tapOf({ journal, spool, tally, watchers })
  const whereabouts = new Whereabouts({ registry, sensor, bootId })
  const sandboxOf = async (pid: number) => (isAgent ? whereabouts.sandboxOf(pid) : registry.sandboxOf(pid))
  const vet = vetting(sandboxOf, (refused) => refusals.refused(config.controlSocket, refused))
  const { policies, keeper, responder } = policySide({
    ...{ pipeline, live, book, clock, log, sensor, node, gateway: () => desk },
    changed: () => ingest.progressed('sessions'),
  })
  const adoptions = new Adoptions({ pipeline, registry, book, log, sensor, tap, keeper })
  const ingest: Ingest = new Ingest({
    ...{ pipeline, backPressure, clock, log, engineInstance: randomUUID(), adoptions, policies },
    responses: { connected: (held) => findInForce(responder, held) },
    abandoned: (sessionId) => orphans?.takeUp(sessionId) ?? false,
    readers: { flush: () => control.flush(), has: (sessionId, seq) => control.has(sessionId, seq) },
    save: state.kept ? (now) => savedWith(state.prepare(now), [desk, journal, spool]) : null,
    onSettled: () => desk.settled(),
    onConnected() {
      control.sensorConnected()
      desk.sensorConnected()
    },
    onRefused: (remote) => refusals.refusedRemote(config.uplinkTls?.address ?? '', remote),
  })
  const desk: GatewayDesk = deskOf({ pipeline, book, clock, sensor, log })
  const orphans = isAgent ? new Orphans({ pipeline, registry, book, log, sensor, tap, policies: keeper }) : null
  const control: ControlApi = new ControlApi({
    runs: {
      ...{ pipeline, registry, book, log, sensor, tap, vet, policies, keeper, orphans },
      progressed: (how) => ingest.progressed(how),
      openSink: sinksOf({ isAgent, budget, backPressure, journal }),
      checkLauncher: launcherCheck(whereabouts),
      userOf: (caller, claimed) => (caller.uid === ROOT_UID ? claimed : userNameOf(caller.uid)),
    },
    ...{ access, watchers, baselines: new BaselinesAdmin({ access, kept, log }) },
    admin: new SandboxAdmin({ access, book, adoptions, keeper, node, log, sensor, responder }),
    vet,
  })
  // Before the first sensor is here nothing has run that could pass for the gateway.
  const vetGateway: PeerVetting = async ({ pid }) =>
    sensor() === null && config.sensorPid === null ? null : whereabouts.sandboxOf(pid)
  const watched = watchKeptParts(config, { journal, spool, clock, tell: (event) => tap(event, ROOT_UID), sensor })
  const numbers = numbersOf({ journal, spool, ...watched, pipeline, book, watchers, sensor })
  return { control, ingest, vet, vetGateway, desk, keeper, responder, numbers, faults: watched.faults }
}

/** Whoever is in a sandbox is refused, whoever it runs as. */
function vetting(
  sandboxOf: (pid: number) => Promise<string | null>,
  refused: (peer: Pick<Caller, 'pid' | 'uid'> & { sandbox: string; reason: string }) => void,
): (caller: Caller) => Promise<string | null> {
  return async ({ pid, uid }) => {
    const sandbox = await sandboxOf(pid)
    if (sandbox === null) return null
    const reason = `process ${pid} of user ${uid} is in the sandbox ${sandbox}`
    refused({ pid, uid, sandbox, reason })
    return reason
  }
}

function policySide(parts: {
  pipeline: Pipeline
  live: LiveDetection
  book: SandboxBook
  clock: BootClock
  log: Log
  node: NodePolicies
  sensor(): ConnectedSensor | null
  gateway(): GatewayDesk
  /** Something is in force, or not any more. */
  changed(): void
}): { policies: PolicyDesk; keeper: PolicyKeeper; responder: Responder } {
  const { pipeline, live, book, clock, log, node, sensor, gateway, changed } = parts
  const policies: PolicyDesk = new PolicyDesk({
    ...{ verdicts: pipeline.verdicts, log, sensor },
    names: { serve: (id, policy) => gateway().serve(id, policy), drop: (id) => gateway().drop(id) },
    onComplete() {
      gateway().complete()
      keeper.changed('the node’s policies')
    },
  })
  const keeper: PolicyKeeper = new PolicyKeeper({
    ...{ node, desk: policies, book, log, nowUnixNs: () => clock.nowUnixNs() },
    holdFound(selected) {
      sensor()?.commands.holdFound(selected, (outcome) => {
        if (!outcome.ok) log.warn({ why: outcome.problem }, 'cgroups that are found are held to their policies late')
      })
    },
    foundShut: (sandboxId, shut) => responder.found(sandboxId, shutBefore(shut)),
  })
  const hands = new ResponseHands({ book, keeper, desk: policies, sensor })
  const responder = respondTo(live, { book, desk: policies, hands, clock, log, changed })
  return { policies, keeper, responder }
}

function deskOf(parts: {
  pipeline: Pipeline
  book: SandboxBook
  clock: BootClock
  log: Log
  sensor(): ConnectedSensor | null
}): GatewayDesk {
  const { pipeline, book, clock, sensor, log } = parts
  return new GatewayDesk({
    commands: () => sensor()?.commands ?? null,
    observe(fact, instance) {
      const booked = book.byIdOf(fact.sandboxId ?? '')
      if (booked !== null) tellDns(booked.session, fact, instance)
    },
    limited(fact, instance) {
      const booked = book.byIdOf(fact.sandboxId ?? '')
      if (booked !== null) tellLimit(booked.session, fact, instance)
    },
    leased(sandboxId, { name, addresses, ttlSeconds }) {
      const booked = book.byIdOf(sandboxId)
      const told = { name: name ?? '', addresses: addresses ?? [], ttl: ttlSeconds ?? 0, toldNs: clock.bootTimeNs() }
      if (booked !== null) pipeline.verdicts.names.learn(booked.cgroupId, told)
    },
    missing(sandboxId, { isOfNames, ...missing }) {
      const booked = book.byIdOf(sandboxId)
      if (booked !== null) pipeline.gap(booked.session, { ...missing, kind: isOfNames ? 'dns' : '' })
    },
    log,
  })
}

/** What the gateway told is kept with the state that knows of it, and what the journal has is for good with it. */
function savedWith(
  saving: { now(): boolean },
  parts: readonly ({ passedOn(): { kept(): void } } | null)[],
): { now(): boolean } {
  const passedOn = parts.map((part) => part?.passedOn())
  return {
    now() {
      const isSaved = saving.now()
      if (isSaved) for (const each of passedOn) each?.kept()
      return isSaved
    },
  }
}

runRole({ name: 'engine', parse: parseEngineConfig, start: (config, host) => start(config, host.log) })

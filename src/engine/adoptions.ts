/**
 * Sandboxes whose cgroup somebody else made: each gets a session, as a run has one, that lasts as long as the cgroup is watched. Guards
 * that a path names a cgroup below the root and not one that is watched already. Not here: finding their processes (the sensor's).
 */
import { randomBytes } from 'node:crypto'
import { posix } from 'node:path'
import { SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import {
  fromBigInt,
  type IAddSandboxRequest,
  type IEvent,
  type IPolicySources,
  type ISandbox,
  type ISandboxState,
  toBigInt,
} from '../proto/codec.js'
import type { ConnectedSensor } from './ingest.js'
import type { Pipeline } from './pipeline.js'
import type { PolicyKeeper } from './policy-keeper.js'
import { identityProblem, slug } from './run-input.js'
import type { BookedSandbox, SandboxBook } from './sandbox-book.js'
import type { SandboxRegistry } from './sandbox-registry.js'
import { outcomeOf, type SensorCommands } from './sensor-commands.js'
import { bookUnread, type UnreadSession } from './unread-session.js'

const PATH_CHARS_MAX = 4_096
const ROOT_UID = 0
const ID_BYTES = 4
/** Who changes policies where nobody asked for it. */
const NODE = 'the node’s policies'
/** Told in `sandboxStarted`: nothing of ours stood between it and its first instruction. */
const ADOPTED = 'adopted: what ran in it before it was watched was not seen'

export interface AdoptionOptions {
  readonly pipeline: Pipeline
  readonly registry: SandboxRegistry
  readonly book: SandboxBook
  readonly log: Log
  /** Whatever policy a sandbox is to have. */
  readonly keeper: Pick<PolicyKeeper, 'settle' | 'hold' | 'forget'>
  sensor(): ConnectedSensor | null
  tap(event: IEvent, ownerUid: number): void
}

interface Opening {
  readonly sandbox: ISandbox
  /** New if none is given. */
  readonly sessionId?: string
  readonly cgroupId: bigint
  readonly ownerUid: number
  readonly degraded: readonly string[]
}

export class Adoptions {
  private readonly options: AdoptionOptions

  constructor(options: AdoptionOptions) {
    this.options = options
  }

  /** Rejects with USAGE for what is no such path, KERNEL where the sensor could not. */
  async add(
    request: IAddSandboxRequest,
    commands: SensorCommands,
    ownerUid: number,
  ): Promise<{ booked: BookedSandbox; processes: number }> {
    const cgroupPath = checkedPath(request.cgroupPath ?? '')
    const name = (request.name ?? '') || posix.basename(cgroupPath)
    const { agent = '', task = '', labels } = request
    const problem = identityProblem({ name, agent, task, labels: labels ?? {} })
    if (problem !== null) throw new SluiceError('USAGE', problem)
    this.refuseWatched(cgroupPath)
    const id = `${slug(name)}-${randomBytes(ID_BYTES).toString('hex')}`
    const identity = { id, name, agent: agent ?? '', task: task ?? '', labels: { ...labels } }
    const { id: sessionId, descriptor } = this.options.pipeline.plan(identity, ownerUid)
    const done = await outcomeOf((cb) => commands.adoptSandbox({ sandboxId: id, cgroupPath, descriptor }, cb))
    const place = { cgroupPath: done.cgroupPath || cgroupPath, cgroupId: fromBigInt(done.cgroupId) }
    const sandbox: ISandbox = { ...identity, ...place }
    const booked = this.open({ sandbox, sessionId, cgroupId: done.cgroupId, ownerUid, degraded: done.degraded })
    if (booked === null) {
      commands.releaseSandbox(id, () => {})
      throw new SluiceError('LIMIT', `the cgroup ${cgroupPath} has a session already, or there is no room for another`)
    }
    await this.police(booked, { sources: request.sources ?? null, by: `added by user ${ownerUid}` }, commands)
    return { booked, processes: done.processes }
  }

  /** What was asked for by name holds, or the cgroup is let go again; the node's may not, and it is watched all the same. */
  private async police(
    booked: BookedSandbox,
    { sources, by }: { sources: IPolicySources | null; by: string },
    commands: SensorCommands,
  ): Promise<void> {
    const { keeper } = this.options
    if (sources === null) {
      await keeper.hold(booked, {}, NODE).catch(() => {})
      return
    }
    try {
      await keeper.hold(booked, sources, by)
    } catch (error) {
      await outcomeOf((cb) => commands.releaseSandbox(booked.id, cb)).catch(() => {})
      booked.end(0)
      throw error
    }
  }

  private book(of: Omit<UnreadSession, 'adopted'>): BookedSandbox {
    const { id = '' } = of.session.sandbox
    return bookUnread(this.options, { ...of, adopted: true }, () => this.options.keeper.forget(id ?? '', of.cgroupId))
  }

  private open(of: Opening): BookedSandbox | null {
    const { pipeline, registry, tap } = this.options
    const { sandbox, cgroupId, ownerUid, sessionId } = of
    const cgroupPath = sandbox.cgroupPath ?? ''
    const degraded = this.degradedWith(of.degraded)
    if (!registry.add(cgroupPath)) return null
    const session = pipeline.open({
      ...{ cgroupId, sandbox, ownerUid },
      ...(sessionId === undefined ? {} : { id: sessionId }),
      started: {
        ...{ policyName: '', policyHash: '', mode: 'monitor', degraded, user: '' },
        ...{ command: [], workdir: new Uint8Array(0) },
      },
      publish: (event) => tap(event, ownerUid),
    })
    if (session === null) {
      registry.remove(cgroupPath)
      return null
    }
    return this.book({ cgroupId, session, degraded, frozen: false })
  }

  private degradedWith(own: readonly string[]): string[] {
    return [...new Set([ADOPTED, ...own, ...(this.options.sensor()?.degraded ?? [])])]
  }

  /**
   * A sensor is here and holds these: those of an earlier engine go on, those that nobody knows begin, and those that it does not hold any
   * more are over.
   */
  connected(held: readonly ISandboxState[]): void {
    const adopted = held.filter((state) => state.adopted)
    const ids = new Set(adopted.map(({ sandboxId }) => sandboxId ?? ''))
    for (const booked of this.options.book.all()) if (booked.adopted && !ids.has(booked.id)) this.gone(booked.id)
    for (const state of adopted) {
      const known = this.options.book.all().find(({ id }) => id === state.sandboxId)
      if (known !== undefined) known.frozen = state.frozen ?? false
      else if (!this.goOn(state)) this.announced(state)
    }
  }

  /** False if no earlier engine began a session for it. */
  private goOn(state: ISandboxState): boolean {
    const { pipeline, registry, tap, log } = this.options
    const waiting = pipeline.reopenedIn(toBigInt(state.cgroupId))
    if (waiting === null) return false
    const { id, ownerUid } = waiting
    registry.add(state.cgroupPath ?? '')
    const resumed = pipeline.resume(id, null, (event) => tap(event, ownerUid))
    if (resumed === null) return false
    const degraded = this.degradedWith([])
    const booked = this.book({ ...resumed, degraded, frozen: state.frozen ?? false })
    this.options.keeper.settle(booked, NODE, { isHeld: state.held ?? false })
    log.info({ sandbox: booked.id, session: id }, 'a sandbox of an earlier engine goes on')
    return true
  }

  /** The sensor has taken a cgroup under watch by itself, because its path matches what it watches for: the machine's, not a user's. */
  announced(state: ISandboxState): void {
    const cgroupPath = state.cgroupPath ?? ''
    const sandbox: ISandbox = {
      ...{ id: state.sandboxId ?? '', name: posix.basename(cgroupPath), cgroupPath, cgroupId: state.cgroupId ?? null },
      ...{ agent: '', task: '', labels: {} },
    }
    const cgroupId = toBigInt(state.cgroupId)
    const booked = this.open({ sandbox, cgroupId, ownerUid: ROOT_UID, degraded: state.degraded ?? [] })
    const { log } = this.options
    if (booked === null) log.error({ sandbox: state.sandboxId, cgroupPath }, 'no room for a sandbox that is watched')
    else {
      log.info({ sandbox: booked.id, cgroupPath, pattern: state.watch }, 'sandbox found')
      this.options.keeper.settle(booked, NODE, { isHeld: state.held ?? false })
    }
  }

  /** Its cgroup was removed. Nothing for one that is not there (any more). */
  gone(id: string): void {
    const booked = this.options.book.all().find((one) => one.id === id && one.adopted)
    booked?.end(0)
    if (booked !== undefined) this.options.log.info({ sandbox: id }, 'the cgroup of a sandbox is gone')
  }

  private refuseWatched(cgroupPath: string): void {
    const same = this.options.book.all().find(({ sandbox }) => sandbox.cgroupPath === cgroupPath)
    if (same === undefined) return
    throw new SluiceError('USAGE', `${cgroupPath} is watched already, as ${same.id}`, {
      hint: '`sluice sandboxes show` tells more',
    })
  }
}

/** Below the cgroup v2 root, or as the file system has it: the sensor knows where that is mounted. */
function checkedPath(path: string): string {
  const problem =
    path === '' || !path.startsWith('/')
      ? 'must be absolute: below the cgroup v2 root, or as the file system has it'
      : path.length > PATH_CHARS_MAX
        ? `has more than ${PATH_CHARS_MAX} characters`
        : path.includes('\0') || posix.normalize(path).split('/').includes('..')
          ? 'is not a plain path'
          : null
  if (problem !== null) throw new SluiceError('USAGE', `the cgroup's path '${path.slice(0, 256)}' ${problem}`)
  const normal = posix.normalize(path).replace(/\/+$/, '')
  if (normal === '') throw new SluiceError('USAGE', 'the root of all cgroups can not be a sandbox')
  return normal
}

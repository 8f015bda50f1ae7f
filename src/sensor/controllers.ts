/**
 * Processes, memory and CPU time of a sandbox, held by the kernel's cgroup controllers: those of cgroup v2 in the sandbox's own cgroup or, where
 * a controller is on a v1 hierarchy (a hybrid host), those in a group of the sandbox's own there, which every process of it is put into and
 * every child inherits. Guards that what a controller did not take is an error and not a limit in name only, and that a group which we made is
 * found again by its record. Not here: which limits a sandbox has, and telling that one was reached.
 */
import { existsSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { errnoCode, messageOf, SluiceError } from '../base/error.js'
import { makeFolders } from '../base/make-folders.js'
import { parseMounts, readMountinfo } from '../base/mounts.js'

export const CONTROLLERS = ['pids', 'memory', 'cpu'] as const
export type Controller = (typeof CONTROLLERS)[number]

interface Hierarchy {
  readonly version: 1 | 2
  /** Where it is mounted. */
  readonly root: string
}

/** A group on a v1 hierarchy that is the sandbox's; paths below the hierarchy's root. */
export interface ControllerGroup {
  readonly controller: Controller
  readonly path: string
  /** Where the sandbox's first process was before. */
  readonly origin: string
}

/** What is to hold; null: no limit. */
export interface ControllerLimits {
  readonly processes: number | null
  readonly memory: bigint | null
  readonly cpus: number | null
}

/** A sandbox as far as its controllers go. */
export interface Controlled {
  readonly id: string
  /** Of its cgroup, below the v2 root. */
  readonly path: string
  readonly adopted: boolean
  readonly groups: readonly ControllerGroup[]
  /** Pids of those that run now. */
  processes(): readonly number[]
}

/** How often something was refused, since the group was made. */
export interface ControllerCounts {
  readonly processes: bigint
  readonly memory: bigint
  readonly cpu: bigint
}

const PARENT = 'sluice'
const PERIOD_US = 100_000
const QUOTA_MIN_US = 1_000
/** A storm of forks can outrun one round of moving. */
const ROUNDS_MAX = 50
const REMOVE_TRIES = 20
const REMOVE_WAIT_MS = 5
const V1_NONE = '-1'
const V2_NONE = 'max'

export class Controllers {
  readonly #cgroupRoot: string
  readonly #hierarchies: ReadonlyMap<Controller, Hierarchy>
  /** Controller and cgroup. */
  readonly #touched = new Set<string>()

  constructor(cgroupRoot: string, mountinfo: string = readMountinfo()) {
    this.#cgroupRoot = cgroupRoot
    this.#hierarchies = findControllers(cgroupRoot, mountinfo)
  }

  /** Those that this machine has nowhere. */
  get missing(): Controller[] {
    return CONTROLLERS.filter((controller) => !this.#hierarchies.has(controller))
  }

  /**
   * Returns the v1 groups that are the sandbox's from now on, those that it had included: to be kept before anything else is done.
   * @throws SluiceError UNSUPPORTED for a controller that is not there.
   */
  groupsFor(of: Controlled, limits: ControllerLimits): ControllerGroup[] {
    const needed = neededFor(limits).flatMap((controller) => {
      const hierarchy = this.#find(controller)
      const has = of.groups.some((group) => group.controller === controller)
      if (hierarchy.version === 2 || has) return []
      const origin = v1PathOf(of.processes()[0] ?? 0, controller)
      const path = of.adopted ? join(origin, `${PARENT}-${of.id}`) : `/${PARENT}/${of.id}`
      return [{ controller, path, origin }]
    })
    return [...of.groups, ...needed]
  }

  /**
   * Holds the sandbox to `limits`, and to nothing else any more; what is `watched` is counted. @throws SluiceError KERNEL for what the kernel
   * did not take.
   */
  apply(of: Controlled, { limits, watched }: { limits: ControllerLimits; watched: ControllerLimits }): void {
    for (const controller of CONTROLLERS) {
      const isNeeded = neededFor(watched).includes(controller)
      if (!isNeeded && !(this.#hierarchies.has(controller) && this.#has(of, controller))) continue
      // Of a cgroup that is somebody else's, what it has is theirs unless it was us.
      const mark = `${controller} ${of.path}`
      if (!isNeeded && of.adopted && this.#find(controller).version === 2 && !this.#touched.has(mark)) continue
      this.#touched.add(mark)
      try {
        const folder = this.#prepare(of, controller)
        write(folder, settingsOf(controller, this.#find(controller).version, limits))
      } catch (error) {
        throw new SluiceError('KERNEL', `limits.${KEYS[controller]}: the kernel did not take it: ${messageOf(error)}`, {
          cause: error,
        })
      }
    }
  }

  /** Puts everything that runs in the sandbox into its v1 groups. */
  gather(of: Controlled): void {
    for (const { controller, path } of of.groups) {
      const { root } = this.#find(controller)
      for (let round = 0; round < ROUNDS_MAX; round += 1) {
        const outside = of.processes().filter((pid) => !isBelow(v1PathOf(pid, controller), path))
        if (outside.length === 0) break
        for (const pid of outside) moveTo(join(root, path), pid)
      }
    }
  }

  /** What they refused so far; of those that limit nothing 0. */
  counts(of: Controlled): ControllerCounts {
    return {
      processes: this.#count(of, 'pids', 'pids.events', 'max'),
      memory:
        this.#hierarchies.get('memory')?.version === 1
          ? this.#count(of, 'memory', 'memory.oom_control', 'oom_kill')
          : this.#count(of, 'memory', 'memory.events', 'oom_kill'),
      cpu: this.#count(of, 'cpu', 'cpu.stat', 'nr_throttled'),
    }
  }

  /** What it has now. */
  usage(of: Controlled): { processes: bigint; memory: bigint } {
    const memory = this.#hierarchies.get('memory')?.version === 1 ? 'memory.usage_in_bytes' : 'memory.current'
    return { processes: this.#number(of, 'pids', 'pids.current'), memory: this.#number(of, 'memory', memory) }
  }

  /** As it holds now, read back. */
  limitsOf(of: Controlled): ControllerLimits {
    const isV1 = (controller: Controller) => this.#hierarchies.get(controller)?.version === 1
    const pids = this.#read(of, 'pids', 'pids.max')
    const memory = this.#read(of, 'memory', isV1('memory') ? 'memory.limit_in_bytes' : 'memory.max')
    const cpu = isV1('cpu')
      ? `${this.#read(of, 'cpu', 'cpu.cfs_quota_us')} ${this.#read(of, 'cpu', 'cpu.cfs_period_us')}`
      : this.#read(of, 'cpu', 'cpu.max')
    const [quota = '', period = ''] = cpu.split(' ')
    return {
      processes: /^\d+$/.test(pids) ? Number(pids) : null,
      memory: /^\d+$/.test(memory) && BigInt(memory) < MEMORY_UNLIMITED ? BigInt(memory) : null,
      cpus: /^\d+$/.test(quota) && /^\d+$/.test(period) ? Number(quota) / Number(period) : null,
    }
  }

  /** Gives what runs in the groups back to where it came from, and removes them. False if one is still in use. */
  async release(of: Pick<Controlled, 'path' | 'groups'>): Promise<boolean> {
    for (const controller of CONTROLLERS) this.#touched.delete(`${controller} ${of.path}`)
    for (let attempt = 0; !this.releaseNow(of); attempt += 1) {
      if (attempt >= REMOVE_TRIES) return false
      await sleep(REMOVE_WAIT_MS)
    }
    return true
  }

  /** The same, without waiting for who is just ending. */
  releaseNow(of: Pick<Controlled, 'groups'>): boolean {
    let released = true
    for (const group of of.groups) {
      const hierarchy = this.#hierarchies.get(group.controller)
      if (hierarchy !== undefined) released = releaseGroup(hierarchy.root, group) && released
    }
    return released
  }

  #find(controller: Controller): Hierarchy {
    const hierarchy = this.#hierarchies.get(controller)
    if (hierarchy !== undefined) return hierarchy
    throw new SluiceError(
      'UNSUPPORTED',
      `limits.${KEYS[controller]}: no cgroup hierarchy here has the ${controller} controller`,
      {
        hint: `boot a kernel with it, or leave ${KEYS[controller]} out of the policy`,
      },
    )
  }

  #folder(of: Controlled, controller: Controller): string | null {
    const hierarchy = this.#hierarchies.get(controller)
    if (hierarchy === undefined) return null
    if (hierarchy.version === 2) return join(hierarchy.root, of.path)
    const group = of.groups.find((one) => one.controller === controller)
    return group === undefined ? null : join(hierarchy.root, group.path)
  }

  #has(of: Controlled, controller: Controller): boolean {
    const folder = this.#folder(of, controller)
    return folder !== null && existsSync(join(folder, MARKS[controller][this.#find(controller).version - 1] ?? ''))
  }

  /** The folder whose files say what holds. */
  #prepare(of: Controlled, controller: Controller): string {
    const { version } = this.#find(controller)
    const folder = this.#folder(of, controller)
    if (folder === null) throw new Error('it has no group there')
    if (version === 1) makeFolders(folder)
    else if (!this.#has(of, controller)) this.#enable(of.path, controller)
    return folder
  }

  /** In every cgroup above it, from the top. */
  #enable(path: string, controller: Controller): void {
    const above = dirname(path)
    if (above !== path) this.#enable(above, controller)
    if (path === '/') return
    writeFileSync(join(this.#cgroupRoot, above, 'cgroup.subtree_control'), `+${controller}`)
  }

  #read(of: Controlled, controller: Controller, file: string): string {
    const folder = this.#folder(of, controller)
    return folder === null ? '' : textOf(join(folder, file))
  }

  #number(of: Controlled, controller: Controller, file: string): bigint {
    const text = this.#read(of, controller, file)
    return /^\d+$/.test(text) ? BigInt(text) : 0n
  }

  #count(of: Controlled, controller: Controller, file: string, name: string): bigint {
    const line = this.#read(of, controller, file)
      .split('\n')
      .find((each) => each.startsWith(`${name} `))
    return line === undefined ? 0n : BigInt(line.slice(name.length + 1))
  }
}

const KEYS: Readonly<Record<Controller, string>> = { pids: 'processes', memory: 'memory', cpu: 'cpu' }
/** A file of each that is in every cgroup which the controller is on for, of v1 and of v2. */
const MARKS: Readonly<Record<Controller, readonly [string, string]>> = {
  pids: ['pids.max', 'pids.max'],
  memory: ['memory.limit_in_bytes', 'memory.max'],
  cpu: ['cpu.cfs_quota_us', 'cpu.max'],
}
/** What v1 calls no limit: rounded down to pages. */
const MEMORY_UNLIMITED = 1n << 62n

function findControllers(cgroupRoot: string, mountinfo: string): Map<Controller, Hierarchy> {
  const onV2 = textOf(join(cgroupRoot, 'cgroup.controllers')).split(/\s+/)
  const v1 = parseMounts(mountinfo).filter(({ fsType, root }) => fsType === 'cgroup' && root === '/')
  return new Map(
    CONTROLLERS.flatMap((controller): [Controller, Hierarchy][] => {
      if (onV2.includes(controller)) return [[controller, { version: 2, root: cgroupRoot }]]
      const mount = v1.find(({ options }) => options.includes(controller))
      return mount === undefined ? [] : [[controller, { version: 1, root: mount.path }]]
    }),
  )
}

function neededFor({ processes, memory, cpus }: ControllerLimits): Controller[] {
  const needed = { pids: processes, memory, cpu: cpus }
  return CONTROLLERS.filter((controller) => needed[controller] !== null)
}

/** Files and what is written there, in order. Those that are optional may be missing. */
function settingsOf(controller: Controller, version: 1 | 2, limits: ControllerLimits): Setting[] {
  if (controller === 'pids') return [{ file: 'pids.max', value: String(limits.processes ?? V2_NONE) }]
  if (controller === 'cpu') return cpuSettings(version, limits.cpus)
  const value = String(limits.memory ?? (version === 1 ? V1_NONE : V2_NONE))
  if (version === 1) return memoryV1(value)
  return [
    { file: 'memory.max', value },
    { file: 'memory.swap.max', value: limits.memory === null ? V2_NONE : '0', isOptional: true },
    { file: 'memory.oom.group', value: limits.memory === null ? '0' : '1' },
  ]
}

interface Setting {
  readonly file: string
  readonly value: string
  readonly isOptional?: true
}

/** Memory with swap can never be less than without: which goes first depends on whether it goes up. */
function memoryV1(value: string): Setting[] {
  const both: Setting = { file: 'memory.memsw.limit_in_bytes', value, isOptional: true }
  const only: Setting = { file: 'memory.limit_in_bytes', value }
  return value === V1_NONE ? [both, only] : [{ ...both, value: V1_NONE }, only, both]
}

function cpuSettings(version: 1 | 2, cpus: number | null): Setting[] {
  const quota = cpus === null ? null : Math.max(QUOTA_MIN_US, Math.round(cpus * PERIOD_US))
  if (version === 2) return [{ file: 'cpu.max', value: `${quota ?? V2_NONE} ${PERIOD_US}` }]
  return [
    { file: 'cpu.cfs_period_us', value: String(PERIOD_US) },
    { file: 'cpu.cfs_quota_us', value: String(quota ?? V1_NONE) },
  ]
}

function write(folder: string, settings: readonly Setting[]): void {
  for (const { file, value, isOptional } of settings) {
    const path = join(folder, file)
    if (isOptional && !existsSync(path)) continue
    writeFileSync(path, value)
  }
}

/** Below the hierarchy's root; the root itself for a process that is gone. */
function v1PathOf(pid: number, controller: Controller): string {
  const line = textOf(`/proc/${pid}/cgroup`)
    .split('\n')
    .find((each) => each.split(':')[1]?.split(',').includes(controller))
  return line?.split(':').slice(2).join(':') ?? '/'
}

function isBelow(path: string, group: string): boolean {
  return path === group || path.startsWith(`${group}/`)
}

function moveTo(folder: string, pid: number): void {
  try {
    writeFileSync(join(folder, 'cgroup.procs'), String(pid))
  } catch (error) {
    // It ended meanwhile.
    if (errnoCode(error) !== 'ESRCH') throw error
  }
}

function releaseGroup(root: string, { path, origin }: ControllerGroup): boolean {
  const folder = join(root, path)
  const back = existsSync(join(root, origin)) ? join(root, origin) : root
  for (const pid of textOf(join(folder, 'cgroup.procs')).split('\n').filter(Boolean)) moveTo(back, Number(pid))
  if (!remove(folder)) return false
  if (basename(dirname(folder)) === PARENT) remove(dirname(folder))
  return true
}

function remove(folder: string): boolean {
  try {
    rmdirSync(folder)
    return true
  } catch (error) {
    return errnoCode(error) === 'ENOENT'
  }
}

/** Empty where it can't be read. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}

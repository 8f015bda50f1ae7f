/**
 * The sandboxes of this sensor: those it made, one cgroup each, whose first process is tagged before it may run, and those it adopted,
 * whose cgroup is somebody else's and is never removed or emptied by us. Who they are to an auditor is the engine's knowledge.
 */
import { existsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf, SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'
import type { Addon, Cgroup } from '../native/addon.js'
import { ABI } from '../native/generated/abi.js'
import { killAll, moveAll, removeCgroup, removeIfEmpty } from './cgroup-release.js'
import { cgroupPathOf } from './cgroup-root.js'
import { killEscaped, livingProcesses, stopEscaped } from './escaped-tasks.js'
import { newRecord, type SandboxRecord, writeRunState } from './run-state.js'
import type { SandboxIdentity } from './sandbox-identity.js'
import { type KeptLimits, keptRecord, type LimitedSandbox, limitedBy } from './sandbox-limits.js'
import type { SandboxPolicies } from './sandbox-policies.js'
import type { TaskWalk, WalkedTask } from './task-walk.js'

/** Our own folder below the cgroup v2 root; every sandbox that we make is in it. */
export const SANDBOX_PARENT = 'sluice'
/** What `whoIs` says of a process that can't be told, or is in a sandbox of another sensor. It counts as inside. */
export const UNKNOWN_SANDBOX = 'unknown'
const SANDBOX_ID = /^[a-z0-9-]{1,64}$/
/** The parent can be removed by another run's end between our two mkdirs. */
const CREATE_TRIES = 3
const DESCRIPTOR_BYTES_MAX = 16 * 1024
/** The freezer waits for tasks that are in the middle of a system call that can't be interrupted. */
const FREEZE_DEADLINE_MS = 5_000
const FREEZE_POLL_MS = 1
/** Remembered as ordered to be left alone; then forgotten, all of them. */
const LET_GO_MAX = 4_096
/** Sandboxes that ended, kept for an engine that asks again. */
const ENDED_MAX = 1_024

interface Entry {
  readonly cgroup: Cgroup
  record: SandboxRecord
}

export interface HeldSandbox {
  readonly cgroupId: bigint
  readonly record: Readonly<SandboxRecord>
}

export interface AdoptedSandbox extends HeldSandbox {
  /** Every task that was found in it, threads included. */
  readonly tasks: readonly WalkedTask[]
}

export interface SandboxCgroupsOptions {
  addon: Addon
  identity: SandboxIdentity
  policies: SandboxPolicies
  walk: TaskWalk
  cgroupRoot: string
  /** Where the list of sandboxes is kept. */
  stateDir: string
  log: Log
}

export class SandboxCgroups {
  readonly #options: SandboxCgroupsOptions
  readonly #entries = new Map<string, Entry>()
  readonly #byCgroup = new Map<bigint, Entry>()
  /** How many processes were killed at its end, by id. */
  readonly #ended = new Map<string, number>()
  /** By cgroup id, which the kernel gives once. */
  readonly #letGo = new Set<bigint>()

  constructor(options: SandboxCgroupsOptions) {
    this.#options = options
  }

  get isEmpty(): boolean {
    return this.#entries.size === 0
  }

  /**
   * Puts the waiting process `pid` into a cgroup of its own and tags it; both are read back.
   * @throws SluiceError USAGE for a bad id or one in use, KERNEL if the kernel did not take it.
   */
  start(id: string, pid: number, { descriptor, apart }: { descriptor: Uint8Array; apart: boolean }): HeldSandbox {
    this.#checkNew(id, descriptor)
    const origin = cgroupPathOf(pid)
    if (origin === null) throw new SluiceError('KERNEL', `process ${pid} is gone; the command was not started`)
    const path = `/${SANDBOX_PARENT}/${id}`
    const cgroup = this.#create(path)
    const entry = this.#add(cgroup, { ...this.#newRecord(id, path, descriptor), origin, apart })
    try {
      limitCgroups(join(this.#options.cgroupRoot, path))
      this.#options.identity.tagFirst(cgroup.id, pid)
      cgroup.addProcess(pid)
      if (!cgroup.processes().includes(pid)) throw new Error('the process is not in its cgroup')
    } catch (error) {
      this.#remove(entry)
      throw new SluiceError('KERNEL', `process ${pid} could not be put into a sandbox: ${messageOf(error)}`, {
        cause: error,
      })
    }
    return heldBy(entry)
  }

  /**
   * Takes the cgroup at `path` (below the cgroup v2 root) with all below it and every process in them under watch. When this returns
   * each of them is ours, whatever it forked meanwhile.
   * @throws SluiceError USAGE for a cgroup that can't be one, KERNEL if the kernel did not take it: then nothing is left of it.
   */
  adopt(id: string, path: string, options: { descriptor: Uint8Array; watch?: string }): AdoptedSandbox {
    this.#checkNew(id, options.descriptor)
    this.#checkAdoptable(path)
    const { addon, cgroupRoot, identity } = this.#options
    const cgroup = openExisting(addon, join(cgroupRoot, path))
    this.#letGo.delete(cgroup.id)
    const record = { ...this.#newRecord(id, path, options.descriptor), adopted: true, watch: options.watch ?? '' }
    const entry = this.#add(cgroup, record)
    try {
      return { ...heldBy(entry), tasks: identity.take(cgroup.id, path) }
    } catch (error) {
      identity.untag(cgroup.id)
      this.#drop(entry)
      throw new SluiceError('KERNEL', `${path} could not be taken under watch: ${messageOf(error)}`, { cause: error })
    }
  }

  /**
   * Goes on with the sandboxes of an earlier sensor. One whose cgroup is gone, or is another one by now, is over: its processes,
   * wherever they are, are nobody's. Returns those.
   */
  resume(records: readonly SandboxRecord[]): SandboxRecord[] {
    const over = records.filter((record) => !this.#resume(record))
    this.#save()
    return over
  }

  #resume(record: SandboxRecord): boolean {
    const { addon, cgroupRoot, identity, log } = this.#options
    const cgroup = openIfThere(addon, join(cgroupRoot, record.path))
    if (cgroup === null || cgroup.id.toString() !== record.cgroupId) {
      cgroup?.close()
      return false
    }
    this.#index({ cgroup, record: { ...record, frozen: record.frozen && cgroup.frozen() } })
    // The kernel side may have begun anew, where pins were removed.
    if (!identity.sandboxes().has(cgroup.id)) {
      const { length } = identity.take(cgroup.id, record.path)
      log.warn(
        { sandbox: record.id, tasks: length },
        'a sandbox that the kernel had forgotten is taken under watch again',
      )
    }
    return true
  }

  /**
   * Kills what still runs in a sandbox that we made and removes it. Returns how many processes that were: the same again for one that has
   * ended, as an engine that was started again may not have heard it; of one that an earlier sensor ended nobody knows it any more.
   */
  async end(id: string): Promise<number> {
    if (!this.#entries.has(id) && this.#isGone(id)) return this.#ended.get(id) ?? 0
    const entry = this.#find(id)
    if (entry.record.adopted) {
      throw new SluiceError('USAGE', `the cgroup of sandbox ${id} is not ours to end; release it instead`)
    }
    const killed = await this.#kill(entry)
    this.#remove(entry)
    this.#ended.set(id, killed)
    for (const oldest of this.#ended.keys()) if (this.#ended.size > ENDED_MAX) this.#ended.delete(oldest)
    return killed
  }

  /** Whether any process of it is alive, in its cgroup or anywhere else. False for one that is not there. */
  isInUse(id: string): boolean {
    const cgroup = this.#entries.get(id)?.cgroup
    if (cgroup === undefined) return false
    return cgroup.populated() || livingProcesses(this.#options.walk, cgroup.id).length > 0
  }

  /** Kills every process of the sandbox, those that left its cgroup too; the sandbox stays. Returns how many there were. */
  kill(id: string): Promise<number> {
    return this.#kill(this.#find(id))
  }

  /**
   * Takes the ids off its processes, lets them go on, and gives back a cgroup that we made. One that somebody else made is not taken
   * again because of a pattern: this was an order.
   */
  async release(id: string): Promise<void> {
    const entry = this.#find(id)
    if (entry.record.frozen) await this.freeze(id, false)
    this.#release(entry)
    if (this.#letGo.size >= LET_GO_MAX) this.#letGo.clear()
    this.#letGo.add(entry.cgroup.id)
  }

  /** Whether somebody ordered that this cgroup be left alone, and nobody that it be watched after all. */
  isLetGo(cgroupId: bigint): boolean {
    return this.#letGo.has(cgroupId)
  }

  /** Returns when everything in the sandbox stands still, or goes on. What left the cgroup is stopped by signal. */
  async freeze(id: string, frozen: boolean, frozenFor = ''): Promise<void> {
    const entry = this.#find(id)
    const { identity, walk } = this.#options
    // Kept before it is so: a sensor that starts again must know that it was us.
    this.#change(entry, { frozen: true, ...(frozen ? { frozenFor } : {}) })
    entry.cgroup.freeze(frozen)
    const end = performance.now() + FREEZE_DEADLINE_MS
    while (entry.cgroup.frozen() !== frozen) {
      if (performance.now() > end) {
        throw new SluiceError(
          'KERNEL',
          `sandbox ${id} does not ${frozen ? 'stand still' : 'go on'} after ${FREEZE_DEADLINE_MS} ms`,
        )
      }
      await sleep(FREEZE_POLL_MS)
    }
    const sandbox = entry.cgroup.id
    stopEscaped(walk, { sandbox, inside: identity.cgroupsOf(sandbox), stop: frozen })
    this.#change(entry, frozen ? { frozen } : { frozen, frozenFor })
  }

  /** Id of the sandbox that a process belongs to, '' if it is in none, UNKNOWN_SANDBOX if that can't be told. */
  whoIs(pid: number): string {
    const found = this.#options.identity.ofProcess(pid)
    if (found === 'unknown') return UNKNOWN_SANDBOX
    if (found === 'none') return isAtOrBelow(cgroupPathOf(pid) ?? '', `/${SANDBOX_PARENT}`) ? UNKNOWN_SANDBOX : ''
    return this.#byCgroup.get(found.sandbox)?.record.id ?? UNKNOWN_SANDBOX
  }

  /** @throws SluiceError USAGE if there is no such sandbox. */
  cgroupIdOf(id: string): bigint {
    return this.#find(id).cgroup.id
  }

  /** Of a sandbox whose cgroup somebody else made; null for one of ours. @throws SluiceError USAGE if there is no such sandbox. */
  adoptedProcesses(id: string): ReadonlySet<number> | null {
    const { cgroup, record } = this.#find(id)
    if (!record.adopted) return null
    return new Set(this.#options.walk.list(cgroup.id).flatMap(({ pid, dead }) => (dead ? [] : [pid])))
  }

  /** As whoever launched it says. @throws SluiceError USAGE if there is no such sandbox. */
  isApart(id: string): boolean {
    return this.#find(id).record.apart
  }

  holds(cgroupId: bigint): boolean {
    return this.#byCgroup.has(cgroupId)
  }

  /** As far as its limits go; null for one that is not there. */
  limited(cgroupId: bigint): LimitedSandbox | null {
    const entry = this.#byCgroup.get(cgroupId)
    return entry === undefined ? null : limitedBy(entry.record, () => livingProcesses(this.#options.walk, cgroupId))
  }

  /** Keeps what its limits need, on disk. */
  keepLimits(cgroupId: bigint, kept: KeptLimits): void {
    const entry = this.#byCgroup.get(cgroupId)
    if (entry !== undefined) this.#change(entry, keptRecord(kept))
  }

  /** As `kill`, for one that may be gone. */
  async killAt(cgroupId: bigint): Promise<void> {
    const entry = this.#byCgroup.get(cgroupId)
    if (entry !== undefined) await this.#kill(entry)
  }

  /** Forgets adopted sandboxes whose cgroup was removed by whoever made it. Returns them. */
  dropRemoved(): HeldSandbox[] {
    const { cgroupRoot, identity } = this.#options
    const removed = [...this.#entries.values()].filter(({ cgroup, record }) => {
      return record.adopted && !isStillAt(join(cgroupRoot, record.path), cgroup.id)
    })
    const held = removed.map(heldBy)
    for (const entry of removed) {
      // Who left it before is nobody's from now on.
      identity.untag(entry.cgroup.id)
      this.#drop(entry)
    }
    return held
  }

  list(): HeldSandbox[] {
    return [...this.#entries.values()].map(heldBy)
  }

  /**
   * Gives every process back to the cgroup it came from and removes ours, but for those that `isKept`: what is left of a run whose supervisor
   * is gone. False if a cgroup is still in use: it stays in the list, for the next start's sweep.
   */
  releaseAll(isKept: (cgroupId: bigint) => boolean = () => false): boolean {
    for (const entry of [...this.#entries.values()]) {
      if (isKept(entry.cgroup.id)) continue
      if (entry.record.frozen) entry.cgroup.freeze(false)
      this.#release(entry)
    }
    removeIfEmpty(join(this.#options.cgroupRoot, SANDBOX_PARENT))
    return [...this.#entries.values()].every(({ cgroup }) => isKept(cgroup.id))
  }

  async #kill({ cgroup, record }: Entry): Promise<number> {
    const { addon, walk, cgroupRoot, log } = this.#options
    const killed = await killAll(addon, cgroup, join(cgroupRoot, record.path))
    const escaped = await killEscaped(walk, cgroup.id)
    if (escaped.left > 0) log.error({ sandbox: record.id, left: escaped.left }, 'processes that left the sandbox go on')
    return killed + escaped.killed
  }

  #release(entry: Entry): void {
    const { addon, identity, cgroupRoot, log } = this.#options
    const { id, path, origin, adopted } = entry.record
    try {
      if (!adopted) moveAll(addon, join(cgroupRoot, path), join(cgroupRoot, origin), cgroupRoot)
      identity.untag(entry.cgroup.id)
    } catch (error) {
      log.warn({ sandbox: id, error: messageOf(error) }, 'the processes of a sandbox could not be given back')
    }
    if (adopted) this.#drop(entry)
    else this.#remove(entry)
  }

  #checkNew(id: string, descriptor: Uint8Array): void {
    if (!SANDBOX_ID.test(id)) throw new SluiceError('USAGE', `sandbox id "${id}" must match ${SANDBOX_ID.source}`)
    if (this.#entries.has(id)) throw new SluiceError('USAGE', `sandbox ${id} is already running`)
    if (descriptor.length > DESCRIPTOR_BYTES_MAX) {
      throw new SluiceError('LIMIT', `the descriptor of sandbox ${id} has more than ${DESCRIPTOR_BYTES_MAX} bytes`)
    }
  }

  /** A sandbox in a sandbox would belong to two; and whoever watches or freezes itself stops. */
  #checkAdoptable(path: string): void {
    if (!/^(?:\/[^/]+)+$/.test(path) || path.split('/').some((part) => part === '.' || part === '..')) {
      throw new SluiceError('USAGE', `"${path}" must be a path below the cgroup v2 root, as in /user.slice`)
    }
    if (isAtOrBelow(path, `/${SANDBOX_PARENT}`)) {
      throw new SluiceError('USAGE', `${path} is where sluice keeps the sandboxes that it makes`)
    }
    if (isAtOrBelow(cgroupPathOf(process.pid) ?? '', path)) {
      throw new SluiceError('USAGE', `sluice itself runs in ${path}, and does not watch itself`)
    }
    for (const { record } of this.#entries.values()) {
      if (!isAtOrBelow(path, record.path) && !isAtOrBelow(record.path, path)) continue
      throw new SluiceError('USAGE', `${path} overlaps with sandbox ${record.id} at ${record.path}`)
    }
  }

  #isGone(id: string): boolean {
    return SANDBOX_ID.test(id) && !existsSync(join(this.#options.cgroupRoot, SANDBOX_PARENT, id))
  }

  #find(id: string): Entry {
    const entry = this.#entries.get(id)
    if (entry === undefined) throw new SluiceError('USAGE', `there is no sandbox ${id}`)
    return entry
  }

  #create(path: string): Cgroup {
    const { addon, cgroupRoot } = this.#options
    for (let attempt = 1; ; attempt += 1) {
      try {
        addon.openCgroup(join(cgroupRoot, SANDBOX_PARENT), { create: true }).close()
        return addon.openCgroup(join(cgroupRoot, path), { create: true })
      } catch (error) {
        if (attempt < CREATE_TRIES) continue
        throw new SluiceError('KERNEL', `cgroup ${join(cgroupRoot, path)} could not be made: ${messageOf(error)}`, {
          hint: 'the sensor needs write access to the cgroup v2 hierarchy',
          cause: error,
        })
      }
    }
  }

  #add(cgroup: Cgroup, record: SandboxRecord): Entry {
    const entry = { cgroup, record: { ...record, cgroupId: cgroup.id.toString() } }
    this.#index(entry)
    this.#save()
    return entry
  }

  #index(entry: Entry): void {
    this.#entries.set(entry.record.id, entry)
    this.#byCgroup.set(entry.cgroup.id, entry)
  }

  #newRecord(id: string, path: string, descriptor: Uint8Array): SandboxRecord {
    return newRecord({ id, path, descriptor, sinceNs: this.#options.addon.bootTimeNs() })
  }

  #change(entry: Entry, change: Partial<SandboxRecord>): void {
    entry.record = { ...entry.record, ...change }
    this.#save()
  }

  /** With its cgroup; if that is still in use the sandbox stays listed. */
  #remove(entry: Entry): void {
    this.#options.identity.forgetCgroups(entry.cgroup.id)
    if (removeCgroup(join(this.#options.cgroupRoot, entry.record.path))) this.#drop(entry)
  }

  #drop(entry: Entry): void {
    this.#options.policies.forget(entry.cgroup.id)
    entry.cgroup.close()
    this.#entries.delete(entry.record.id)
    this.#byCgroup.delete(entry.cgroup.id)
    this.#save()
  }

  #save(): void {
    writeRunState(
      this.#options.stateDir,
      [...this.#entries.values()].map((entry) => entry.record),
    )
  }
}

function heldBy({ cgroup, record }: Entry): HeldSandbox {
  return { cgroupId: cgroup.id, record }
}

/** Null: there is none. */
function openIfThere(addon: Addon, path: string): Cgroup | null {
  return existsSync(path) ? addon.openCgroup(path, { create: false }) : null
}

function openExisting(addon: Addon, path: string): Cgroup {
  try {
    return addon.openCgroup(path, { create: false })
  } catch (error) {
    throw new SluiceError('USAGE', messageOf(error), {
      hint: 'name one that is there: its folder, or what /proc/PID/cgroup has behind 0::',
      cause: error,
    })
  }
}

function isStillAt(path: string, cgroupId: bigint): boolean {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino === cgroupId
}

function isAtOrBelow(path: string, parent: string): boolean {
  return path === parent || path.startsWith(`${parent}/`)
}

/** As many as the kernel side keeps: to make more than that fails, where it would otherwise bring the sandbox into quarantine. */
function limitCgroups(path: string): void {
  writeFileSync(join(path, 'cgroup.max.descendants'), String(ABI.limits.SL_CGROUPS_BELOW_MAX))
}

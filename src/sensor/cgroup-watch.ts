/**
 * Takes cgroups under watch that others make and that match a pattern: those that are there at the start, and new ones. The kernel side
 * makes every cgroup right below a watched folder a sandbox before anything can run in it (sl_watched_cgroups); here its name is
 * looked at, and it is taken over or let go. Where a folder in between is new as well, its cgroups are found by looking.
 *
 * It looks whenever the kernel told that a cgroup was made or removed, before the watermark that lets the engine act on what happened;
 * when a watched folder changed; and once a second, should both have been missed.
 */
import { randomBytes } from 'node:crypto'
import { type FSWatcher, watch } from 'node:fs'
import { basename, join } from 'node:path'
import { messageOf } from '../base/error.js'
import type { Log } from '../base/log.js'
import { heldNames, type SelectedCgroups, wider } from './held-names.js'
import type { LossReader } from './losses.js'
import type { AdoptedSandbox, HeldSandbox, SandboxCgroups } from './sandbox-cgroups.js'
import type { SandboxIdentity, WatchedBelow } from './sandbox-identity.js'
import type { SandboxPolicies } from './sandbox-policies.js'
import { expand, type FoundFolder, levelsBelow, type WatchPattern } from './watch-patterns.js'

const LOOK_AGAIN_MS = 1_000
/** Folders that are listened to; the others are looked at once a second. */
const LISTENED_MAX = 1_024
/** Remembered, so that each is told once; then again. */
const REFUSED_MAX = 4_096
const ID_BYTES = 4
const NAME_CHARS_MAX = 48
const NO_DESCRIPTOR = new Uint8Array(0)

export interface CgroupWatchOptions {
  patterns: readonly WatchPattern[]
  cgroupRoot: string
  sandboxes: SandboxCgroups
  identity: SandboxIdentity
  policies: Pick<SandboxPolicies, 'forget' | 'holdFound'>
  losses: Pick<LossReader, 'forget'>
  /** CLOCK_BOOTTIME now. */
  bootTimeNs(): bigint
  /** One was taken under watch; `untilNs`: from before its tasks were tagged. */
  found(sandbox: AdoptedSandbox, untilNs: bigint): void
  /** Its cgroup was removed by whoever made it. */
  gone(sandbox: HeldSandbox): void
  log: Log
}

export class CgroupWatch {
  readonly #options: CgroupWatchOptions
  /** By cgroup id, as everything that a look finds. */
  readonly #listened = new Map<bigint, FSWatcher>()
  /** Folders of the latest look, and where below each a sandbox begins; null: not by depth alone. */
  #folders = new Map<bigint, WatchedBelow | null>()
  /** Null: the engine has not said it yet; what an earlier sensor held goes on being held. */
  #selected: SelectedCgroups | null = null
  /** By cgroup id: what could not be taken under watch is told once. */
  readonly #refused = new Set<bigint>()
  #timer: NodeJS.Timeout | null = null
  #soon: NodeJS.Immediate | null = null

  constructor(options: CgroupWatchOptions) {
    this.#options = options
  }

  /** What an earlier sensor watched for and this one does not is let be. */
  start(): void {
    this.look()
    this.#options.identity.watchOnly(this.#folders)
    this.#timer = setInterval(() => this.look(), LOOK_AGAIN_MS)
  }

  /** What an enforced policy is for is held from its first moment on, until it has it. When this returns it is so. */
  hold(selected: SelectedCgroups): void {
    const { policies, log } = this.#options
    const isAny = selected.all || selected.cgroups.length > 0
    this.#selected = selected
    if (isAny) policies.holdFound()
    this.look()
    if (isAny) log.info({ ...selected }, 'cgroups that an enforced policy is for are held from the start')
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    if (this.#soon !== null) clearImmediate(this.#soon)
    for (const watcher of this.#listened.values()) watcher.close()
    this.#listened.clear()
  }

  /** Looks at once. What the kernel side found is asked for first: what it finds during the look is for the next one. */
  look(): void {
    const { patterns, identity, sandboxes, gone, log } = this.#options
    this.#folders = new Map()
    try {
      const undecided = new Set(identity.foundByKernel())
      for (const sandbox of sandboxes.dropRemoved()) gone(sandbox)
      for (const pattern of patterns) {
        for (const folder of this.#matches(pattern)) {
          undecided.delete(folder.cgroupId)
          this.#take(folder, pattern)
        }
      }
      for (const cgroupId of undecided) this.#letBe(cgroupId)
      this.#forgetUnseen()
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'the cgroups to watch could not all be looked at')
    }
  }

  #matches(pattern: WatchPattern): readonly FoundFolder[] {
    const { cgroupRoot, identity, log } = this.#options
    const { matches, cut } = expand(cgroupRoot, pattern, (folder) => {
      this.#listen(folder)
      if (this.#folders.has(folder.cgroupId)) return
      const below = this.#below(folder)
      this.#folders.set(folder.cgroupId, below)
      if (below !== null) identity.watchBelow(folder.cgroupId, below)
    })
    if (cut) log.warn({ pattern: pattern.text }, 'the pattern means more cgroups than are looked at')
    return matches
  }

  #take({ path, cgroupId }: FoundFolder, pattern: WatchPattern): void {
    const { sandboxes, found, bootTimeNs, log } = this.#options
    if (sandboxes.holds(cgroupId) || sandboxes.isLetGo(cgroupId) || this.#refused.has(cgroupId)) return
    const untilNs = bootTimeNs()
    try {
      const id = `${slug(basename(path))}-${randomBytes(ID_BYTES).toString('hex')}`
      found(sandboxes.adopt(id, path, { descriptor: NO_DESCRIPTOR, watch: pattern.text }), untilNs)
    } catch (error) {
      this.#refused.add(cgroupId)
      this.#letBe(cgroupId)
      log.warn({ path, error: messageOf(error) }, 'a cgroup that matches is not taken under watch')
    }
  }

  /** By all patterns: what is written for a folder does not change from one pattern to the next. */
  #below({ path }: FoundFolder): WatchedBelow | null {
    const selected = this.#selected
    return this.#options.patterns.reduce<WatchedBelow | null>((nearest, pattern) => {
      const levels = levelsBelow(pattern, path)
      const held = selected === null ? ('as before' as const) : heldNames(pattern, path, selected)
      return nearer(nearest, levels === null ? null : { levels, held })
    }, null)
  }

  /** Nobody was told of it, so nobody is told what it lost. */
  #letBe(cgroupId: bigint): void {
    this.#options.identity.untag(cgroupId)
    this.#options.policies.forget(cgroupId)
    this.#options.losses.forget(cgroupId)
  }

  #listen({ path, cgroupId }: FoundFolder): void {
    if (this.#listened.has(cgroupId) || this.#listened.size >= LISTENED_MAX) return
    try {
      const watcher = watch(join(this.#options.cgroupRoot, path), { persistent: false }, () => this.#lookSoon())
      watcher.on('error', () => watcher.close())
      this.#listened.set(cgroupId, watcher)
    } catch {
      // No room for another one, or the folder is gone: it is looked at all the same.
    }
  }

  #forgetUnseen(): void {
    for (const [cgroupId, watcher] of this.#listened) {
      if (this.#folders.has(cgroupId)) continue
      watcher.close()
      this.#listened.delete(cgroupId)
    }
    if (this.#refused.size > REFUSED_MAX) this.#refused.clear()
  }

  #lookSoon(): void {
    this.#soon ??= setImmediate(() => {
      this.#soon = null
      this.look()
    })
  }
}

/** Of two patterns the nearer one wins: what it makes a sandbox holds whatever the other means. */
function nearer(a: WatchedBelow | null, b: WatchedBelow | null): WatchedBelow | null {
  if (a === null || b === null) return a ?? b
  if (a.levels !== b.levels) return a.levels < b.levels ? a : b
  if (a.held === 'as before' || b.held === 'as before') return a
  return { levels: a.levels, held: wider(a.held, b.held) }
}

/** What of a cgroup's name a sandbox's id may hold. */
function slug(name: string): string {
  const kept = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
  return kept.slice(0, NAME_CHARS_MAX) || 'cgroup'
}

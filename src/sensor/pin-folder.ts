/**
 * Where an agent's maps and links outlive it: `<pin folder>/<schema>/` in a BPF file system. The schema names the layout of everything
 * shared with the kernel side, so that a sensor never takes maps that it would read wrongly; what another version left stays in force beside
 * its own until that is asked to go. One sensor at a time holds the folder.
 * What is pinned there, and in which order, is not decided here.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { errnoCode, messageOf, SluiceError } from '../base/error.js'
import { makeFolders } from '../base/make-folders.js'
import type { Addon, NativeError } from '../native/addon.js'

/** Where distributions, and we, mount it. */
const BPF_FS = '/sys/fs/bpf'
const FOLDER_MODE = 0o700
const HASH_CHARS = 8
/** EACCES: a folder; EINVAL: another map, or no map, or no link. */
const NOT_SUCH_A_PIN: ReadonlySet<number> = new Set([13, 22])
/** As `pinSchema` makes them. */
const SCHEMA = /^\d+-[0-9a-f]{8}$/

export interface PinFolder {
  /** Of this schema. */
  readonly path: string
  /** Where a BPF file system had to be mounted, null if there was one. It stays. */
  readonly mounted: string | null
  names(): string[]
  remove(name: string): void
  /** Folders of other versions, whose programs still run. */
  readonly others: readonly string[]
  /** Ends these. Returns how many pins they had. */
  removeOthers(): number
  /** Removes every pin and the folders: what was pinned goes when nobody holds it any more. */
  removeAll(): void
  /** Lets others have it; the pins stay. */
  close(): void
}

/** Names without dots: the BPF file system refuses them. */
export function pinSchema(addon: Addon): string {
  const layout = createHash('sha256').update(JSON.stringify(addon.abiLayout())).digest('hex')
  return `${addon.abiVersion}-${layout.slice(0, HASH_CHARS)}`
}

/**
 * Opens the folder, makes it where it is missing, and takes its lock.
 * @throws SluiceError IO if another sensor holds it, or if somebody else has something there; UNSUPPORTED without a BPF file system.
 */
export function openPinFolder(addon: Addon, pinDir: string): PinFolder {
  const mounted = provideBpfFs(addon, pinDir)
  const schema = pinSchema(addon)
  makeFolder(pinDir)
  const lock = addon.lockFolder(pinDir)
  if (lock === null) throw new SluiceError('IO', `another sensor holds the pins in ${pinDir}`)
  try {
    const others = otherSchemas(pinDir, schema)
    const path = join(pinDir, schema)
    makeFolder(path)
    return {
      path,
      mounted,
      others,
      removeOthers: () => others.splice(0).reduce((sum, other) => sum + removeFolder(other), 0),
      names: () => readdirSync(path),
      remove: (name) => removePin(join(path, name)),
      removeAll() {
        removeFolder(path)
        removeIfUnused(pinDir)
      },
      close: () => lock.release(),
    }
  } catch (error) {
    lock.release()
    throw error
  }
}

/**
 * Removes all pins of agents that are gone, of every schema: their programs are detached. What else is in the folder stays: it may have
 * been configured to be one that others use. For a clean-up on demand.
 * @returns the folders, with how many pins each had; null if a sensor holds them.
 * @throws SluiceError USAGE for a folder that is in no BPF file system: what is in it is somebody else's.
 */
export function removeStalePins(addon: Addon, pinDir: string): { path: string; pins: number }[] | null {
  if (!existsSync(pinDir)) return []
  if (!addon.isBpfFs(pinDir)) throw new SluiceError('USAGE', `${pinDir} is not in a BPF file system`)
  const lock = addon.lockFolder(pinDir)
  if (lock === null) return null
  try {
    const ours = readdirSync(pinDir).filter((name) => SCHEMA.test(name))
    const removed = ours.map((schema) => {
      const path = join(pinDir, schema)
      return { path, pins: removeFolder(path) }
    })
    removeIfUnused(pinDir)
    return removed
  } finally {
    lock.release()
  }
}

/** What another version left must not be read as if it were ours. */
function otherSchemas(pinDir: string, schema: string): string[] {
  const others: string[] = []
  for (const name of readdirSync(pinDir)) {
    if (name === schema || removeIfUnused(join(pinDir, name))) continue
    if (SCHEMA.test(name)) {
      others.push(join(pinDir, name))
      continue
    }
    throw new SluiceError('IO', `${join(pinDir, name)} is not sluice's`, {
      hint: 'give the pins a folder of their own with agent.pinDir of the configuration',
    })
  }
  return others
}

/** Takes over a pin of the folder; throws `stalePins` for one that is not what its name says. */
export function orStale<T>(folder: string, take: () => T): T {
  try {
    return take()
  } catch (error) {
    if (NOT_SUCH_A_PIN.has((error as NativeError).errno)) throw stalePins(folder, error)
    throw error
  }
}

/** For pins that this version can't take over. */
function stalePins(path: string, cause?: unknown): SluiceError {
  return new SluiceError('IO', `${path} has pins of another version of sluice, whose programs still run`, {
    hint: 'start that version again, or end them: `sluice doctor --clean`',
    cause,
  })
}

/** The nearest folder that is there says which file system it will be. */
function provideBpfFs(addon: Addon, pinDir: string): string | null {
  let folder = pinDir
  while (!existsSync(folder)) folder = dirname(folder)
  if (addon.isBpfFs(folder)) return null
  if (!`${pinDir}/`.startsWith(`${BPF_FS}/`)) {
    throw new SluiceError('UNSUPPORTED', `${pinDir} is not in a BPF file system`, {
      hint: `leave agent.pinDir out, for ${BPF_FS}/sluice, or mount one there: mkdir -p ${dirname(pinDir)} && mount -t bpf bpf ${dirname(pinDir)}`,
    })
  }
  try {
    addon.mountBpfFs(BPF_FS)
    return BPF_FS
  } catch (error) {
    throw new SluiceError('KERNEL', `no BPF file system could be mounted at ${BPF_FS}: ${messageOf(error)}`, {
      hint: `mount it yourself: mount -t bpf bpf ${BPF_FS}`,
      cause: error,
    })
  }
}

function makeFolder(path: string): void {
  try {
    makeFolders(path, FOLDER_MODE)
  } catch (error) {
    throw new SluiceError('IO', `can't make ${path}: ${messageOf(error)}`, { cause: error })
  }
}

function removePin(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (errnoCode(error) !== 'ENOENT') throw error
  }
}

/** Links first: no program may go on without its maps' names being there to be found. Returns how many pins there were. */
function removeFolder(path: string): number {
  const names = readdirSync(path)
  for (const name of names.filter(isLinkPin)) removePin(join(path, name))
  for (const name of names.filter((each) => !isLinkPin(each))) removePin(join(path, name))
  rmdirSync(path)
  return names.length
}

/** False if it is not empty. */
function removeIfUnused(path: string): boolean {
  try {
    rmdirSync(path)
    return true
  } catch {
    return false
  }
}

const LINK = 'link_'

/** `generation` 0: of a cgroup link, whose program is replaced in place. */
export function linkPin(program: string, generation: number): string {
  return generation === 0 ? `${LINK}${program}` : `${LINK}${program}_g${generation.toString(16)}`
}

export function isLinkPin(name: string): boolean {
  return name.startsWith(LINK)
}

/** Generation of a tracing link's pin; 0 for a cgroup link. */
export function generationOf(name: string): number {
  return Number.parseInt(/_g([0-9a-f]+)$/.exec(name)?.[1] ?? '0', 16)
}

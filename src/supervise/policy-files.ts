/**
 * The policy files of a node: which there are, what they hold now, and when that changes. Guards that only what root alone may write counts, that
 * a file which is gone for a moment, as when an editor replaces it, does not take its policy along, and that what can't be read leaves
 * everything as it was. What a policy says, and whether it has mistakes, is the engine's.
 */
import {
  closeSync,
  constants,
  type FSWatcher,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  watch,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { errnoCode, reasonOf, SluiceError } from '../base/error.js'
import type { Log } from '../base/log.js'

/** As an editor or a deployment writes several. */
const SETTLE_MS = 50
/** Should nothing have been told of a change. */
const LOOK_AGAIN_MS = 2_000
/** A file must be gone for so long, unless somebody said that all is to be read anew. */
const GONE_MS = 2_000
const FILES_MAX = 1_000
const FILE_BYTES_MAX = 32 * 1024 * 1024
const POLICY_FILE = /^[^.].*\.ya?ml$/
const ROOT_UID = 0
const GROUP_OR_OTHERS_WRITE = 0o022

export interface PolicyFile {
  /** Its path. */
  readonly name: string
  readonly text: string
}

export interface PolicyFilesOptions {
  /** Files, and folders of which every .yaml and .yml counts. One that is not there has none. */
  readonly paths: readonly string[]
  readonly log: Pick<Log, 'error'>
}

/** As they are now. @throws SluiceError USAGE for what can't be read. */
export function readPolicyFiles(paths: readonly string[], log: Pick<Log, 'error'>): PolicyFiles {
  const files = new PolicyFiles({ paths, log })
  const [problem] = files.problems
  if (problem !== undefined) throw new SluiceError('USAGE', `the policies of this node: ${problem}`)
  return files
}

interface Known {
  readonly text: string
  /** Of what the text was read from. */
  readonly stamp: string
  /** By performance.now(); null: it is there. */
  goneAt: number | null
}

export class PolicyFiles {
  readonly #options: PolicyFilesOptions
  readonly #known = new Map<string, Known>()
  readonly #watchers = new Map<string, FSWatcher>()
  readonly #complained = new Set<string>()
  #timer: NodeJS.Timeout | null = null
  #settling: NodeJS.Timeout | null = null
  #onChange: (files: readonly PolicyFile[]) => void = () => {}

  constructor(options: PolicyFilesOptions) {
    this.#options = options
    this.#look(true)
  }

  get files(): PolicyFile[] {
    return [...this.#known].map(([name, { text }]) => ({ name, text })).sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** What can't be read. */
  get problems(): readonly string[] {
    return [...this.#complained]
  }

  /** `onChange`: something is different. */
  start(onChange: (files: readonly PolicyFile[]) => void): void {
    this.#onChange = onChange
    this.#listen()
    this.#timer = setInterval(() => this.#lookAndTell(), LOOK_AGAIN_MS)
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    if (this.#settling !== null) clearTimeout(this.#settling)
    for (const watcher of this.#watchers.values()) watcher.close()
    this.#watchers.clear()
  }

  /** Somebody asks for it: what is gone is gone. It is told in any case, as it may be something else that was changed. */
  reload(): void {
    this.#look(true)
    this.#onChange(this.files)
  }

  #soon(): void {
    this.#settling ??= setTimeout(() => {
      this.#settling = null
      this.#lookAndTell()
    }, SETTLE_MS)
  }

  #lookAndTell(): void {
    this.#listen()
    if (this.#look(false)) this.#onChange(this.files)
  }

  /** Whether something is different. */
  #look(isOrdered: boolean): boolean {
    const now = performance.now()
    const there = new Set<string>()
    let isChanged = false
    let isWhole = true
    for (const path of this.#options.paths) {
      const names = this.#filesAt(path)
      if (names === null) isWhole = false
      for (const name of names ?? []) there.add(name)
    }
    for (const name of there) isChanged = this.#read(name) || isChanged
    for (const [name, known] of this.#known) {
      if (there.has(name)) known.goneAt = null
      else if (isWhole) {
        known.goneAt ??= now
        if (!isOrdered && now - known.goneAt < GONE_MS) continue
        this.#known.delete(name)
        isChanged = true
      }
    }
    return isChanged
  }

  /** Null: nobody can say; then none of those that are known is gone. */
  #filesAt(path: string): string[] | null {
    try {
      if (!statSync(path).isDirectory()) return [path]
      this.#calm(path)
      const names = readdirSync(path).filter((name) => POLICY_FILE.test(name))
      if (names.length > FILES_MAX) this.#complain(path, `has more than ${FILES_MAX} policies`)
      return names
        .sort()
        .slice(0, FILES_MAX)
        .map((name) => join(path, name))
    } catch (error) {
      if (errnoCode(error) === 'ENOENT' && !this.#hasSome(path)) return []
      if (errnoCode(error) === 'ENOENT' && this.#known.has(path)) return []
      this.#complain(path, `${reasonOf(error)}; its policies stay as they were`)
      return null
    }
  }

  #hasSome(path: string): boolean {
    return [...this.#known.keys()].some((name) => name === path || dirname(name) === path)
  }

  #read(name: string): boolean {
    try {
      const stamp = stampOf(statSync(name, { bigint: true }))
      if (this.#known.get(name)?.stamp === stamp) return false
      const { text, stamp: read } = readOwn(name)
      const isNew = this.#known.get(name)?.text !== text
      this.#known.set(name, { text, stamp: read, goneAt: null })
      this.#calm(name)
      return isNew
    } catch (error) {
      const why = errnoCode(error) === undefined ? (error as Error).message : reasonOf(error)
      if (errnoCode(error) !== 'ENOENT') this.#complain(name, `${why}; it stays as it was`)
      return false
    }
  }

  #complain(path: string, why: string): void {
    const line = `${path}: ${why}`
    if (this.#complained.has(line)) return
    this.#complained.add(line)
    this.#options.log.error({ path, why }, 'a policy of the node can not be read')
  }

  #calm(path: string): void {
    for (const line of this.#complained) if (line.startsWith(`${path}: `)) this.#complained.delete(line)
  }

  /** To folders: a file that is replaced is another file. */
  #listen(): void {
    for (const path of this.#options.paths) {
      for (const folder of [path, dirname(path)]) if (!this.#watchers.has(folder)) this.#listenTo(folder)
    }
  }

  #listenTo(folder: string): void {
    try {
      if (!statSync(folder).isDirectory()) return
      const watcher = watch(folder, { persistent: false }, () => this.#soon())
      const forget = () => {
        watcher.close()
        this.#watchers.delete(folder)
      }
      watcher.on('error', forget)
      // It was removed or moved: the one that may come in its place is another one.
      watcher.on('change', (kind) => {
        if (kind === 'rename' && !isThere(folder)) forget()
      })
      this.#watchers.set(folder, watcher)
    } catch {
      // It is not there, or there is no room for another one: it is looked at all the same.
    }
  }
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}

function stampOf({
  dev,
  ino,
  size,
  mtimeNs,
  ctimeNs,
}: {
  dev: bigint
  ino: bigint
  size: bigint
  mtimeNs: bigint
  ctimeNs: bigint
}): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
}

/** Throws for what others than root may write: they would say what root enforces. */
function readOwn(path: string): { text: string; stamp: string } {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  try {
    const found = fstatSync(fd, { bigint: true })
    if (!found.isFile()) throw new Error('it is no regular file')
    if (Number(found.uid) !== ROOT_UID || (Number(found.mode) & GROUP_OR_OTHERS_WRITE) !== 0) {
      throw new Error('others than root may write it')
    }
    if (found.size > BigInt(FILE_BYTES_MAX)) throw new Error(`it has more than ${FILE_BYTES_MAX} bytes`)
    return { text: readFileSync(fd, 'utf8'), stamp: stampOf(found) }
  } finally {
    closeSync(fd)
  }
}

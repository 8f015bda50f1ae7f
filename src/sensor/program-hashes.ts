/**
 * Files whose content has a hash that a policy names. They are looked for in the usual folders of programs, and among what the policy's
 * sandboxes run; each file is read once, in the background. It guards that a file counts only if nobody but root may write it, and did not change
 * while it was read: what another user may write can be other content by the time it runs, and nothing of it need show.
 */
import { createHash } from 'node:crypto'
import type { BigIntStats } from 'node:fs'
import { constants, fstatSync } from 'node:fs'
import { type FileHandle, open, readdir } from 'node:fs/promises'
import { messageOf } from '../base/error.js'
import type { Log } from '../base/log.js'
import { fileProblem } from '../base/program-file.js'
import type { TaskWalk } from './task-walk.js'

const FOLDERS = [
  ...['/usr/local/sbin', '/usr/local/bin', '/usr/local/libexec', '/usr/sbin', '/usr/bin', '/sbin', '/bin'],
  ...['/usr/libexec', '/usr/lib/git-core', '/usr/libexec/git-core', '/opt/bin'],
]
const FOLDERS_EVERY_MS = 30_000
/** Of one folder. */
const NAMES_MAX = 16_384
/** Of one sandbox, each time. */
const PROCESSES_MAX = 1_024
const BYTES_MAX = 512n * 1024n * 1024n
const CHUNK_BYTES = 1024 * 1024
/** Files whose hash is remembered. */
const STAMPS_MAX = 65_536
/** Of one hash: the latest files that have it. */
const FILES_MAX = 64
/** A hash that nobody asked for in this while is not looked for. */
const WANTED_MS = 10_000
const EXECUTABLE = 0o111

export interface HashedProgram {
  /** As sl_program. */
  readonly file: Buffer
}

interface Place {
  readonly sandbox: bigint
  /** Stands for /; null: it can't be told. */
  readonly root: string | null
}

interface Wanted {
  readonly found: Map<string, HashedProgram>
  readonly places: Map<string, Place>
  askedMs: number
}

export class ProgramHashes {
  readonly #walk: Pick<TaskWalk, 'openPrograms' | 'list'>
  readonly #found: () => void
  readonly #log: Log
  readonly #wanted = new Map<string, Wanted>()
  /** Of files that were read, by what they were then. */
  readonly #hashes = new Map<string, string>()
  /** When each root's folders were looked through. */
  readonly #looked = new Map<string, number>()
  #isBusy = false
  #isOver = false

  /** @param options.found is told when a hash has another file */
  constructor(options: { walk: Pick<TaskWalk, 'openPrograms' | 'list'>; found(): void; log: Log }) {
    this.#walk = options.walk
    this.#found = options.found
    this.#log = options.log
  }

  /** Files that are known to have the hash, whoever asked; and begins to look for more. To be asked for as long as it is wanted. */
  want(sha256: string, place: Place): readonly HashedProgram[] {
    const wanted = this.#wanted.get(sha256) ?? { found: new Map(), places: new Map(), askedMs: 0 }
    this.#wanted.set(sha256, wanted)
    wanted.places.set(`${place.sandbox} ${place.root}`, place)
    wanted.askedMs = performance.now()
    if (!this.#isBusy && !this.#isOver) void this.#pass()
    return [...wanted.found.values()]
  }

  stop(): void {
    this.#isOver = true
  }

  async #pass(): Promise<void> {
    this.#isBusy = true
    // Behind what asks for several at once.
    await new Promise(setImmediate)
    try {
      this.#forgetUnwanted()
      const places = [...this.#wanted.values()].flatMap((wanted) => [...wanted.places.values()])
      for (const sandbox of new Set(places.map((place) => place.sandbox))) await this.#runningIn(sandbox)
      for (const root of new Set(places.flatMap((place) => place.root ?? []))) await this.#foldersOf(root)
    } catch (error) {
      this.#log.debug({ error: messageOf(error) }, 'programs could not be looked for by their hashes')
    }
    this.#isBusy = false
  }

  #forgetUnwanted(): void {
    const since = performance.now() - WANTED_MS
    for (const [sha256, { askedMs }] of this.#wanted) if (askedMs < since) this.#wanted.delete(sha256)
    for (const root of this.#looked.keys()) {
      const isAsked = [...this.#wanted.values()].some(({ places }) =>
        [...places.values()].some((each) => each.root === root),
      )
      if (!isAsked) this.#looked.delete(root)
    }
  }

  async #runningIn(sandbox: bigint): Promise<void> {
    if (this.#isOver) return
    const pids = new Set(this.#walk.list(sandbox).map(({ pid }) => pid))
    for (const pid of [...pids].slice(0, PROCESSES_MAX)) await this.#consider(`/proc/${pid}/exe`)
  }

  async #foldersOf(root: string): Promise<void> {
    const last = this.#looked.get(root)
    if (last !== undefined && performance.now() - last < FOLDERS_EVERY_MS) return
    this.#looked.set(root, performance.now())
    for (const folder of FOLDERS) {
      const names = await readdir(`${root}${folder}`).catch(() => [])
      for (const name of names.slice(0, NAMES_MAX)) await this.#consider(`${root}${folder}/${name}`)
    }
  }

  async #consider(path: string): Promise<void> {
    if (this.#isOver) return
    const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => null)
    if (handle === null) return
    try {
      const before = await handle.stat({ bigint: true })
      if (!isFit(handle, before)) return
      const stamp = stampOf(before)
      const sha256 = this.#hashes.get(stamp) ?? (await hashOf(handle))
      if (stampOf(await handle.stat({ bigint: true })) !== stamp) return
      this.#remember(stamp, sha256)
      this.#keep(sha256, handle)
    } finally {
      await handle.close()
    }
  }

  #remember(stamp: string, sha256: string): void {
    if (this.#hashes.size >= STAMPS_MAX) this.#hashes.clear()
    this.#hashes.set(stamp, sha256)
  }

  #keep(sha256: string, { fd }: FileHandle): void {
    const wanted = this.#wanted.get(sha256)
    if (wanted === undefined || this.#isOver) return
    const file = this.#walk.openPrograms().get(fd)
    if (file === undefined || wanted.found.has(file.toString('hex'))) return
    wanted.found.set(file.toString('hex'), { file })
    for (const oldest of wanted.found.keys()) if (wanted.found.size > FILES_MAX) wanted.found.delete(oldest)
    this.#found()
  }
}

function isFit({ fd }: FileHandle, { mode, size }: BigIntStats): boolean {
  return (Number(mode) & EXECUTABLE) !== 0 && size <= BYTES_MAX && fileProblem(fstatSync(fd), '') === null
}

function stampOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
}

async function hashOf(handle: FileHandle): Promise<string> {
  const hash = createHash('sha256')
  const chunk = Buffer.alloc(CHUNK_BYTES)
  for (let at = 0; ; ) {
    const { bytesRead } = await handle.read(chunk, 0, chunk.length, at)
    if (bytesRead === 0) return hash.digest('hex')
    hash.update(chunk.subarray(0, bytesRead))
    at += bytesRead
  }
}

/**
 * Which files the programs are that policies name, in the kernel's map (bpf/policy_abi.h, sl_programs). Guards that a file is meant only
 * once it is known: of a path, what is there now, as far as root alone can put something else there (program-file.ts); of a hash, a file of
 * root's whose content has it (program-hashes.ts). A path is looked at again every second: what was put in its place is no
 * program until then. What an earlier file at a path was goes on for who runs it already. How a process is known by its file is the kernel
 * side's (bpf/program.bpf.h).
 */
import { closeSync, statSync } from 'node:fs'
import type { Log } from '../base/log.js'
import { openProgramFile } from '../base/program-file.js'
import type { BpfObject } from '../native/addon.js'
import { ABI } from '../native/generated/abi.js'
import type { ICompiledPolicy } from '../proto/codec.js'
import { programKey } from './policy-values.js'
import { type HashedProgram, ProgramHashes } from './program-hashes.js'
import { ProgramRoot } from './program-root.js'
import { type NamedProgram, ProgramSets } from './program-sets.js'
import type { TaskWalk } from './task-walk.js'

const LOOK_MS = 1_000
/** A hook that has read which policy it is must still find its programs. */
const RETIRE_MS = 1_000
/** Of one name: the latest files that it was. */
const FILES_MAX = 8

interface Held {
  readonly sandbox: bigint
  readonly programs: readonly NamedProgram[]
  readonly root: ProgramRoot
  /** By name: what was there when it was last looked at, the files as the kernel has them, and what was wrong with it. */
  readonly names: Map<string, { stamp: string; files: Buffer[]; problem: string | null }>
}

export interface PolicyProgramsOptions {
  /** The core object, loaded. */
  object: BpfObject
  walk: Pick<TaskWalk, 'openPrograms' | 'list'>
  log: Log
}

export class PolicyPrograms {
  readonly #object: BpfObject
  readonly #walk: PolicyProgramsOptions['walk']
  readonly #log: Log
  readonly #hashes: ProgramHashes
  readonly #held = new Map<number, Held>()
  #looking: NodeJS.Timeout | null = null

  constructor({ object, walk, log }: PolicyProgramsOptions) {
    this.#object = object
    this.#walk = walk
    this.#log = log
    this.#hashes = new ProgramHashes({ walk, found: () => this.#look(), log })
  }

  /**
   * Makes the policy's programs known, before it decides anything; one that an earlier sensor made known too, for which more may be.
   * @throws SluiceError USAGE, NativeError where there is no room: then nothing of it is left
   */
  write(generation: number, sandbox: bigint, policy: ICompiledPolicy): void {
    const sets = ProgramSets.of(policy)
    if (sets.isEmpty) return
    const root = ProgramRoot.of(this.#walk.list(sandbox))
    const held = { sandbox, programs: sets.programs(), root, names: new Map() }
    this.#held.set(generation, held)
    try {
      this.#lookAt(generation, held)
    } catch (error) {
      this.remove(generation)
      throw error
    }
    this.#lookLater()
  }

  /** What keeps programs of the policy from being known, a sentence each. */
  problems(generation: number): string[] {
    return [...(this.#held.get(generation)?.names.values() ?? [])].flatMap(({ problem }) => problem ?? [])
  }

  remove(generation: number): void {
    const held = this.#held.get(generation)
    if (held === undefined) return
    this.#held.delete(generation)
    held.root.close()
    this.#deleteAll((each) => each === generation)
  }

  /** Another policy decides by now. */
  retire(generation: number): void {
    if (!this.#held.has(generation)) return
    setTimeout(() => this.#quietly(() => this.remove(generation)), RETIRE_MS).unref()
  }

  removeAllBut(generations: ReadonlySet<number>): void {
    for (const generation of [...this.#held.keys()]) if (!generations.has(generation)) this.remove(generation)
    this.#deleteAll((generation) => !generations.has(generation))
  }

  stop(): void {
    if (this.#looking !== null) clearInterval(this.#looking)
    this.#hashes.stop()
    for (const { root } of this.#held.values()) root.close()
    this.#held.clear()
  }

  #lookLater(): void {
    this.#looking ??= setInterval(() => {
      this.#quietly(() => this.#look())
      if (this.#held.size > 0 || this.#looking === null) return
      clearInterval(this.#looking)
      this.#looking = null
    }, LOOK_MS).unref()
  }

  #look(): void {
    for (const [generation, held] of this.#held) this.#lookAt(generation, held)
  }

  #lookAt(generation: number, held: Held): void {
    for (const program of held.programs) {
      if (program.path !== '') this.#lookAtPath(generation, held, program)
      else this.#lookAtHash(generation, held, program)
    }
  }

  #lookAtPath(generation: number, held: Held, program: NamedProgram): void {
    const { path } = program
    const root = held.root.path
    const stamp = root === null ? 'no root' : stampOf(`${root}${path}`)
    const before = held.names.get(path)
    if (before?.stamp === stamp) return
    const found = root === null ? { fd: null, problem: held.root.problem } : openProgramFile(root, path)
    const file = found.fd === null ? null : this.#identify(found.fd)
    const problem = found.fd === null ? found.problem : file === null ? unknowable(path) : null
    if (problem !== null && problem !== before?.problem)
      this.#log.warn({ problem }, 'a program that a policy names is not known')
    if (file !== null) this.#name(generation, program, file)
    // Whose word it was can't be told any more.
    else if (problem !== null) for (const each of before?.files ?? []) this.#unname(generation, program, each)
    const earlier = problem === null ? (before?.files ?? []) : []
    const files = file === null ? earlier : [...earlier.filter((each) => !each.equals(file)), file]
    for (const each of files.slice(0, -FILES_MAX)) this.#unname(generation, program, each)
    held.names.set(path, { stamp, files: files.slice(-FILES_MAX), problem })
  }

  #lookAtHash(generation: number, held: Held, program: NamedProgram): void {
    const wanted = this.#hashes.want(program.sha256, { sandbox: held.sandbox, root: held.root.path })
    const before = held.names.get(program.sha256)?.files ?? []
    const fresh = wanted.filter(({ file }: HashedProgram) => !before.some((each) => each.equals(file)))
    for (const { file } of fresh) this.#name(generation, program, file)
    held.names.set(program.sha256, { stamp: '', files: [...before, ...fresh.map(({ file }) => file)], problem: null })
  }

  /** As the kernel knows it; null: it is none that could be told for certain. Closes the descriptor. */
  #identify(fd: number): Buffer | null {
    try {
      return this.#walk.openPrograms().get(fd) ?? null
    } finally {
      closeSync(fd)
    }
  }

  #name(generation: number, { in: places }: NamedProgram, file: Buffer): void {
    for (const { set, rule } of places) {
      const number = Buffer.alloc(4)
      number.writeUInt32LE(rule)
      this.#object.update('sl_programs', programKey(generation, set, file), number)
    }
  }

  #unname(generation: number, { in: places }: NamedProgram, file: Buffer): void {
    for (const { set } of places) this.#object.delete('sl_programs', programKey(generation, set, file))
  }

  #deleteAll(isOver: (generation: number) => boolean): void {
    const at = ABI.structs.sl_program_key.fields.generation
    for (const key of this.#object.keys('sl_programs')) {
      if (isOver(key.readUInt32LE(at))) this.#object.delete('sl_programs', key)
    }
  }

  #quietly(body: () => void): void {
    try {
      body()
    } catch (error) {
      // A map that is closed by now is the next sensor's; anything else leaves programs unknown, which denies.
      this.#log.debug({ error: (error as Error).message }, 'programs of policies could not be looked at')
    }
  }
}

function unknowable(path: string): string {
  return `${path} is on a file system where a process makes up what is there (FUSE, a mount of a user namespace)`
}

/** Changes whenever something else is there; what it says is not believed. */
function stampOf(path: string): string {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs, uid, mode } = statSync(path, { bigint: true })
    return [dev, ino, size, mtimeNs, ctimeNs, uid, mode].join(' ')
  } catch {
    return 'nothing'
  }
}

/**
 * The programs that a policy's rules are for, as numbered sets: a range or a lease names a set, and sl_programs has the files of each. It
 * guards that the same policy has the same numbers wherever they are asked for. Which file a program is now is policy-programs.ts's.
 */
import { SluiceError } from '../base/error.js'
import type { IBinary, ICompiledPolicy } from '../proto/codec.js'
import { netsForPrograms } from '../proto/policy-bytes.js'

/** Of one policy. */
const SETS_MAX = 4_096
const PROGRAMS_MAX = 4_096
const SHA256_BYTES = 32

/** A program as a rule names it. */
export interface NamedProgram {
  /** Or empty: by hash. */
  readonly path: string
  /** In hex, or empty. */
  readonly sha256: string
  /** Of these sets, each with the rule that names it there; 0: the rule that has the set. */
  readonly in: readonly { readonly set: number; readonly rule: number }[]
}

export class ProgramSets {
  readonly #numbers = new Map<string, number>()
  readonly #programs = new Map<string, { path: string; sha256: string; in: { set: number; rule: number }[] }>()

  /** @throws SluiceError USAGE for what is no program, LIMIT for too many. */
  static of(policy: ICompiledPolicy): ProgramSets {
    const sets = new ProgramSets()
    for (const { ports } of netsForPrograms(policy)) for (const { binaries } of ports ?? []) sets.#add(binaries)
    for (const { binaries } of policy.hosts ?? []) sets.#add(binaries)
    return sets
  }

  /** Of one that the policy has; 0: none, which is every program. */
  numberOf(binaries: readonly IBinary[] | null | undefined): number {
    if (binaries == null || binaries.length === 0) return 0
    const number = this.#numbers.get(keyOf(binaries))
    if (number === undefined) throw new Error('a set of programs that its policy does not have')
    return number
  }

  programs(): NamedProgram[] {
    return [...this.#programs.values()]
  }

  get isEmpty(): boolean {
    return this.#numbers.size === 0
  }

  #add(binaries: readonly IBinary[] | null | undefined): void {
    if (binaries == null || binaries.length === 0) return
    const key = keyOf(binaries)
    if (this.#numbers.has(key)) return
    const set = this.#numbers.size + 1
    this.#numbers.set(key, set)
    for (const binary of binaries) this.#name(binary, set)
    if (this.#numbers.size > SETS_MAX || this.#programs.size > PROGRAMS_MAX) {
      throw new SluiceError('LIMIT', `the policy names more than ${PROGRAMS_MAX} programs, or sets of them (binary)`)
    }
  }

  #name(binary: IBinary, set: number): void {
    const path = binary.path ?? ''
    const sha256 = Buffer.from(binary.sha256 ?? []).toString('hex')
    if (!path.startsWith('/') && sha256.length !== 2 * SHA256_BYTES) {
      throw new SluiceError('USAGE', 'binary: a program is named by a path that begins with /, or by a SHA-256')
    }
    const known = this.#programs.get(path || sha256) ?? { path, sha256, in: [] }
    known.in.push({ set, rule: binary.rule ?? 0 })
    this.#programs.set(path || sha256, known)
  }
}

function keyOf(binaries: readonly IBinary[]): string {
  return JSON.stringify(
    binaries.map(({ path, sha256, rule }) => [path ?? '', Buffer.from(sha256 ?? []).toString('hex'), rule ?? 0]),
  )
}

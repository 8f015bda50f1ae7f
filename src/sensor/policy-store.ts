/**
 * The policies of sandboxes on disk: what a sensor that is started again measures leases by, and what an engine that is tells verdicts by.
 * Guards that a policy is here before the kernel holds a sandbox to it, that each is kept once however many have it, and that nothing
 * stays of sandboxes that are gone. What decides is the kernel's map, never a file.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { messageOf } from '../base/error.js'
import type { Log } from '../base/log.js'
import { makeFolders } from '../base/make-folders.js'
import type { ICompiledPolicy } from '../proto/codec.js'
import { policyBytes, policyOf } from '../proto/policy-bytes.js'

/** Of one sandbox: verdicts of earlier ones may still be under way. */
const GENERATIONS_KEPT = 4
const ORIGIN_BYTES_MAX = 4 * 1024 * 1024
const FILE_MODE = 0o600
const SHA256 = /^[0-9a-f]{64}$/
const HOLDER = /^(\d+)\.json$/

const holderSchema = z.array(
  z.object({ generation: z.int().positive(), key: z.string().regex(SHA256), origin: z.base64() }),
)

/** In the folder of a run, or of an agent. */
export const POLICIES_FOLDER = 'policies'

/** Whether the file says what a sandbox has. */
export function isHolder(name: string): boolean {
  return HOLDER.test(name)
}

export interface StoredPolicy {
  readonly generation: number
  /** Names the file with the policy. */
  readonly key: string
  readonly origin: Buffer
}

export class PolicyStore {
  readonly #folder: string
  readonly #log: Log
  /** By sandbox, the latest last. */
  readonly #holders = new Map<bigint, readonly StoredPolicy[]>()
  /** How often each policy's file is named there. */
  readonly #uses = new Map<string, number>()

  /** Finds what an earlier sensor kept there. @throws SluiceError IO for a folder that can't be made. */
  constructor(folder: string, log: Log) {
    this.#folder = folder
    this.#log = log
    makeFolders(folder, 0o700)
    for (const name of readdirSync(folder)) {
      const sandbox = HOLDER.exec(name)?.[1]
      if (sandbox !== undefined) this.#load(BigInt(sandbox), name)
    }
  }

  /** Before the kernel has it. */
  keep(
    sandbox: bigint,
    { policy, generation, origin }: { policy: ICompiledPolicy; generation: number; origin: Uint8Array },
  ): void {
    if (origin.length > ORIGIN_BYTES_MAX)
      throw new Error(`the origin of a policy has more than ${ORIGIN_BYTES_MAX} bytes`)
    const before = (this.#holders.get(sandbox) ?? []).filter((one) => one.generation < generation)
    const stored = { generation, key: this.#write(policy), origin: Buffer.from(origin) }
    this.#set(sandbox, [...before, stored].slice(-GENERATIONS_KEPT))
  }

  /** What came later did not get to the kernel. */
  keepUpTo(sandbox: bigint, generation: number): void {
    this.#set(
      sandbox,
      (this.#holders.get(sandbox) ?? []).filter((one) => one.generation <= generation),
    )
  }

  /** Of one sandbox, the latest last. */
  of(sandbox: bigint): readonly StoredPolicy[] {
    return this.#holders.get(sandbox) ?? []
  }

  /** Null for one that can't be read. */
  bytes({ key }: StoredPolicy): Buffer | null {
    try {
      return readFileSync(this.#policyFile(key))
    } catch (error) {
      this.#log.error({ error: messageOf(error) }, 'a policy that is kept can not be read')
      return null
    }
  }

  policy(stored: StoredPolicy): ICompiledPolicy | null {
    const bytes = this.bytes(stored)
    try {
      return bytes === null ? null : policyOf(bytes)
    } catch (error) {
      this.#log.error({ error: messageOf(error) }, 'a policy that is kept can not be understood')
      return null
    }
  }

  forget(sandbox: bigint): void {
    this.#set(sandbox, [])
  }

  forgetAllBut(sandboxes: ReadonlySet<bigint>): void {
    for (const sandbox of [...this.#holders.keys()]) if (!sandboxes.has(sandbox)) this.forget(sandbox)
    for (const name of readdirSync(this.#folder)) {
      if (!HOLDER.test(name) && !this.#uses.has(name)) rmSync(join(this.#folder, name), { force: true })
    }
  }

  #load(sandbox: bigint, name: string): void {
    try {
      const found = holderSchema.parse(JSON.parse(readFileSync(join(this.#folder, name), 'utf8')))
      const policies = found.map(({ origin, ...rest }) => ({ ...rest, origin: Buffer.from(origin, 'base64') }))
      this.#holders.set(sandbox, policies)
      for (const { key } of policies) this.#uses.set(key, (this.#uses.get(key) ?? 0) + 1)
    } catch (error) {
      this.#log.error({ error: messageOf(error) }, 'what is kept of a sandbox’s policy can not be understood')
    }
  }

  /** A digest is the engine's, which has made sure of it. */
  #write(policy: ICompiledPolicy): string {
    const { digest } = policy
    if (typeof digest === 'string' && SHA256.test(digest) && this.#uses.has(digest)) return digest
    const bytes = policyBytes(policy)
    const key = digest && SHA256.test(digest) ? digest : createHash('sha256').update(bytes).digest('hex')
    this.#replace(this.#policyFile(key), bytes)
    return key
  }

  #set(sandbox: bigint, policies: readonly StoredPolicy[]): void {
    const before = this.#holders.get(sandbox) ?? []
    const file = join(this.#folder, `${sandbox}.json`)
    if (policies.length > 0) {
      const told = policies.map(({ origin, ...rest }) => ({ ...rest, origin: origin.toString('base64') }))
      this.#replace(file, JSON.stringify(told))
      this.#holders.set(sandbox, policies)
    } else {
      rmSync(file, { force: true })
      this.#holders.delete(sandbox)
    }
    for (const { key } of policies) this.#uses.set(key, (this.#uses.get(key) ?? 0) + 1)
    for (const { key } of before) this.#drop(key)
  }

  #drop(key: string): void {
    const uses = (this.#uses.get(key) ?? 1) - 1
    if (uses > 0) this.#uses.set(key, uses)
    else {
      this.#uses.delete(key)
      rmSync(this.#policyFile(key), { force: true })
    }
  }

  #policyFile(key: string): string {
    return join(this.#folder, key)
  }

  #replace(file: string, content: string | Buffer): void {
    writeFileSync(`${file}.new`, content, { mode: FILE_MODE })
    renameSync(`${file}.new`, file)
  }
}

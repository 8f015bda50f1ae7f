/**
 * Policies on their way to one sensor, or one gateway: the same one for many sandboxes goes there once, the others name it. Guards that one
 * which does not know it any more is sent it whole, and that this never puts an earlier policy of a sandbox in a later one's place.
 */
import { createHash } from 'node:crypto'
import type { ICompiledPolicy } from '../proto/codec.js'
import { policyBytes } from '../proto/policy-bytes.js'
import type { CommandDone, CommandFailed } from './command-outcome.js'
import { PART_BYTES, type SendPart, uploadPolicy } from './policy-upload.js'

/** Names that are remembered; then all are forgotten, and sent once more. */
const NAMES_MAX = 4_096

/** Of one that the sensor says it does not know. */
const TRIES_MAX = 2

type Outcome<D> = D | CommandFailed

interface Try<D> {
  /** Is still the sandbox's newest. */
  readonly order: object
  finish(outcome: Outcome<D>): void
  readonly triesLeft: number
}

export interface ApplyTarget {
  readonly sandboxId: string
  /** Null: no policy. */
  readonly policy: ICompiledPolicy | null
  /** Kept with it, for another engine. */
  readonly origin?: Uint8Array
}

/** As the sensor is told. */
export interface NamedApply extends ApplyTarget {
  readonly content?: Uint8Array
}

export interface PolicySenderOptions<D> {
  apply(apply: NamedApply, done: (outcome: Outcome<D>) => void): void
  readonly part: SendPart<D>
}

interface Encoded {
  readonly bytes: Buffer
  readonly content: Buffer
}

const OVERTAKEN: CommandFailed = { ok: false, problem: 'another policy took its place' }

/** `D`: what comes of one that is applied. */
export class PolicySender<D extends { readonly ok: true } = CommandDone> {
  private readonly options: PolicySenderOptions<D>
  /** By object: nobody changes a policy once it is compiled. */
  private readonly encodings = new WeakMap<ICompiledPolicy, Encoded>()
  /** That some sandbox of the sensor's has, or will have when what is underway is there; each by the order that it went there with. */
  private readonly taken = new Map<string, object>()
  private readonly newest = new Map<string, object>()
  /** What waits for a policy that is on its way in parts. */
  private readonly uploading = new Map<string, (() => void)[]>()

  constructor(options: PolicySenderOptions<D>) {
    this.options = options
  }

  apply(target: ApplyTarget, done: (outcome: Outcome<D>) => void): void {
    const { sandboxId, policy } = target
    const order = {}
    this.newest.set(sandboxId, order)
    const finish = (outcome: Outcome<D>) => {
      if (this.newest.get(sandboxId) === order) this.newest.delete(sandboxId)
      done(outcome)
    }
    if (policy === null) {
      this.options.apply(target, finish)
      return
    }
    this.send({ ...target, content: this.encoded(policy).content }, policy, { order, finish, triesLeft: TRIES_MAX })
  }

  private send(named: NamedApply & { content: Buffer }, policy: ICompiledPolicy, attempt: Try<D>): void {
    const { order, finish, triesLeft } = attempt
    const name = named.content.toString('base64')
    const { bytes } = this.encoded(policy)
    const sent = this.taken.get(name)
    const by = sent ?? this.remember(name, order)
    const apply = (whole: ICompiledPolicy | null) =>
      this.options.apply({ ...named, policy: whole }, (outcome) => {
        if (!outcome.ok && this.taken.get(name) === by) this.taken.delete(name)
        if (outcome.ok || outcome.unknownContent !== true || triesLeft === 0) finish(outcome)
        else if (this.newest.get(named.sandboxId) !== order) finish(OVERTAKEN)
        else this.send(named, policy, { order, finish, triesLeft: triesLeft - 1 })
      })
    // Commands are carried out in order: what is underway is there before what names it.
    if (sent === undefined && bytes.length <= PART_BYTES) apply(policy)
    else if (sent === undefined) this.upload({ name, content: named.content, bytes }, () => apply(null))
    else if (this.uploading.has(name)) this.uploading.get(name)?.push(() => apply(null))
    else apply(null)
  }

  /** Whatever comes of it: the sensor says what it knows. */
  private upload(
    { name, ...policy }: { name: string; content: Uint8Array; bytes: Uint8Array },
    then: () => void,
  ): void {
    this.uploading.set(name, [then])
    uploadPolicy(policy, this.options.part, () => {
      const waiting = this.uploading.get(name) ?? []
      this.uploading.delete(name)
      for (const each of waiting) each()
    })
  }

  private encoded(policy: ICompiledPolicy): Encoded {
    const known = this.encodings.get(policy)
    if (known !== undefined) return known
    const bytes = policyBytes(policy)
    const encoded = { bytes, content: createHash('sha256').update(bytes).digest() }
    this.encodings.set(policy, encoded)
    return encoded
  }

  private remember(name: string, order: object): object {
    if (this.taken.size >= NAMES_MAX) this.taken.clear()
    this.taken.set(name, order)
    return order
  }
}

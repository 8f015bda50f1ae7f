/**
 * The Unix sockets that policies allow, as the kernel side looks them up: by the policy's generation and the name. Guards that a policy's
 * names are there before it decides anything, and gone a while after it does no more. What else may be connected to is the kernel
 * side's (bpf/unix.bpf.c).
 */
import { SluiceError } from '../base/error.js'
import type { BpfObject } from '../native/addon.js'
import { ABI } from '../native/generated/abi.js'
import type { IUnixRule } from '../proto/codec.js'

/** One policy's share of the map. */
const RULES_MAX = 4_096
const NAME_MAX = ABI.limits.SL_UNIX_NAME_MAX
/** A hook that has read which policy it is must still find its names. */
const RETIRE_MS = 1_000
const AT_SIGN = 0x40
const SLASH = 0x2f

export class PolicyUnix {
  readonly #object: BpfObject
  readonly #keys = new Map<number, Buffer[]>()

  /** With what an earlier sensor left. @param object the core object, loaded */
  constructor(object: BpfObject) {
    this.#object = object
    for (const key of object.keys('sl_unix_rules')) this.#keep(key)
  }

  /** @throws SluiceError USAGE, or NativeError where there is no room: then nothing of it is left */
  write(generation: number, rules: readonly IUnixRule[]): void {
    if (rules.length > RULES_MAX) {
      throw new SluiceError('LIMIT', `the policy names ${rules.length} Unix sockets, more than ${RULES_MAX}`)
    }
    const entries = rules.map(({ path, rule }) => ({ key: unixKey(generation, path ?? new Uint8Array()), rule }))
    try {
      for (const { key, rule } of entries) {
        const number = Buffer.alloc(4)
        number.writeUInt32LE(rule ?? 0)
        this.#object.update('sl_unix_rules', key, number)
        this.#keep(key)
      }
    } catch (error) {
      this.remove(generation)
      throw error
    }
  }

  remove(generation: number): void {
    for (const key of this.#keys.get(generation) ?? []) this.#object.delete('sl_unix_rules', key)
    this.#keys.delete(generation)
  }

  /** Another policy decides by now. */
  retire(generation: number): void {
    if (!this.#keys.has(generation)) return
    setTimeout(() => {
      try {
        this.remove(generation)
      } catch {
        // The object is closed by now: what is left is removed by the next sensor, or gone with the maps.
      }
    }, RETIRE_MS).unref()
  }

  removeAllBut(generations: ReadonlySet<number>): void {
    for (const generation of [...this.#keys.keys()]) if (!generations.has(generation)) this.remove(generation)
  }

  #keep(key: Buffer): void {
    const generation = key.readUInt32LE(ABI.structs.sl_unix_key.fields.generation)
    this.#keys.set(generation, [...(this.#keys.get(generation) ?? []), key])
  }
}

/** Key of sl_unix_rules. @param name a path, or `@` and an abstract name */
export function unixKey(generation: number, name: Uint8Array): Buffer {
  if (name.length === 0 || name.length > NAME_MAX || (name[0] !== SLASH && name[0] !== AT_SIGN)) {
    throw new SluiceError(
      'USAGE',
      `local.unix: a socket has a path, or @ and a name, of up to ${NAME_MAX} bytes: ${Buffer.from(name).toString()}`,
    )
  }
  const { size, fields } = ABI.structs.sl_unix_key
  const key = Buffer.alloc(size)
  key.writeUInt32LE(generation, fields.generation)
  key.writeUInt32LE(name.length, fields.len)
  key.set(name, fields.name)
  if (name[0] === AT_SIGN) key[fields.name] = 0
  return key
}

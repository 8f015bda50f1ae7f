/** Keys and values of our BPF maps as bytes (bpf/map_abi.h); offsets come from the generated ABI. Little-endian, like every host we run on. */
import { ABI } from '../native/generated/abi.js'
import type { HeldNames } from './held-names.js'

const KEY_BYTES = 8

/** Key of sl_sandboxes: the cgroup id of the sandbox's root. */
export function sandboxKey(cgroupId: bigint): Buffer {
  const key = Buffer.alloc(KEY_BYTES)
  key.writeBigUInt64LE(cgroupId)
  return key
}

/** Value of sl_sandboxes. @param flags enum sl_sandbox_flag */
export function encodeSandbox(cgroupId: bigint, flags = 0): Buffer {
  const { size, fields } = ABI.structs.sl_sandbox
  const value = Buffer.alloc(size)
  value.writeBigUInt64LE(cgroupId, fields.id)
  value.writeUInt32LE(flags, fields.flags)
  return value
}

/** Key of sl_state, which has one entry. */
export const STATE_KEY: Uint8Array = Buffer.alloc(4)

/** Value of sl_state. */
export function encodeState({ quarantined }: { quarantined: boolean }): Buffer {
  const { size, fields } = ABI.structs.sl_state
  const value = Buffer.alloc(size)
  value.writeUInt32LE(quarantined ? 1 : 0, fields.quarantined)
  return value
}

/** The same value without the mark that nobody has taken it over yet. */
export function takenOver(value: Buffer): Buffer {
  const { fields } = ABI.structs.sl_sandbox
  const taken = Buffer.from(value)
  taken.writeUInt32LE((value.readUInt32LE(fields.flags) & ~ABI.enums.SL_SANDBOX_FOUND) >>> 0, fields.flags)
  return taken
}

/** Whether the kernel side made the entry, for a cgroup below a watched one, and nobody has taken it over yet. */
export function isFound(value: Buffer): boolean {
  return (value.readUInt32LE(ABI.structs.sl_sandbox.fields.flags) & ABI.enums.SL_SANDBOX_FOUND) !== 0
}

/** Levels in a value of sl_watched_cgroups. */
export function watchLevels(value: Buffer): number {
  return value.readUInt32LE(ABI.structs.sl_watch.fields.depth)
}

/** Whether a value of sl_watched_cgroups holds what is found below. */
export function holdsFound(value: Buffer): boolean {
  return value.readUInt8(ABI.structs.sl_watch.fields.holds) !== ABI.enums.SL_WATCH_HOLDS_NONE
}

/** Value of sl_watched_cgroups. @param held names of what is held as soon as it is found; null: nothing is */
export function encodeWatch(depth: number, held: HeldNames | null = null): Buffer {
  const { size, fields } = ABI.structs.sl_watch
  const { SL_WATCH_HOLDS_LIKE, SL_WATCH_HOLDS_ONE } = ABI.enums
  const value = Buffer.alloc(size)
  value.writeUInt32LE(depth, fields.depth)
  if (held === null) return value
  value.writeUInt8(held.isOne ? SL_WATCH_HOLDS_ONE : SL_WATCH_HOLDS_LIKE, fields.holds)
  value.writeUInt8(value.write(held.head, fields.head), fields.head_len)
  value.writeUInt8(value.write(held.tail, fields.tail), fields.tail_len)
  return value
}

/** Id of the sandbox in a value of sl_sandboxes. */
export function sandboxIdOf(value: Buffer): bigint {
  return value.readBigUInt64LE(ABI.structs.sl_sandbox.fields.id)
}

/** Value of sl_tasks for the first process of a sandbox. */
export function encodeTask(cgroupId: bigint): Buffer {
  const { size, fields } = ABI.structs.sl_task
  const value = Buffer.alloc(size)
  value.writeBigUInt64LE(cgroupId, fields.sandbox)
  return value
}

/** Sandbox id in a value of sl_tasks. */
export function taskSandbox(value: Buffer): bigint {
  return value.readBigUInt64LE(ABI.structs.sl_task.fields.sandbox)
}

/** Keys and values of the BPF maps for policies and leases as bytes (bpf/policy_abi.h); offsets come from the generated ABI. */
import { ADDRESS_BYTES } from '../base/special-addresses.js'
import { ABI } from '../native/generated/abi.js'

/** Key of sl_policy_state, which has one entry. */
export const POLICY_STATE_KEY: Uint8Array = Buffer.alloc(4)

export interface SandboxPolicy {
  /** Key of its entry, again. */
  readonly sandbox: bigint
  /** Key of sl_policies. */
  readonly policy: number
  readonly generation: number
  /** enum sl_policy_flag */
  readonly flags: number
}

/** Ports as the kernel side compares them. */
export interface PortsValue {
  /** IPPROTO_*, 0 for any. */
  readonly protocol: number
  readonly first: number
  readonly last: number
  readonly rule: number
  readonly deny: boolean
  /** Number of the set of programs that it is for; 0: every program. */
  readonly programs: number
}

export interface LeaseValue extends Omit<PortsValue, 'deny'> {
  /** CLOCK_BOOTTIME. */
  readonly expiresNs: bigint
  readonly generation: number
}

export function encodePolicyState({ policed }: { policed: boolean }): Buffer {
  const { size, fields } = ABI.structs.sl_policy_state
  const value = Buffer.alloc(size)
  value.writeUInt32LE(policed ? 1 : 0, fields.policed)
  return value
}

/** Key of sl_policies. */
export function policyKey(policy: number): Buffer {
  const key = Buffer.alloc(4)
  key.writeUInt32LE(policy)
  return key
}

/** Value of sl_sandbox_policies. */
export function encodeSandboxPolicy({ sandbox, policy, generation, flags }: SandboxPolicy): Buffer {
  const { size, fields } = ABI.structs.sl_sandbox_policy
  const value = Buffer.alloc(size)
  value.writeBigUInt64LE(sandbox, fields.sandbox)
  value.writeBigUInt64LE(sandbox, fields.sandbox_again)
  value.writeUInt32LE(policy, fields.policy)
  value.writeUInt32LE(generation, fields.generation)
  value.writeUInt32LE(flags, fields.flags)
  return value
}

export function decodeSandboxPolicy(value: Buffer): SandboxPolicy {
  const { fields } = ABI.structs.sl_sandbox_policy
  return {
    sandbox: value.readBigUInt64LE(fields.sandbox),
    policy: value.readUInt32LE(fields.policy),
    generation: value.readUInt32LE(fields.generation),
    flags: value.readUInt32LE(fields.flags),
  }
}

/** Key of a policy's trie, written at `at`. */
export function writeNetKey(to: Buffer, at: number, prefix: Uint8Array, prefixLength: number): void {
  const { fields } = ABI.structs.sl_net_key
  to.writeUInt32LE(prefixLength, at + fields.prefix_length)
  to.set(prefix, at + fields.addr)
}

/** Value of a policy's trie at `at`, where everything is zero: how many port ranges it has. */
export function writeNetCount(to: Buffer, at: number, count: number): void {
  to.writeUInt32LE(count, at + ABI.structs.sl_net.fields.count)
}

/** The same value's port range `each`. */
export function writeNetPorts(to: Buffer, at: number, { each, value }: { each: number; value: PortsValue }): void {
  const { size, fields } = ABI.structs.sl_ports
  const entry = at + ABI.structs.sl_net.fields.ports + each * size
  to.writeUInt32LE(value.rule, entry + fields.rule)
  to.writeUInt16LE(value.first, entry + fields.first)
  to.writeUInt16LE(value.last, entry + fields.last)
  to.writeUInt8(value.protocol, entry + fields.protocol)
  to.writeUInt8(value.deny ? 1 : 0, entry + fields.deny)
  to.writeUInt16LE(value.programs, entry + fields.programs)
}

/** Key of sl_leases. */
export function leaseKey(sandbox: bigint, address: Uint8Array): Buffer {
  const { size, fields } = ABI.structs.sl_lease_key
  const key = Buffer.alloc(size)
  key.writeBigUInt64LE(sandbox, fields.sandbox)
  key.set(address, fields.addr)
  return key
}

export function decodeLeaseKey(key: Buffer): { sandbox: bigint; address: Buffer } {
  const { fields } = ABI.structs.sl_lease_key
  return {
    sandbox: key.readBigUInt64LE(fields.sandbox),
    address: key.subarray(fields.addr, fields.addr + ADDRESS_BYTES),
  }
}

/** Key of sl_programs. @param file as sl_program */
export function programKey(generation: number, set: number, file: Uint8Array): Buffer {
  const { size, fields } = ABI.structs.sl_program_key
  const key = Buffer.alloc(size)
  key.set(file, fields.program)
  key.writeUInt32LE(generation, fields.generation)
  key.writeUInt32LE(set, fields.set)
  return key
}

/** Value of sl_leases. At most SL_LEASE_PORTS_MAX of them. */
export function encodeLeases(leases: readonly LeaseValue[]): Buffer {
  const { size, fields } = ABI.structs.sl_leases
  const each = ABI.structs.sl_lease
  const value = Buffer.alloc(size)
  value.writeUInt32LE(leases.length, fields.count)
  for (const [index, lease] of leases.entries()) {
    const at = fields.leases + index * each.size
    value.writeBigUInt64LE(lease.expiresNs, at + each.fields.expires_ns)
    value.writeUInt32LE(lease.rule, at + each.fields.rule)
    value.writeUInt32LE(lease.generation, at + each.fields.generation)
    value.writeUInt16LE(lease.first, at + each.fields.first)
    value.writeUInt16LE(lease.last, at + each.fields.last)
    value.writeUInt8(lease.protocol, at + each.fields.protocol)
    value.writeUInt16LE(lease.programs, at + each.fields.programs)
  }
  return value
}

export function decodeLeases(value: Buffer): LeaseValue[] {
  const { fields } = ABI.structs.sl_leases
  const each = ABI.structs.sl_lease
  return Array.from({ length: value.readUInt32LE(fields.count) }, (_, index) => {
    const at = fields.leases + index * each.size
    return {
      expiresNs: value.readBigUInt64LE(at + each.fields.expires_ns),
      rule: value.readUInt32LE(at + each.fields.rule),
      generation: value.readUInt32LE(at + each.fields.generation),
      first: value.readUInt16LE(at + each.fields.first),
      last: value.readUInt16LE(at + each.fields.last),
      protocol: value.readUInt8(at + each.fields.protocol),
      programs: value.readUInt16LE(at + each.fields.programs),
    }
  })
}

/** Keys and values of the maps that say where queries for names go (bpf/redirect_abi.h), as bytes. */
import { ABI } from '../native/generated/abi.js'

export interface RedirectPorts {
  /** Of 127.0.0.1. */
  readonly port4: number
  /** Of ::1; 0: there is none. */
  readonly port6: number
}

/** Of sl_gateway, which has one entry. */
export const GATEWAY_KEY: Uint8Array = Buffer.alloc(4)

/** Key of sl_redirects and sl_doors_wanted. `netns` 0: the sandbox as such. */
export function redirectKey(sandbox: bigint, netns: bigint): Buffer {
  const { size, fields } = ABI.structs.sl_redirect_key
  const key = Buffer.alloc(size)
  key.writeBigUInt64LE(sandbox, fields.sandbox)
  key.writeBigUInt64LE(netns, fields.netns)
  return key
}

export function redirectOf(key: Buffer): { sandbox: bigint; netns: bigint } {
  const { fields } = ABI.structs.sl_redirect_key
  return { sandbox: key.readBigUInt64LE(fields.sandbox), netns: key.readBigUInt64LE(fields.netns) }
}

/** Value of sl_redirects. */
export function encodeRedirect({ port4, port6 }: RedirectPorts, flags = { observes: false }): Buffer {
  const { size, fields } = ABI.structs.sl_redirect
  const value = Buffer.alloc(size)
  value.writeUInt16LE(port4, fields.port4)
  value.writeUInt16LE(port6, fields.port6)
  value.writeUInt32LE(flags.observes ? ABI.enums.SL_REDIRECT_OBSERVES : 0, fields.flags)
  return value
}

export function decodeRedirect(value: Buffer): RedirectPorts {
  const { fields } = ABI.structs.sl_redirect
  return { port4: value.readUInt16LE(fields.port4), port6: value.readUInt16LE(fields.port6) }
}

/** Key of sl_gateway_ports. */
export function portKey(netns: bigint, port: number): Buffer {
  const { size, fields } = ABI.structs.sl_gateway_port
  const key = Buffer.alloc(size)
  key.writeBigUInt64LE(netns, fields.netns)
  key.writeUInt32LE(port, fields.port)
  return key
}

/** Value of sl_gateway. */
export function encodeGateway({ aliveNs, redirecting }: { aliveNs: bigint; redirecting: boolean }): Buffer {
  const { size, fields } = ABI.structs.sl_gateway
  const value = Buffer.alloc(size)
  value.writeBigUInt64LE(aliveNs, fields.alive_ns)
  value.writeUInt32LE(redirecting ? 1 : 0, fields.redirecting)
  return value
}

/** Value of sl_doors_wanted: a thread that was in the namespace. */
export function wantedBy(value: Buffer): number {
  return value.readUInt32LE(ABI.structs.sl_door_wanted.fields.tid)
}

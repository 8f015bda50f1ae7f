/**
 * Entries of a policy's addresses, from the wire to the kernel's table without an object between: of fifty thousand a change waits for each.
 * Guards that only what is plain is taken this way; whatever else an entry has, or has wrong, is left to policy-table.ts, which says so.
 */
import { ADDRESS_BYTES } from '../base/special-addresses.js'
import { ABI } from '../native/generated/abi.js'
import { Protocol } from '../proto/codec.js'

const PREFIX_BITS = 128
const PORT_MAX = 0xffff
const VARINT_BYTES_MAX = 5
const UINT32 = 2 ** 32
/** Field and wire type, as one byte: of NetEntry, PortRule, PortRange. */
const NET = { prefix: 0x0a, prefixLength: 0x10, ports: 0x1a } as const
const RULE = { range: 0x0a, deny: 0x10, rule: 0x18 } as const
const RANGE = { protocol: 0x08, first: 0x10, last: 0x18 } as const
const ANY = Protocol.PROTOCOL_UNSPECIFIED

export interface TableRoom {
  readonly keys: Buffer
  readonly values: Buffer
}

export class WireTable {
  readonly #bytes: Buffer
  readonly #room: TableRoom
  readonly #protocols: ReadonlyMap<Protocol, number>
  #at = 0
  #protocol = 0
  #first = 0
  #last = 0

  /** @param protocols as the kernel numbers them */
  constructor(bytes: Buffer, room: TableRoom, protocols: ReadonlyMap<Protocol, number>) {
    this.#bytes = bytes
    this.#room = room
    this.#protocols = protocols
  }

  /** Writes entry `index`, which is the bytes from `start` to `end`. False: it is not plain, and what was written means nothing. */
  write(index: number, start: number, end: number): boolean {
    const { sl_net_key: key, sl_net: net } = ABI.structs
    const keyAt = index * key.size
    const valueAt = index * net.size
    let ports = 0
    let hasPrefix = false
    this.#room.keys.writeUInt32LE(0, keyAt + key.fields.prefix_length)
    this.#at = start
    while (this.#at < end) {
      const tag = this.#bytes[this.#at++]
      if (tag === NET.prefix && this.#varint(end) === ADDRESS_BYTES && this.#at + ADDRESS_BYTES <= end) {
        this.#bytes.copy(this.#room.keys, keyAt + key.fields.addr, this.#at, this.#at + ADDRESS_BYTES)
        this.#at += ADDRESS_BYTES
        hasPrefix = true
      } else if (tag === NET.prefixLength) {
        const length = this.#varint(end)
        if (length < 0 || length > PREFIX_BITS) return false
        this.#room.keys.writeUInt32LE(length, keyAt + key.fields.prefix_length)
      } else if (tag === NET.ports && ports < ABI.limits.SL_PORTS_MAX) {
        const portsEnd = this.#insideUntil(end)
        if (portsEnd < 0 || !this.#rule(valueAt, ports++, portsEnd)) return false
      } else return false
    }
    this.#room.values.writeUInt32LE(ports, valueAt + net.fields.count)
    return hasPrefix
  }

  #rule(valueAt: number, each: number, end: number): boolean {
    let deny = 0
    let rule = 0
    this.#protocol = this.#first = this.#last = 0
    while (this.#at < end) {
      const tag = this.#bytes[this.#at++]
      if (tag === RULE.range) {
        const rangeEnd = this.#insideUntil(end)
        if (rangeEnd < 0 || !this.#range(rangeEnd)) return false
      } else if (tag === RULE.deny) deny = this.#varint(end)
      else if (tag === RULE.rule) rule = this.#varint(end)
      else return false
    }
    const protocol = this.#protocols.get(this.#protocol) ?? (deny === 1 && this.#protocol === ANY ? 0 : -1)
    if (protocol < 0 || rule < 0 || deny < 0 || deny > 1 || this.#first > this.#last || this.#last > PORT_MAX)
      return false
    const { size, fields } = ABI.structs.sl_ports
    const at = valueAt + ABI.structs.sl_net.fields.ports + each * size
    const { values } = this.#room
    values.writeUInt32LE(rule, at + fields.rule)
    values.writeUInt16LE(this.#first, at + fields.first)
    values.writeUInt16LE(this.#last, at + fields.last)
    values.writeUInt8(protocol, at + fields.protocol)
    values.writeUInt8(deny, at + fields.deny)
    return true
  }

  #range(end: number): boolean {
    while (this.#at < end) {
      const tag = this.#bytes[this.#at++]
      const value = this.#varint(end)
      if (value < 0) return false
      if (tag === RANGE.protocol) this.#protocol = value
      else if (tag === RANGE.first) this.#first = value
      else if (tag === RANGE.last) this.#last = value
      else return false
    }
    return true
  }

  /** Where a message inside ends; -1: beyond the end. */
  #insideUntil(end: number): number {
    const length = this.#varint(end)
    return length < 0 || this.#at + length > end ? -1 : this.#at + length
  }

  /** -1: it is no number of 32 bits. */
  #varint(end: number): number {
    let value = 0
    let unit = 1
    for (let count = 0; count < VARINT_BYTES_MAX && this.#at < end; count++) {
      const byte = this.#bytes[this.#at++] ?? 0
      value += (byte & 0x7f) * unit
      if (byte < 0x80) return value < UINT32 ? value : -1
      unit *= 0x80
    }
    return -1
  }
}

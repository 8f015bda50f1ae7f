/**
 * DNS messages written: names compressed where they may be (owners, and the targets of CNAME, NS and PTR), and what does not fit cut off
 * whole with the bit that says so. Not here: what is answered.
 */
import { type EXTENDED, FLAG, TYPE } from '../base/dns-codes.js'
import type { DnsQuestion, DnsRecord } from '../base/dns-message.js'
import { HEADER_BYTES } from '../base/dns-message.js'
import type { DnsName } from '../base/dns-name.js'

export const MESSAGE_BYTES_MAX = 65_535
const OPT_BYTES = 11
const OPTION_EXTENDED_ERROR = 15
/** Higher offsets have no room in a pointer. */
const POINTER_MAX = 0x3fff
const POINTER_BITS = 0xc000

export interface ExtendedError {
  readonly code: (typeof EXTENDED)[keyof typeof EXTENDED]
  /** For a person. */
  readonly text: string
}

export interface WrittenMessage {
  readonly id: number
  readonly flags: number
  readonly rcode: number
  /** Null where the asker's could not be read. */
  readonly question: DnsQuestion | null
  readonly answers?: readonly DnsRecord[]
  readonly authorities?: readonly DnsRecord[]
  /** Null: the other side does not speak EDNS. */
  readonly edns: { readonly udpBytes: number; readonly dnssecOk: boolean; readonly error?: ExtendedError } | null
}

/** One for a process: it has a buffer of the largest message. */
export class DnsWriter {
  readonly #buffer = Buffer.allocUnsafe(MESSAGE_BYTES_MAX)
  #at = 0
  #names = new Map<string, number>()

  /** Never longer than `bytesMax`, which is at least 512. The bytes are the caller's. */
  write(message: WrittenMessage, bytesMax: number = MESSAGE_BYTES_MAX): Buffer {
    const { answers = [], authorities = [] } = message
    this.#begin(message)
    if (!this.#records([answers, authorities], bytesMax - optBytes(message))) {
      this.#begin({ ...message, flags: message.flags | FLAG.TRUNCATED })
    }
    this.#opt(message, bytesMax)
    return Buffer.from(this.#buffer.subarray(0, this.#at))
  }

  #begin({ id, flags, rcode, question }: WrittenMessage): void {
    const buffer = this.#buffer
    buffer.fill(0, 0, HEADER_BYTES)
    buffer.writeUInt16BE(id, 0)
    buffer.writeUInt16BE((flags & ~0xf) | (rcode & 0xf), 2)
    this.#at = HEADER_BYTES
    this.#names = new Map()
    if (question === null) return
    buffer.writeUInt16BE(1, 4)
    this.#name(question.name)
    this.#u16(question.type)
    this.#u16(question.class)
  }

  /** False: they don't fit. */
  #records(sections: readonly (readonly DnsRecord[])[], end: number): boolean {
    for (const [index, section] of sections.entries()) {
      for (const record of section) {
        if (this.#at + record.name.wire.length + 10 + record.data.length > end) return false
        this.#record(record)
      }
      this.#buffer.writeUInt16BE(section.length, 6 + 2 * index)
    }
    return true
  }

  #record({ name, type, class: klass, ttl, data, target }: DnsRecord): void {
    this.#name(name)
    this.#u16(type)
    this.#u16(klass)
    this.#at = this.#buffer.writeUInt32BE(ttl, this.#at)
    const lengthAt = this.#at
    this.#u16(0)
    if (target !== undefined && type !== TYPE.DNAME) this.#name(target)
    else this.#at += data.copy(this.#buffer, this.#at)
    this.#buffer.writeUInt16BE(this.#at - lengthAt - 2, lengthAt)
  }

  #name({ wire, text }: DnsName): void {
    let rest = text
    let from = 0
    while (rest !== '') {
      const known = this.#names.get(rest)
      if (known !== undefined) {
        this.#u16(POINTER_BITS | known)
        return
      }
      if (this.#at <= POINTER_MAX) this.#names.set(rest, this.#at)
      const length = (wire[from] ?? 0) + 1
      this.#at += wire.copy(this.#buffer, this.#at, from, from + length)
      from += length
      const dot = rest.indexOf('.')
      rest = dot === -1 ? '' : rest.slice(dot + 1)
    }
    this.#buffer[this.#at++] = 0
  }

  #opt({ rcode, edns }: WrittenMessage, bytesMax: number): void {
    if (edns === null) return
    this.#buffer.writeUInt16BE(1, 10)
    this.#buffer[this.#at++] = 0
    this.#u16(TYPE.OPT)
    this.#u16(edns.udpBytes)
    this.#u16((rcode >>> 4) << 8)
    this.#u16(edns.dnssecOk ? 0x8000 : 0)
    const text = Buffer.from(edns.error?.text ?? '')
    const fits = edns.error !== undefined && this.#at + 2 + 6 + text.length <= bytesMax
    this.#u16(fits ? 6 + text.length : 0)
    if (!fits || edns.error === undefined) return
    this.#u16(OPTION_EXTENDED_ERROR)
    this.#u16(2 + text.length)
    this.#u16(edns.error.code)
    this.#at += text.copy(this.#buffer, this.#at)
  }

  #u16(value: number): void {
    this.#at = this.#buffer.writeUInt16BE(value, this.#at)
  }
}

function optBytes({ edns }: WrittenMessage): number {
  return edns === null ? 0 : OPT_BYTES
}

/**
 * Domain names as they are in a DNS message (RFC 1035, 4.1.4) and as text. It guards that a name is read in one way only: every byte that
 * is no letter, digit, hyphen or underscore is escaped in the text, a dot inside a label too, so that a text without a backslash
 * is exactly these labels. Limits are the protocol's: 63 bytes a label, 255 a name, and pointers lead to what came before.
 */
import { SluiceError } from './error.js'

export const NAME_BYTES_MAX = 255
const LABEL_BYTES_MAX = 63
const POINTER = 0xc0
/** No message that anybody sends has more in one name, and each leads backwards. */
const POINTERS_MAX = 16

export interface DnsName {
  /** Uncompressed, the root's zero included, in the case it came in. */
  readonly wire: Buffer
  /** Lower case, without a final dot; the root is empty. Escapes are `\DDD` (RFC 1035, 5.1). */
  readonly text: string
}

/** `end`: behind what the name takes up where it stands. Throws PROTOCOL. */
export function readName(message: Buffer, start: number): { name: DnsName; end: number } {
  const labels: Buffer[] = []
  let bytes = 1
  let at = start
  let end: number | null = null
  let before = start
  for (let pointers = 0; ; ) {
    const length = message[at]
    if (length === undefined) throw malformed('a name goes beyond the message')
    if (length === 0) return { name: nameOf(labels), end: end ?? at + 1 }
    if (length <= LABEL_BYTES_MAX) {
      bytes += length + 1
      if (bytes > NAME_BYTES_MAX) throw malformed(`a name has more than ${NAME_BYTES_MAX} bytes`)
      if (at + 1 + length > message.length) throw malformed('a name goes beyond the message')
      labels.push(message.subarray(at + 1, at + 1 + length))
      at += length + 1
      continue
    }
    const low = message[at + 1]
    if ((length & POINTER) !== POINTER || low === undefined) throw malformed('a label has more than 63 bytes')
    const target = ((length & ~POINTER) << 8) | low
    if (target >= before || ++pointers > POINTERS_MAX) throw malformed('a name points forwards or in a circle')
    end ??= at + 2
    before = target
    at = target
  }
}

/** Of a text as `DnsName.text`. Throws PROTOCOL for what is no name. */
export function nameFromText(text: string): DnsName {
  const labels = text === '' ? [] : text.split('.').map(labelFromText)
  const bytes = labels.reduce((sum, label) => sum + label.length + 1, 1)
  if (bytes > NAME_BYTES_MAX) throw malformed(`a name has more than ${NAME_BYTES_MAX} bytes`)
  return nameOf(labels)
}

/** Whether it is what policies can name: no escapes, and not the root. */
export function isPlain({ text }: DnsName): boolean {
  return text !== '' && !text.includes('\\')
}

function nameOf(labels: readonly Buffer[]): DnsName {
  const wire = Buffer.allocUnsafe(labels.reduce((sum, label) => sum + label.length + 1, 1))
  let at = 0
  for (const label of labels) {
    wire[at] = label.length
    label.copy(wire, at + 1)
    at += label.length + 1
  }
  wire[at] = 0
  return { wire, text: labels.map(labelText).join('.') }
}

const PLAIN = /^[a-zA-Z0-9_-]+$/

function labelText(label: Buffer): string {
  const text = label.toString('latin1')
  if (PLAIN.test(text)) return text.toLowerCase()
  return [...label]
    .map((byte) => {
      const char = String.fromCharCode(byte)
      return PLAIN.test(char) ? char.toLowerCase() : `\\${String(byte).padStart(3, '0')}`
    })
    .join('')
}

function labelFromText(text: string): Buffer {
  const raw = text.replace(/\\(\d{3})/g, (_, byte: string) => String.fromCharCode(Number(byte) & 0xff))
  const label = Buffer.from(raw, 'latin1')
  if (label.length === 0 || label.length > LABEL_BYTES_MAX) throw malformed('a label has 1 to 63 bytes')
  return label
}

export function malformed(why: string): SluiceError {
  return new SluiceError('PROTOCOL', why)
}

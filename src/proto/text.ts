/**
 * Byte strings of the kernel (paths, arguments) as text and back, without loss: an invalid UTF-8 byte is written \xHH, a backslash is
 * doubled, all else is itself. It does not make text safe for a terminal: control characters pass through.
 */
import { isUtf8 } from 'node:buffer'
import { SluiceError } from '../base/error.js'

const BACKSLASH = 0x5c

/** Never fails; `textToBytes` gives the same bytes back. */
export function bytesToText(bytes: Uint8Array): string {
  if (isUtf8(bytes)) return escapeBackslashes(utf8(bytes))
  let text = ''
  let validFrom = 0
  let at = 0
  while (at < bytes.length) {
    const length = sequenceLength(bytes, at)
    if (length > 0) {
      at += length
      continue
    }
    text += escapeBackslashes(utf8(bytes.subarray(validFrom, at)))
    text += `\\x${(bytes[at] ?? 0).toString(16).padStart(2, '0')}`
    at += 1
    validFrom = at
  }
  return text + escapeBackslashes(utf8(bytes.subarray(validFrom)))
}

/** Takes what `bytesToText` made. Throws PROTOCOL for a backslash that is neither doubled nor the start of \xHH. */
export function textToBytes(text: string): Uint8Array {
  if (!text.includes('\\')) return Buffer.from(text, 'utf8')
  const parts: Uint8Array[] = []
  let plainFrom = 0
  for (let at = text.indexOf('\\'); at !== -1; at = text.indexOf('\\', plainFrom)) {
    parts.push(Buffer.from(text.slice(plainFrom, at), 'utf8'))
    const escaped = /^\\(?:\\|x([0-9a-f]{2}))/.exec(text.slice(at, at + 4))
    if (escaped === null) {
      throw new SluiceError('PROTOCOL', `character ${at} of the text is a backslash that is neither \\\\ nor \\xHH`)
    }
    parts.push(Uint8Array.of(escaped[1] === undefined ? BACKSLASH : Number.parseInt(escaped[1], 16)))
    plainFrom = at + escaped[0].length
  }
  parts.push(Buffer.from(text.slice(plainFrom), 'utf8'))
  return Buffer.concat(parts)
}

/** As `textToBytes`, for text that may have been cut, or was not made by us: a backslash that means nothing stands for itself. */
export function anyTextToBytes(text: string): Uint8Array {
  if (!text.includes('\\')) return Buffer.from(text, 'utf8')
  return textToBytes(text.replace(/\\(\\|x[0-9a-f]{2})?/g, (all, escaped) => (escaped === undefined ? '\\\\' : all)))
}

function utf8(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
}

function escapeBackslashes(text: string): string {
  return text.includes('\\') ? text.replaceAll('\\', '\\\\') : text
}

/** Bytes of the well-formed sequence that starts at `at` (table 3-7 of the Unicode standard); 0 if there is none. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at] ?? 0
  if (lead < 0x80) return 1
  const length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0
  if (length === 0 || at + length > bytes.length) return 0
  return isUtf8(bytes.subarray(at, at + length)) ? length : 0
}

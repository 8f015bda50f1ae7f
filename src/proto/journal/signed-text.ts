/**
 * A JSON text and the Ed25519 signature of a node over it. Guards that the very bytes that were signed are what is checked, that a signature over one
 * kind of text is none over another, and that a text of anybody's is read field by field, within bounds. Not here: what the texts say.
 */
import { createHash, type KeyObject, sign, verify } from 'node:crypto'

export const SIGNATURE_BYTES = 64
/** Of a text with its signature. */
export const SIGNED_BYTES_MAX = 4_096
const TEXT_CHARS_MAX = 1_024

export interface SignedText {
  /** The bytes that are signed. */
  readonly body: Buffer
  readonly signature: Buffer
}

/** By id. */
export type Keys = ReadonlyMap<string, KeyObject>

/** @param domain what nothing else that the key signs begins with */
export function signText(domain: Buffer, text: object, privateKey: KeyObject): SignedText {
  const body = Buffer.from(JSON.stringify(text))
  return { body, signature: sign(null, Buffer.concat([domain, body]), privateKey) }
}

/** Null: the key of this id signed it; else what is wrong with it, as an end of a sentence. */
export function signatureProblem(domain: Buffer, signed: SignedText, { keyId, keys }: { keyId: string; keys: Keys }) {
  const key = keys.get(keyId)
  if (key === undefined) return `is signed with a key that is not among yours (it says ${keyId})`
  const isIts = verify(null, Buffer.concat([domain, signed.body]), key, signed.signature)
  return isIts ? null : `is not signed with the key ${keyId} that it names`
}

/** SHA-256, as hex. */
export function bodyHash(body: Buffer): string {
  return createHash('sha256').update(body).digest('hex')
}

/** Fields of an object of anybody's; null for what is not there, or of another form. */
export class Fields {
  private readonly of: object

  constructor(of: object) {
    this.of = of
  }

  /** Null: it is no JSON object. */
  static parse(text: string): Fields | null {
    try {
      return Fields.from(JSON.parse(text))
    } catch {
      return null
    }
  }

  static from(said: unknown): Fields | null {
    return typeof said === 'object' && said !== null ? new Fields(said) : null
  }

  get(name: string): unknown {
    return Reflect.get(this.of, name)
  }

  text(name: string, form: RegExp): string | null {
    const value = this.get(name)
    return typeof value === 'string' && value.length <= TEXT_CHARS_MAX && form.test(value) ? value : null
  }

  /** A number of 64 bits: decimal digits. */
  big(name: string): bigint | null {
    const digits = this.text(name, /^\d{1,20}$/)
    return digits === null ? null : BigInt(digits)
  }

  /** From `least` on. */
  whole(name: string, least: number): number | null {
    const value = this.get(name)
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= least ? value : null
  }
}

/** Such a text where it stands alone, as a line. @param name what it is */
export function signedLine(name: string, { body, signature }: SignedText): string {
  return JSON.stringify({ [name]: body.toString(), signature: signature.toString('base64') })
}

/** Null: it is no such line. */
export function parseSignedLine(name: string, line: string): SignedText | null {
  const fields = Fields.parse(line)
  const body = fields?.get(name)
  const signature = fields?.get('signature')
  if (typeof body !== 'string' || typeof signature !== 'string' || body.length > SIGNED_BYTES_MAX) return null
  return { body: Buffer.from(body), signature: Buffer.from(signature, 'base64') }
}

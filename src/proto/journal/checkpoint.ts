/**
 * A checkpoint: what the node vouches for of a session's journal, signed with its Ed25519 key. Guards that the very bytes that were signed
 * are what is checked, and that a body which is not one is told apart from one that was signed by somebody else. Not here: where the keys
 * are, and whether a chain fits.
 */
import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { SluiceError } from '../../base/error.js'
import { HASH_BYTES, isSessionId, JOURNAL_VERSION } from './journal-format.js'

/** Nothing else that this key signs begins so. */
const DOMAIN = Buffer.from(`sluice journal checkpoint ${JOURNAL_VERSION}\0`)
export const SIGNATURE_BYTES = 64
export const CHECKPOINT_BYTES_MAX = 4_096
const KEY_ID_BYTES = 8
const TEXT_CHARS_MAX = 1_024

export interface Checkpoint {
  readonly sessionId: string
  /** From 1. */
  readonly number: number
  /** That it vouches for, from the session's first on. */
  readonly records: bigint
  /** Of the last event among them; 0: there is none. */
  readonly lastSeq: bigint
  /** The chain over them, as hex. */
  readonly head: string
  readonly timeUnixNs: bigint
  readonly node: { readonly name: string; readonly bootId: string }
  /** Of the policy in force; empty: none. */
  readonly policyHash: string
  /** Events that gaps among them say are missing. */
  readonly lost: bigint
  /** Nothing comes behind it. */
  readonly isSeal: boolean
  /** SHA-256 of the body of the one before, as hex; empty: it is the first. */
  readonly previous: string
  readonly keyId: string
}

export interface SignedCheckpoint {
  /** The bytes that are signed. */
  readonly body: Buffer
  readonly signature: Buffer
}

/** Short name of a public key. */
export function keyIdOf(publicKey: KeyObject): string {
  const der = publicKey.export({ type: 'spki', format: 'der' })
  return createHash('sha256')
    .update(der)
    .digest('hex')
    .slice(0, 2 * KEY_ID_BYTES)
}

/** Throws PROTOCOL for what is no Ed25519 public key in PEM. */
export function parsePublicKey(pem: string): KeyObject {
  try {
    // A private key would give its public one.
    if (!pem.includes('PRIVATE')) {
      const key = createPublicKey(pem)
      if (key.asymmetricKeyType === 'ed25519') return key
    }
  } catch {
    // Said below.
  }
  throw new SluiceError('PROTOCOL', 'it is no Ed25519 public key in PEM')
}

export function signCheckpoint(checkpoint: Checkpoint, privateKey: KeyObject): SignedCheckpoint {
  const { records, lastSeq, timeUnixNs, lost, isSeal, sessionId, ...rest } = checkpoint
  const body = Buffer.from(
    JSON.stringify({
      ...{ version: JOURNAL_VERSION, sessionId, number: rest.number, records: String(records) },
      ...{ lastSeq: String(lastSeq), head: rest.head, timeUnixNs: String(timeUnixNs), node: rest.node },
      ...{ policyHash: rest.policyHash, lost: String(lost), isSeal, previous: rest.previous, keyId: rest.keyId },
    }),
  )
  return { body, signature: sign(null, Buffer.concat([DOMAIN, body]), privateKey) }
}

export function bodyHash(body: Buffer): string {
  return createHash('sha256').update(body).digest('hex')
}

/** As a block holds it. */
export function encodeSigned({ body, signature }: SignedCheckpoint): Buffer {
  return Buffer.concat([body, signature])
}

/** Null: too short or too long. */
export function decodeSigned(content: Buffer): SignedCheckpoint | null {
  if (content.length <= SIGNATURE_BYTES || content.length > CHECKPOINT_BYTES_MAX) return null
  const at = content.length - SIGNATURE_BYTES
  return { body: content.subarray(0, at), signature: content.subarray(at) }
}

export type Keys = ReadonlyMap<string, KeyObject>

/** What it says, if one of these keys signed it; else what is wrong with it, as an end of a sentence. */
export function openCheckpoint({ body, signature }: SignedCheckpoint, keys: Keys): Checkpoint | string {
  const checkpoint = parseBody(body)
  if (checkpoint === null) return 'is no checkpoint of this version'
  const key = keys.get(checkpoint.keyId)
  if (key === undefined) return `is signed with a key that is not among yours (it says ${checkpoint.keyId})`
  return verify(null, Buffer.concat([DOMAIN, body]), key, signature)
    ? checkpoint
    : `is not signed with the key ${checkpoint.keyId} that it names`
}

function parseBody(body: Buffer): Checkpoint | null {
  let said: unknown
  try {
    said = JSON.parse(body.toString())
  } catch {
    return null
  }
  const field = (name: string): unknown => (typeof said === 'object' && said !== null ? Reflect.get(said, name) : null)
  const text = (name: string, form: RegExp): string | null => {
    const value = field(name)
    return typeof value === 'string' && value.length <= TEXT_CHARS_MAX && form.test(value) ? value : null
  }
  const sessionId = text('sessionId', /^/)
  const number = field('number')
  const head = text('head', new RegExp(`^[0-9a-f]{${2 * HASH_BYTES}}$`))
  const counts = ['records', 'lastSeq', 'timeUnixNs', 'lost'].map((name) => text(name, /^\d{1,20}$/))
  const previous = text('previous', /^([0-9a-f]{64})?$/)
  const keyId = text('keyId', /^[0-9a-f]{16}$/)
  const policyHash = text('policyHash', /^/)
  const isSeal = field('isSeal')
  const node = field('node')
  if (field('version') !== JOURNAL_VERSION || sessionId === null || !isSessionId(sessionId)) return null
  if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 1) return null
  if (head === null || previous === null || keyId === null || policyHash === null) return null
  if (typeof isSeal !== 'boolean' || typeof node !== 'object' || node === null) return null
  const [records, lastSeq, timeUnixNs, lost] = counts
  if (records == null || lastSeq == null || timeUnixNs == null || lost == null) return null
  const nodeText = (name: string) => String(Reflect.get(node, name) ?? '').slice(0, TEXT_CHARS_MAX)
  return {
    ...{ sessionId, number, head, previous, keyId, policyHash, isSeal },
    ...{ records: BigInt(records), lastSeq: BigInt(lastSeq), timeUnixNs: BigInt(timeUnixNs), lost: BigInt(lost) },
    node: { name: nodeText('name'), bootId: nodeText('bootId') },
  }
}

/** A line of a witness: what a checkpoint is outside of its journal. */
export function witnessLine({ body, signature }: SignedCheckpoint): string {
  return JSON.stringify({ checkpoint: body.toString(), signature: signature.toString('base64') })
}

/** Null: it is no such line. */
export function parseWitnessLine(line: string): SignedCheckpoint | null {
  try {
    const said: unknown = JSON.parse(line)
    if (typeof said !== 'object' || said === null) return null
    const body: unknown = Reflect.get(said, 'checkpoint')
    const signature: unknown = Reflect.get(said, 'signature')
    if (typeof body !== 'string' || typeof signature !== 'string' || body.length > CHECKPOINT_BYTES_MAX) return null
    return { body: Buffer.from(body), signature: Buffer.from(signature, 'base64') }
  } catch {
    return null
  }
}

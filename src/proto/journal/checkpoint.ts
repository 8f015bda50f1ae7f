/**
 * A checkpoint: what the node vouches for of a session's journal, signed with its Ed25519 key. Guards that the very bytes that were signed
 * are what is checked, and that a body which is not one is told apart from one that was signed by somebody else. Not here: where the keys
 * are, and whether a chain fits.
 */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import { SluiceError } from '../../base/error.js'
import { HASH_BYTES, isSessionId, JOURNAL_VERSION } from './journal-format.js'
import {
  Fields,
  type Keys,
  parseSignedLine,
  SIGNATURE_BYTES,
  SIGNED_BYTES_MAX,
  type SignedText,
  signatureProblem,
  signedLine,
  signText,
} from './signed-text.js'

/** Nothing else that this key signs begins so. */
const DOMAIN = Buffer.from(`sluice journal checkpoint ${JOURNAL_VERSION}\0`)
const LINE = 'checkpoint'
const KEY_ID_BYTES = 8
const NODE_CHARS_MAX = 1_024
const HASH = new RegExp(`^[0-9a-f]{${2 * HASH_BYTES}}$`)

/** Of the node's index, as it was when a checkpoint was signed: an index that was cut since then shows. */
export interface IndexReference {
  /** Of the last entry that was on disk, from 1. */
  readonly number: number
  /** SHA-256 of that entry, as hex. */
  readonly hash: string
  /** Number of the entry that lists this session; 0: none was on disk yet. */
  readonly own: number
}

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
  /** Null: the node had no index then. */
  readonly index: IndexReference | null
  readonly keyId: string
}

export type SignedCheckpoint = SignedText

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
  const { records, lastSeq, timeUnixNs, lost, isSeal, sessionId, index, ...rest } = checkpoint
  const text = {
    ...{ version: JOURNAL_VERSION, sessionId, number: rest.number, records: String(records) },
    ...{ lastSeq: String(lastSeq), head: rest.head, timeUnixNs: String(timeUnixNs), node: rest.node },
    ...{ policyHash: rest.policyHash, lost: String(lost), isSeal, previous: rest.previous },
    ...(index === null ? {} : { index }),
    keyId: rest.keyId,
  }
  return signText(DOMAIN, text, privateKey)
}

/** As a block holds it. */
export function encodeSigned({ body, signature }: SignedCheckpoint): Buffer {
  return Buffer.concat([body, signature])
}

/** Null: too short or too long. */
export function decodeSigned(content: Buffer): SignedCheckpoint | null {
  if (content.length <= SIGNATURE_BYTES || content.length > SIGNED_BYTES_MAX) return null
  const at = content.length - SIGNATURE_BYTES
  return { body: content.subarray(0, at), signature: content.subarray(at) }
}

/** What it says, if one of these keys signed it; else what is wrong with it, as an end of a sentence. */
export function openCheckpoint(signed: SignedCheckpoint, keys: Keys): Checkpoint | string {
  const checkpoint = parseBody(signed.body)
  if (checkpoint === null) return 'is no checkpoint of this version'
  return signatureProblem(DOMAIN, signed, { keyId: checkpoint.keyId, keys }) ?? checkpoint
}

function parseBody(body: Buffer): Checkpoint | null {
  const fields = Fields.parse(body.toString())
  if (fields === null || fields.get('version') !== JOURNAL_VERSION) return null
  const sessionId = fields.text('sessionId', /^/)
  const number = fields.whole('number', 1)
  const head = fields.text('head', HASH)
  const [records, lastSeq, timeUnixNs, lost] = ['records', 'lastSeq', 'timeUnixNs', 'lost'].map((n) => fields.big(n))
  const previous = fields.text('previous', /^([0-9a-f]{64})?$/)
  const keyId = fields.text('keyId', /^[0-9a-f]{16}$/)
  const policyHash = fields.text('policyHash', /^/)
  const isSeal = fields.get('isSeal')
  const node = Fields.from(fields.get('node'))
  const index = parseReference(fields.get('index'))
  if (sessionId === null || !isSessionId(sessionId) || number === null || index === 'none') return null
  if (head === null || previous === null || keyId === null || policyHash === null) return null
  if (typeof isSeal !== 'boolean' || node === null) return null
  if (records == null || lastSeq == null || timeUnixNs == null || lost == null) return null
  const nodeText = (name: string) => String(node.get(name) ?? '').slice(0, NODE_CHARS_MAX)
  return {
    ...{ sessionId, number, head, previous, keyId, policyHash, isSeal, records, lastSeq, timeUnixNs, lost, index },
    node: { name: nodeText('name'), bootId: nodeText('bootId') },
  }
}

/** Those of before there was an index say nothing of one. 'none': it is no such thing. */
function parseReference(said: unknown): IndexReference | null | 'none' {
  if (said === undefined) return null
  const fields = Fields.from(said)
  const number = fields?.whole('number', 1) ?? null
  const hash = fields?.text('hash', HASH) ?? null
  const own = fields?.whole('own', 0) ?? null
  return number === null || hash === null || own === null ? 'none' : { number, hash, own }
}

/** A line of a witness: what a checkpoint is outside of its journal. */
export function witnessLine(signed: SignedCheckpoint): string {
  return signedLine(LINE, signed)
}

/** Null: it is no such line. */
export function parseWitnessLine(line: string): SignedCheckpoint | null {
  return parseSignedLine(LINE, line)
}

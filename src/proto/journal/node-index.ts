/**
 * The node's index: which sessions have a journal here, as a chain of signed entries, one file each. Guards that a session whose folder is gone, or
 * that has lost its seal, is known by it; that an entry which is missing, changed or not the node's own is named; and that what anybody may
 * have put there is read within bounds. Not here: who writes it (the engine), and what checkpoints say of it (index-check.ts).
 */
import type { KeyObject } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { errnoCode, messageOf, reasonOf, SluiceError } from '../../base/error.js'
import { INDEX_FOLDER, readBounded } from './journal-folder.js'
import { HASH_BYTES, isSessionId, JOURNAL_VERSION } from './journal-format.js'
import {
  bodyHash,
  Fields,
  type Keys,
  parseSignedLine,
  SIGNED_BYTES_MAX,
  type SignedText,
  signatureProblem,
  signedLine,
  signText,
} from './signed-text.js'

const DOMAIN = Buffer.from(`sluice journal index ${JOURNAL_VERSION}\0`)
const LINE = 'entry'
const ENTRY_NAME = /^(\d{9})\.entry$/
/** As its line has it: base64 of the signature, and escapes of the text. */
const ENTRY_BYTES_MAX = 2 * SIGNED_BYTES_MAX
/** Of one index that are read. */
const ENTRIES_MAX = 262_144

/** BEGUN: it has a journal. SEALED: that has ended. REMOVED: its time was over. TRIMMED: entries before `first` may be gone. */
const INDEX_ACTS = ['BEGUN', 'SEALED', 'REMOVED', 'TRIMMED'] as const

export interface IndexedSeal {
  /** That the seal vouches for. */
  readonly records: bigint
  /** The chain over them, as hex. */
  readonly head: string
}

export interface IndexEntry {
  /** From 1. */
  readonly number: number
  readonly act: (typeof INDEX_ACTS)[number]
  /** Empty for TRIMMED. */
  readonly sessionId: string
  /** Of SEALED; else null. */
  readonly seal: IndexedSeal | null
  readonly timeUnixNs: bigint
  /** The oldest entry that must still be there. */
  readonly first: number
  /** SHA-256 of the body of the one before, as hex; empty: it is entry 1. */
  readonly previous: string
  readonly keyId: string
}

export function entryName(number: number): string {
  return `${String(number).padStart(9, '0')}.entry`
}

/** Null: it is the name of something else. */
export function entryNumber(name: string): number | null {
  const digits = ENTRY_NAME.exec(name)?.[1]
  return digits === undefined ? null : Number(digits)
}

export function signEntry(entry: IndexEntry, privateKey: KeyObject): SignedText {
  const { number, act, sessionId, seal, timeUnixNs, first, previous, keyId } = entry
  const text = {
    ...{ version: JOURNAL_VERSION, number, act, sessionId, timeUnixNs: String(timeUnixNs) },
    ...(seal === null ? {} : { seal: { records: String(seal.records), head: seal.head } }),
    ...{ first, previous, keyId },
  }
  return signText(DOMAIN, text, privateKey)
}

/** A file of the index. */
export function entryLine(signed: SignedText): string {
  return `${signedLine(LINE, signed)}\n`
}

/** Null: it is none. Nothing is said of its signature. */
export function parseEntry(text: string): { entry: IndexEntry; hash: string; signed: SignedText } | null {
  const signed = parseSignedLine(LINE, text)
  const fields = signed === null ? null : Fields.parse(signed.body.toString())
  if (signed === null || fields === null || fields.get('version') !== JOURNAL_VERSION) return null
  const number = fields.whole('number', 1)
  const act = INDEX_ACTS.find((known) => known === fields.get('act'))
  const sessionId = fields.text('sessionId', /^/)
  const timeUnixNs = fields.big('timeUnixNs')
  const first = fields.whole('first', 1)
  const previous = fields.text('previous', /^([0-9a-f]{64})?$/)
  const keyId = fields.text('keyId', /^[0-9a-f]{16}$/)
  const seal = parseSeal(fields)
  if (number === null || act === undefined || sessionId === null || timeUnixNs === null) return null
  if (first === null || first > number || previous === null || keyId === null) return null
  if ((act === 'TRIMMED') === isSessionId(sessionId) || (act === 'SEALED') !== (seal !== null)) return null
  const entry = { number, act, sessionId, seal, timeUnixNs, first, previous, keyId }
  return { entry, hash: bodyHash(signed.body), signed }
}

function parseSeal(fields: Fields): IndexedSeal | null {
  const said = Fields.from(fields.get('seal'))
  const records = said?.big('records') ?? null
  const head = said?.text('head', new RegExp(`^[0-9a-f]{${2 * HASH_BYTES}}$`)) ?? null
  return records === null || head === null ? null : { records, head }
}

export interface IndexedSession {
  /** Null: it was not sealed yet. */
  readonly seal: IndexedSeal | null
  /** The node removed it, as its time was over. */
  readonly isRemoved: boolean
}

export interface IndexReport {
  /** That fit. */
  readonly entries: number
  /** The oldest that must be there, and the last one; 0: there is none. */
  readonly first: number
  readonly last: number
  readonly problem: { readonly entry: number; readonly reason: string } | null
  readonly sessions: ReadonlyMap<string, IndexedSession>
  /** Undefined: it does not have that entry. */
  entry(number: number): { readonly hash: string; readonly sessionId: string } | undefined
}

/** Empty where there is none. Throws IO for one that can't be read. */
export function readIndex(dir: string, keys: Keys): IndexReport {
  const folder = join(dir, INDEX_FOLDER)
  const numbers = numbersOf(folder)
  const last = numbers.at(-1) ?? 0
  const sessions = new Map<string, IndexedSession>()
  const known = new Map<number, { hash: string; sessionId: string }>()
  const report = { entries: 0, first: 0, last, sessions, entry: (number: number) => known.get(number) }
  if (last === 0) return { ...report, problem: null }
  const newest = readEntry(folder, last, keys)
  if (typeof newest === 'string') return { ...report, problem: { entry: last, reason: newest } }
  const { first } = newest.entry
  let previous: string | null = first === 1 ? '' : null
  for (let number = first; number <= last; number++) {
    const found = readEntry(folder, number, keys)
    const reason = typeof found === 'string' ? found : misplaced(found.entry, number, previous)
    if (typeof found === 'string' || reason !== null) {
      return { ...report, entries: known.size, first, problem: { entry: number, reason: reason ?? '' } }
    }
    const { entry, hash } = found
    previous = hash
    known.set(number, { hash, sessionId: entry.sessionId })
    if (entry.act === 'TRIMMED') continue
    const seal = entry.seal ?? sessions.get(entry.sessionId)?.seal ?? null
    sessions.set(entry.sessionId, { seal, isRemoved: entry.act === 'REMOVED' })
  }
  return { ...report, entries: known.size, first, problem: null }
}

/** Null: it follows the one before it. @param previous null: that need not be there any more */
function misplaced(entry: IndexEntry, number: number, previous: string | null): string | null {
  if (entry.number !== number) return `it is entry ${entry.number} by what it says itself`
  if (previous === null || entry.previous === previous) return null
  return 'it does not follow the one before it'
}

/** Or what is wrong with it. */
function readEntry(folder: string, number: number, keys: Keys): { entry: IndexEntry; hash: string } | string {
  let text: string
  try {
    text = readBounded(join(folder, entryName(number)), ENTRY_BYTES_MAX).toString()
  } catch (error) {
    if (error instanceof SluiceError && errnoCode(error.cause) === 'ENOENT') return 'it is missing'
    return messageOf(error)
  }
  const parsed = parseEntry(text)
  if (parsed === null) return 'it is no entry of this version'
  const problem = signatureProblem(DOMAIN, parsed.signed, { keyId: parsed.entry.keyId, keys })
  return problem === null ? parsed : `it ${problem}`
}

function numbersOf(folder: string): number[] {
  let names: string[]
  try {
    names = readdirSync(folder)
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return []
    throw new SluiceError('IO', `${folder} can't be read: ${reasonOf(error)}`, { cause: error })
  }
  const numbers = names.flatMap((name) => entryNumber(name) ?? []).sort((a, b) => a - b)
  if (numbers.length <= ENTRIES_MAX) return numbers
  throw new SluiceError('LIMIT', `${folder} has ${numbers.length} entries: more than the ${ENTRIES_MAX} that are read`)
}

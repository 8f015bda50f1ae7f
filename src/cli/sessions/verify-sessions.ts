/**
 * `sluice sessions verify`: whether journals are what was written. Guards that what could not be checked never counts as good, and that a
 * witness is asked for sessions, too, that are not there at all.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf, SluiceError } from '../../base/error.js'
import { writeStderr } from '../../base/stderr.js'
import { type Checkpoint, openCheckpoint } from '../../proto/journal/checkpoint.js'
import { IndexCheck } from '../../proto/journal/index-check.js'
import {
  KEYS_FOLDER,
  readKeys,
  readWitness,
  SESSIONS_FOLDER,
  sessionFolder,
  sessionsOf,
} from '../../proto/journal/journal-folder.js'
import { type IndexReport, readIndex } from '../../proto/journal/node-index.js'
import { type JournalReport, type VerifyOptions, verifyJournal } from '../../proto/journal/verify-journal.js'
import { unixNsToText } from '../../proto/time-text.js'
import { neutralise, neutraliseJson } from '../display-text.js'
import type { JournalContext } from './journal-context.js'

export interface RawVerifyOptions {
  key?: string[]
  witness?: string
}

/** The exit code: 1 if one is not what was written. */
export async function verifySessions(
  wanted: readonly string[],
  raw: RawVerifyOptions,
  { dir, json }: Pick<JournalContext, 'dir' | 'json'>,
): Promise<number> {
  const own = join(dir, KEYS_FOLDER)
  const keys = readKeys(raw.key ?? [own])
  if (keys.size === 0)
    throw new SluiceError('USAGE', `there is no public key in ${own}`, { hint: 'name one: --key FILE' })
  if (raw.key === undefined)
    writeStderr(`sluice: with the keys in ${neutralise(own)}; a copy from elsewhere proves more (--key)\n`)
  const witness = raw.witness === undefined ? null : readWitness(raw.witness)
  // Before the journals are read: what it holds of them they have.
  const index = readIndex(dir, keys)
  const held = (witness ?? [])
    .map((signed) => openCheckpoint(signed, keys))
    .filter((opened) => typeof opened !== 'string')
  const ids = wanted.length > 0 ? wanted : sessionsOf(dir)
  const references = [...held]
  let bad = 0
  for (const id of ids) {
    const { folder, sessionId } = sessionFolder(dir, id)
    // One that was brought from elsewhere is in another index, or none.
    const isOurs = folder === join(dir, SESSIONS_FOLDER, sessionId)
    const sealed = isOurs ? (index.sessions.get(sessionId)?.seal ?? null) : null
    let last: Checkpoint | null = null
    const onCheckpoint = (checkpoint: Checkpoint) => {
      last = checkpoint
    }
    const report = checkedJournal({ folder, sessionId, keys, witness, sealed, onCheckpoint })
    if (isOurs && last !== null) references.push(last)
    if (report.state === 'BAD') bad++
    say(json, reportJson(report), `${sessionId}: ${reportText(report)}`)
  }
  const isAll = wanted.length === 0
  const judge = (by: IndexReport) => judgeIndex(by, { dir, references, held: isAll ? held : [], isAll })
  const judged = judge(index)
  // What was written meanwhile is no fault.
  return (judged.isGood ? judged : judge(readIndex(dir, keys))).say(json) && bad === 0 ? 0 : 1
}

interface Judged {
  readonly isGood: boolean
  /** True if it is good. */
  say(json: boolean): boolean
}

function judgeIndex(
  index: IndexReport,
  of: { dir: string; references: readonly Checkpoint[]; held: readonly Checkpoint[]; isAll: boolean },
): Judged {
  const check = new IndexCheck(index)
  for (const checkpoint of of.references) check.take(checkpoint)
  const missing = of.isAll ? missingOf(of.dir, check, of.held) : []
  const { problem } = check
  const isGood = problem === null && missing.length === 0
  return {
    isGood,
    say(json) {
      for (const { sessionId, by } of missing) {
        say(json, { sessionId, state: 'MISSING', by }, `${sessionId}: MISSING: the ${by} knows it`)
      }
      const { entries, first, last, sessions } = index
      const state = problem === null ? 'GOOD' : 'BAD'
      const text = problem ?? `${entries} entries about ${sessions.size} sessions`
      if (of.isAll || problem !== null) {
        say(json, { index: { state, problem, entries, first, last } }, `index: ${state}: ${text}`)
      }
      return isGood
    },
  }
}

function say(json: boolean, said: object, text: string): void {
  process.stdout.write(`${json ? neutraliseJson(JSON.stringify(said)) : neutralise(text)}\n`)
}

/** Throws IO for a folder that can't be read. */
export function checkedJournal(options: VerifyOptions): JournalReport {
  try {
    return verifyJournal(options)
  } catch (error) {
    if (error instanceof SluiceError) throw error
    throw new SluiceError('IO', `${options.folder} can't be read: ${messageOf(error)}`, { cause: error })
  }
}

/** Sessions that the index lists, or a checkpoint of the witness is of, and that are not here; not those that the node itself removed. */
function missingOf(dir: string, check: IndexCheck, held: readonly Checkpoint[]) {
  const isHere = (id: string) => existsSync(sessionFolder(dir, id).folder)
  const listed = check.missing(isHere)
  const known = new Set(held.map(({ sessionId }) => sessionId))
  const { sessions } = check.report
  const others = [...known].filter((id) => !isHere(id) && !listed.includes(id) && sessions.get(id)?.isRemoved !== true)
  return [
    ...listed.map((sessionId) => ({ sessionId, by: "node's index" })),
    ...others.map((sessionId) => ({ sessionId, by: 'witness' })),
  ]
}

/** Its state, and how far it is vouched for. */
export function reportText(report: JournalReport): string {
  const { state, records, proved, checkpoints, tornBytes, lost, problem, witnessed, provedUnixNs } = report
  const held = witnessed === null ? '' : `; ${witnessed} checkpoints of the witness fit`
  const missing = lost === 0n ? '' : `; gaps in it tell of ${lost} events`
  if (problem !== null) {
    const before = proved === 0n ? 'nothing before it is vouched for' : `records 1 to ${proved} are vouched for`
    return `BAD: record ${problem.record} (${problem.file}, byte ${problem.offset}): ${problem.reason}; ${before}`
  }
  if (state === 'SEALED') return `SEALED: ${records} records, ${checkpoints} checkpoints${missing}${held}`
  const tail = records - proved
  const at = checkpoints === 0 ? '' : `, of ${unixNsToText(provedUnixNs)}`
  const torn = tornBytes === 0 ? '' : `; ${tornBytes} bytes of what comes then are not whole`
  return `OPEN: ${tail} of ${records} records unproved behind checkpoint ${checkpoints}${at}${torn}${missing}${held}`
}

export function reportJson(report: JournalReport) {
  const { problem, records, lastSeq, proved, provedSeq, provedUnixNs, lost, ...rest } = report
  return {
    ...rest,
    ...{ records: String(records), lastSeq: String(lastSeq), proved: String(proved), provedSeq: String(provedSeq) },
    ...{ provedTime: provedUnixNs === 0n ? null : unixNsToText(provedUnixNs), lost: String(lost) },
    problem: problem === null ? null : { ...problem, record: String(problem.record) },
  }
}

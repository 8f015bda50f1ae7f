/**
 * `sluice sessions verify`: whether journals are what was written. Guards that what could not be checked never counts as good, and that a
 * witness is asked for sessions, too, that are not there at all.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf, SluiceError } from '../../base/error.js'
import { writeStderr } from '../../base/stderr.js'
import { type Keys, openCheckpoint, type SignedCheckpoint } from '../../proto/journal/checkpoint.js'
import { KEYS_FOLDER, readKeys, readWitness, sessionFolder, sessionsOf } from '../../proto/journal/journal-folder.js'
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
  { dir, json }: JournalContext,
): Promise<number> {
  const own = join(dir, KEYS_FOLDER)
  const keys = readKeys(raw.key ?? [own])
  if (keys.size === 0)
    throw new SluiceError('USAGE', `there is no public key in ${own}`, { hint: 'name one: --key FILE' })
  if (raw.key === undefined)
    writeStderr(`sluice: with the keys in ${neutralise(own)}; a copy from elsewhere proves more (--key)\n`)
  const witness = raw.witness === undefined ? null : readWitness(raw.witness)
  const ids = wanted.length > 0 ? wanted : sessionsOf(dir)
  let bad = 0
  for (const id of ids) {
    const { folder, sessionId } = sessionFolder(dir, id)
    const report = checkedJournal({ folder, sessionId, keys, witness })
    if (report.state === 'BAD') bad++
    process.stdout.write(
      `${json ? neutraliseJson(JSON.stringify(reportJson(report))) : neutralise(`${sessionId}: ${reportText(report)}`)}\n`,
    )
  }
  const missing = wanted.length > 0 || witness === null ? [] : missingOf(dir, keys, witness)
  for (const sessionId of missing) {
    const said = json ? JSON.stringify({ sessionId, state: 'MISSING' }) : `${sessionId}: MISSING: the witness knows it`
    process.stdout.write(`${said}\n`)
  }
  return bad + missing.length > 0 ? 1 : 0
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

/** Sessions that a checkpoint of ours is of, and that are not here. */
function missingOf(dir: string, keys: Keys, witness: readonly SignedCheckpoint[]): string[] {
  const ids = witness.flatMap((signed) => {
    const opened = openCheckpoint(signed, keys)
    return typeof opened === 'string' ? [] : [opened.sessionId]
  })
  return [...new Set(ids)].filter((id) => !existsSync(sessionFolder(dir, id).folder))
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

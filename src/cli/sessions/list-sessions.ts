/** `sluice sessions ls`: one line a session. What it shows is what the files say: `verify` proves. */

import { unixNsToText } from '../../proto/time-text.js'
import { neutralise, neutraliseJson, neutraliseWord } from '../display-text.js'
import type { JournalContext } from './journal-context.js'
import { findSessions } from './journal-events.js'
import { compileSelection, type RawSelection } from './selection.js'
import type { SessionHead } from './session-head.js'

const SECONDS_CHARS = 'YYYY-MM-DDTHH:MM:SS'.length
const MIB = 1024 * 1024

/** The exit code. */
export async function listSessions(raw: RawSelection, { dir, json }: JournalContext): Promise<number> {
  const isMeant = compileSelection(raw, Date.now())
  const heads = findSessions(dir, [])
    .map(({ head }) => head)
    .filter(isMeant)
  if (json) for (const head of heads) process.stdout.write(`${neutraliseJson(JSON.stringify(headJson(head)))}\n`)
  else process.stdout.write(table(heads))
  return 0
}

export function headJson({ sessionId, sandbox, startUnixNs, lastUnixNs, bytes, events, lost, isSealed }: SessionHead) {
  return {
    ...{ sessionId, sandbox, start: unixNsToText(startUnixNs), last: unixNsToText(lastUnixNs) },
    ...{ events: String(events), lost: String(lost), bytes: String(bytes), state: isSealed ? 'SEALED' : 'OPEN' },
  }
}

function table(heads: readonly SessionHead[]): string {
  const rows = heads.map(({ sessionId, sandbox, startUnixNs, bytes, events, lost, isSealed }) => [
    ...[sessionId, `${unixNsToText(startUnixNs).slice(0, SECONDS_CHARS)}Z`, isSealed ? 'sealed' : 'open'],
    ...[
      neutraliseWord(sandbox?.name ?? '-'),
      neutraliseWord(sandbox?.agent || '-'),
      neutraliseWord(sandbox?.task || '-'),
    ],
    ...[String(events), String(lost), `${(bytes / MIB).toFixed(1)}M`],
  ])
  const all = [['SESSION', 'START', 'STATE', 'SANDBOX', 'AGENT', 'TASK', 'EVENTS', 'LOST', 'SIZE'], ...rows]
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? []
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  return `${all.map((row) => neutralise(line(row))).join('\n')}\n`
}

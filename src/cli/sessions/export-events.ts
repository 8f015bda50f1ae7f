/**
 * `sluice sessions export`: the events of sessions, filtered: as JSON Lines or in another schema, as compact lines, or summed up as what was reached, by what, under what
 * rule. Guards that a journal which is not what was written ends where it does not fit, with exit code 1.
 */
import { once } from 'node:events'
import { SluiceError } from '../../base/error.js'
import { writeStderr } from '../../base/stderr.js'
import { SCHEMA_NAMES, schemaLine } from '../../schema/schemas.js'
import { compactLine } from '../compact-line.js'
import { neutralise } from '../display-text.js'
import { compileFilter } from '../events/event-filter.js'
import { readRecordedEvent } from '../events/recorded-event.js'
import { errorLine } from '../report.js'
import { terminalColumns, wantsColor } from '../terminal.js'
import { ownVersion } from '../version.js'
import type { JournalContext } from './journal-context.js'
import { eventsOf, findSessions } from './journal-events.js'
import { ReachedHosts } from './reached-hosts.js'
import { compileSelection, type RawSelection } from './selection.js'

export interface RawExportOptions extends RawSelection {
  type?: string[]
  verdict?: string[]
  process?: string[]
  host?: string[]
  output?: string
}

const STDOUT = 1

/** The exit code. */
export async function exportEvents(
  wanted: readonly string[],
  raw: RawExportOptions,
  { dir, json, settings }: JournalContext,
): Promise<number> {
  const form = formOf(raw.output)
  const now = Date.now()
  const isMeant = compileSelection(raw, now)
  const { agent: _agent, task: _task, sandbox: _sandbox, output: _output, ...filter } = raw
  const matches = compileFilter(filter, now)
  const abort = new AbortController()
  process.stdout.on('error', () => abort.abort())
  const reached = new ReachedHosts()
  const version = ownVersion()
  const style = { color: wantsColor(settings.color, STDOUT), columns: terminalColumns(STDOUT) }
  let exitCode = 0
  for (const session of findSessions(dir, wanted).filter(({ head }) => isMeant(head))) {
    try {
      for (const event of eventsOf(session)) {
        if (abort.signal.aborted) return exitCode
        const line = JSON.stringify(event)
        const shown = readRecordedEvent(line)
        if (!matches(shown)) continue
        if (form === 'reached') reached.add(event)
        else
          await write(form === 'compact' ? compactLine(shown, style) : schemaLine(form, event, version), abort.signal)
      }
    } catch (error) {
      writeStderr(`${errorLine(error)}\n`)
      exitCode = 1
    }
  }
  if (form === 'reached')
    for (const line of json ? reached.jsonLines() : reached.lines()) await write(line, abort.signal)
  return exitCode
}

const FORMS = [...SCHEMA_NAMES, 'compact', 'reached'] as const

function formOf(output = 'json'): (typeof FORMS)[number] {
  const form = FORMS.find((known) => known === output)
  if (form !== undefined) return form
  throw new SluiceError('USAGE', `-o is '${neutralise(output)}': it must be one of ${FORMS.join(', ')}`)
}

async function write(line: string, signal: AbortSignal): Promise<void> {
  if (signal.aborted || process.stdout.write(`${line}\n`)) return
  await once(process.stdout, 'drain', { signal }).catch(() => {})
}

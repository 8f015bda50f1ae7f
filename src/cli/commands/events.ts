/**
 * `sluice events`: shows a recording, or with -f and no file what the node's agent sees from now on, filtered, as compact lines, as
 * JSON or in another schema. Guards that a bad line is named, counted and skipped, that live events that were not shown are counted, and that a reader who
 * has seen enough (`| head`) is no error.
 */
import { once } from 'node:events'
import { messageOf, SluiceError } from '../../base/error.js'
import { readLines } from '../../base/read-lines.js'
import { writeStderr } from '../../base/stderr.js'
import type { EventJson } from '../../proto/event-json.js'
import { SCHEMA_NAMES, type SchemaName, schemaLine } from '../../schema/schemas.js'
import { compactLine, type LineStyle } from '../compact-line.js'
import { neutralise } from '../display-text.js'
import type { ColorMode } from '../environment.js'
import { compileFilter, parseTime, type RawFilter } from '../events/event-filter.js'
import { readRecordedEvent } from '../events/recorded-event.js'
import type { ShownEvent } from '../shown-event.js'
import { terminalColumns, wantsColor } from '../terminal.js'
import { ownVersion } from '../version.js'

const STDOUT = 1
const FORMS = ['compact', ...SCHEMA_NAMES] as const

type Form = (typeof FORMS)[number]

/** Largest `--last`: that many lines are held. */
const LAST_MAX = 1_000_000
/** Bad lines that are reported one by one; the rest is only counted. */
const BAD_LINES_REPORTED_MAX = 20

export interface RawEventsOptions extends RawFilter {
  follow?: boolean
  last?: string
  output?: string
}

export interface EventsOptions {
  /** Null: live. */
  readonly file: string | null
  readonly follow: boolean
  readonly last: number | null
  readonly form: Form
}

/** Throws USAGE or UNSUPPORTED. */
export function parseEventsOptions(raw: RawEventsOptions, file: string | undefined): EventsOptions {
  const isLive = file === undefined || file === ''
  if (isLive && raw.follow !== true) {
    throw new SluiceError('USAGE', 'no recording is named, and an agent keeps none', {
      hint: 'sluice events -f shows live events; else name a file (sluice run --record FILE), or - for stdin',
    })
  }
  const output = raw.output ?? 'compact'
  const form = FORMS.find((known) => known === output)
  if (form === undefined) throw new SluiceError('USAGE', `-o is '${output}': it must be one of ${FORMS.join(', ')}`)
  return { file: isLive ? null : file, follow: raw.follow ?? false, last: parseLast(raw.last), form }
}

function parseLast(value: string | undefined): number | null {
  if (value === undefined) return null
  const last = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN
  if (!(last >= 1 && last <= LAST_MAX)) {
    throw new SluiceError('USAGE', `--last is '${value}': it must be a number from 1 to ${LAST_MAX}`)
  }
  return last
}

export interface EventsContext {
  readonly color: ColorMode
  /** Of the node's agent. */
  readonly socket: string
}

/** The exit code. */
export async function events(options: EventsOptions, filter: RawFilter, context: EventsContext): Promise<number> {
  const abort = new AbortController()
  process.stdout.on('error', () => abort.abort())
  const showing: Showing = {
    matches: compileFilter(filter, Date.now()),
    style: { color: wantsColor(context.color, STDOUT), columns: terminalColumns(STDOUT) },
    form: options.form,
    version: ownVersion(),
  }
  return options.file === null
    ? live(filter, context.socket, { showing, abort })
    : recorded({ ...options, file: options.file }, { showing, abort })
}

interface Output {
  readonly showing: Showing
  readonly abort: AbortController
}

async function recorded(options: EventsOptions & { file: string }, { showing, abort }: Output): Promise<number> {
  let held: string[] | null = options.last === null ? null : []
  let bad = 0
  for await (const line of readLines({ ...options, signal: abort.signal })) {
    if (abort.signal.aborted) break
    if (line.kind === 'caughtUp') {
      if (held !== null) for (const shown of held.slice(-(options.last ?? 0))) await writeStdout(shown, abort.signal)
      held = null
      continue
    }
    if (line.text === '') continue
    try {
      const shown = show(line.text, showing)
      if (shown === null) continue
      if (held === null) await writeStdout(shown, abort.signal)
      else hold(held, shown, options.last ?? 0)
    } catch (error) {
      bad += 1
      if (bad <= BAD_LINES_REPORTED_MAX) {
        writeStderr(`sluice: ${neutralise(options.file)}:${line.number}: ${neutralise(messageOf(error))}; skipped\n`)
      }
    }
  }
  if (bad > 0) writeStderr(`sluice: ${bad} bad line${bad === 1 ? '' : 's'} skipped\n`)
  return 0
}

/** From now on: an agent keeps no past, so `--last` has nothing to begin with. Ends with the agent, at `--until`, or with its reader. */
async function live(filter: RawFilter, socket: string, { showing, abort }: Output): Promise<number> {
  const { followAgent } = await import('../events/live-events.js')
  const [sandbox] = filter.sandbox ?? []
  const only = filter.sandbox?.length === 1 && sandbox !== undefined && !sandbox.includes(',') ? sandbox : ''
  const until = filter.until === undefined ? null : parseTime('--until', filter.until, Date.now())
  await followAgent({
    ...{ socket, sandbox: only, untilUnixNs: until, signal: abort.signal },
    async onEvent(event) {
      if (!showing.matches(event)) return
      const shown = inForm(event, JSON.stringify(event), showing)
      await writeStdout(shown, abort.signal)
    },
    onDropped: (count) => writeStderr(`sluice: ${count} events were not shown: whoever reads them is too slow\n`),
  })
  return 0
}

interface Showing {
  readonly matches: (event: ShownEvent) => boolean
  readonly style: LineStyle
  readonly form: Form
  readonly version: string
}

/** Null for what the filter leaves out. Throws for a bad line. */
function show(text: string | null, showing: Showing): string | null {
  if (text === null) throw new SluiceError('LIMIT', 'the line is too long')
  const event = readRecordedEvent(text)
  if (!showing.matches(event)) return null
  return inForm(event, text, showing)
}

/** @param text the event's own JSON */
function inForm(event: ShownEvent, text: string, { form, style, version }: Showing): string {
  if (form === 'compact') return compactLine(event, style)
  return form === 'json' ? text : lineIn(form, text, version)
}

/** Of an event that some other hand may have written. Throws PROTOCOL. */
function lineIn(schema: SchemaName, text: string, version: string): string {
  try {
    return schemaLine(schema, JSON.parse(text) as EventJson, version)
  } catch (error) {
    if (error instanceof SluiceError) throw error
    throw new SluiceError('PROTOCOL', 'not an event: it lacks a field of its kind', { cause: error })
  }
}

/** Keeps the newest `limit`; cuts in bulk, as shifting one by one is quadratic. */
function hold(held: string[], line: string, limit: number): void {
  held.push(line)
  if (held.length >= 2 * limit) held.splice(0, held.length - limit)
}

async function writeStdout(line: string, signal: AbortSignal): Promise<void> {
  if (signal.aborted || process.stdout.write(`${line}\n`)) return
  await once(process.stdout, 'drain', { signal }).catch(() => {})
}

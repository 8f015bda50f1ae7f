/**
 * One event as one greppable line for people: time (UTC), sandbox, kind, verdict, process(pid), what. Fields before the last hold no
 * space, so that they can be counted. Guards the terminal: nothing a sandbox chose reaches it unescaped. Not a format for machines.
 */
import picocolors from 'picocolors'
import { cutAt, neutraliseWord } from './display-text.js'
import { eventText } from './event-text.js'
import { decisionOf, kindOf, programName, type ShownEvent } from './shown-event.js'

export interface LineStyle {
  readonly color: boolean
  /** Columns of the terminal that a line is cut to; null: never cut. */
  readonly columns: number | null
}

type Paint = (text: string) => string

interface Cell {
  readonly text: string
  readonly width: number
  readonly paint: Paint
}

const TIME_WIDTH = 'HH:MM:SS.mmm'.length
const SANDBOX_WIDTH = 12
/** Of the kinds that come often; the two that frame a session and some rare ones are longer. */
const KIND_WIDTH = 'fileChange'.length
const VERDICT_WIDTH = 'WOULD_DENY'.length
const PROCESS_WIDTH = 16
/** What a line shows of `what` on however narrow a terminal. */
const WHAT_COLUMNS_MIN = 20

/** No line end. */
export function compactLine(event: ShownEvent, style: LineStyle): string {
  const cells = cellsOf(event, picocolors.createColors(style.color))
  const what = eventText(event)
  if (style.columns === null) return `${cells.map(padded).join(' ')} ${what}`
  const headColumns = cells.reduce((sum, cell) => sum + Math.max(cell.width, cell.text.length) + 1, 0)
  return `${cells.map(padded).join(' ')} ${cutAt(what, Math.max(style.columns - headColumns, WHAT_COLUMNS_MIN))}`
}

function cellsOf(event: ShownEvent, colors: ReturnType<typeof picocolors.createColors>): Cell[] {
  const kind = kindOf(event) ?? '-'
  const decision = decisionOf(event)
  const plain: Paint = (text) => text
  const verdictPaint: Paint =
    decision === 'DENY' ? colors.red : decision === 'WOULD_DENY' || decision === 'REDIRECT' ? colors.yellow : colors.dim
  return [
    { text: neutraliseWord(event.time.slice(11, 11 + TIME_WIDTH)), width: TIME_WIDTH, paint: colors.dim },
    { text: neutraliseWord(event.sandbox.name || event.sandbox.id), width: SANDBOX_WIDTH, paint: plain },
    { text: neutraliseWord(kind), width: KIND_WIDTH, paint: kind === 'gap' ? colors.yellow : colors.cyan },
    { text: neutraliseWord(decision ?? ''), width: VERDICT_WIDTH, paint: verdictPaint },
    { text: processText(event), width: PROCESS_WIDTH, paint: plain },
  ]
}

function processText(event: ShownEvent): string {
  const process = event.process ?? null
  return process === null ? '-' : `${neutraliseWord(programName(process.exe))}(${process.pid})`
}

/** The padding stays outside the colour, so that lines can be compared without it. */
function padded({ text, width, paint }: Cell): string {
  return paint(text) + ' '.repeat(Math.max(0, width - text.length))
}

/**
 * The end of a run in a few aligned lines for people. Guards the terminal like every other output; cuts lists, and says what it cut.
 * Pure: what the terminal is like is handed in.
 */
import picocolors from 'picocolors'
import { cutAt, formatDuration, neutralise, shellLine, shellWord } from './display-text.js'
import { type ChildStatus, describeStatus } from './exit-code.js'
import { programName, type ShownSummary, type ShownTally } from './shown-event.js'

export interface SummaryInput {
  /** Null where the session ended without one. */
  readonly summary: ShownSummary | null
  /** As it was typed. */
  readonly command: readonly string[]
  readonly status: ChildStatus
  /** Absolute; paths below it are shown relative to it. */
  readonly workdir: string
  readonly recordPath: string | null
  /** The command ran as root, nobody said that it must not. */
  readonly asRoot: boolean
  /** Null: the run was only watched. */
  readonly policy: { readonly name: string; readonly enforced: boolean } | null
  /** Layers that a whole installation would have. */
  readonly degraded: readonly string[]
  /** Why events are missing, in whole sentences without a full stop. */
  readonly problems: readonly string[]
}

export interface SummaryStyle {
  readonly color: boolean
  /** Null: not a terminal, lines are never cut. */
  readonly columns: number | null
}

const LABEL_WIDTH = 13
const LIST_MAX = 5
/** Narrowest that lines are cut to. */
const COLUMNS_MIN = 40

type Colors = ReturnType<typeof picocolors.createColors>

/** Whole lines, each with its line end. */
export function summaryText(input: SummaryInput, style: SummaryStyle): string {
  const colors = picocolors.createColors(style.color)
  const columns = style.columns === null ? Number.POSITIVE_INFINITY : Math.max(style.columns, COLUMNS_MIN)
  const lines = [
    ...headLines(input, columns, colors),
    ...(input.summary === null ? [] : countLines(input.summary, input.workdir, columns)),
    ...tailLines(input, columns, colors),
  ]
  return `${lines.join('\n')}\n`
}

function headLines(input: SummaryInput, columns: number, colors: Colors): string[] {
  const failed = input.status.code !== 0 || input.status.signal !== 0
  const after = input.summary === null ? '' : ` after ${formatDuration(Number(input.summary.durationMs))}`
  const title = `sluice: ${describeStatus(input.status)}${after}: `
  const command = cutAt(shellLine(input.command.map(doubleBackslashes)), columns - title.length)
  const painted = failed ? colors.yellow(describeStatus(input.status)) : describeStatus(input.status)
  return [`${colors.bold('sluice:')} ${painted}${after}: ${colors.bold(command)}`]
}

function countLines(summary: ShownSummary, workdir: string, columns: number): string[] {
  const line = (label: string, text: string) =>
    `  ${label.padEnd(LABEL_WIDTH)}${cutAt(text, columns - LABEL_WIDTH - 2)}`
  const killed = summary.killedAtEnd === 0 ? '' : `, ${summary.killedAtEnd} still running at the end and killed`
  const failed = summary.filesFailed === '0' ? '' : `, ${number(summary.filesFailed)} failed`
  const lines = [
    line('processes', `${number(summary.processes)}, ${plural(summary.execs, 'program')} started${killed}`),
    line('files', `${number(summary.filesOpened)} opened, ${number(summary.filesWritten)} written${failed}`),
    line('connections', number(summary.connects)),
  ]
  return [
    ...lines.slice(0, 1),
    ...list(line, summary.programs, (tally) => shellWord(programName(tally.name))),
    ...lines.slice(1, 2),
    ...list(line, summary.writtenPaths, (tally) => shellWord(relativeTo(workdir, tally.name))),
    ...lines.slice(2),
    ...list(line, summary.destinations, (tally) => neutralise(tally.name)),
  ]
}

/** One line: the first few, each with how often where that is more than once, and how many more there are. */
function list(
  line: (label: string, text: string) => string,
  tallies: readonly ShownTally[],
  name: (tally: ShownTally) => string,
): string[] {
  if (tallies.length === 0) return []
  const shown = tallies.slice(0, LIST_MAX).map((tally) => {
    const times = tally.count === '1' ? '' : ` ×${number(tally.count)}`
    const failed =
      tally.failed === '0' ? '' : tally.failed === tally.count ? ' (failed)' : ` (${number(tally.failed)} failed)`
    return `${name(tally)}${times}${failed}`
  })
  const more = tallies.length - shown.length
  return [line('', more === 0 ? shown.join(', ') : `${shown.join(', ')}, and ${more} more`)]
}

function tailLines(input: SummaryInput, columns: number, colors: Colors): string[] {
  const line = (label: string, text: string, paint: (text: string) => string = (plain) => plain) =>
    `  ${label.padEnd(LABEL_WIDTH)}${paint(cutAt(text, columns - LABEL_WIDTH - 2))}`
  const { summary, problems, recordPath, degraded } = input
  const lines: string[] = []
  if (summary === null) lines.push(line('events', 'the session ended without a summary', colors.yellow))
  else if (summary.complete && problems.length === 0) lines.push(line('events', `${number(summary.events)}, none lost`))
  else {
    const lost = summary.lost === '0' ? 'incomplete' : `${number(summary.lost)} lost`
    lines.push(line('events', `${number(summary.events)}, ${lost}`, colors.yellow))
  }
  for (const problem of problems) lines.push(line('', neutralise(problem), colors.yellow))
  lines.push(...detectionLines(summary, line, colors))
  lines.push(...policyLines(input.policy, summary, line, colors))
  if (input.asRoot) lines.push(line('user', 'root, which can undo the watching; use --user', colors.dim))
  if (degraded.length > 0) lines.push(line('not applied', degraded.map(neutralise).join(', '), colors.dim))
  if (recordPath !== null) lines.push(line('record', shellWord(doubleBackslashes(recordPath))))
  return lines
}

/** One line each, the worst part of it first. */
function detectionLines(
  summary: ShownSummary | null,
  line: (label: string, text: string, paint?: (text: string) => string) => string,
  colors: Colors,
): string[] {
  const { detections = [], responses = [] } = summary ?? {}
  const told = detections.map(({ detector, severity, count, reason }) => {
    const times = count === '1' ? '' : ` ×${number(count)}`
    return `${neutralise(detector)} (${neutralise(severity.toLowerCase())})${times}: ${neutralise(reason)}`
  })
  const isFact = detections.every(({ severity }) => severity === 'INFO' || severity === 'LOW')
  const paint = isFact ? colors.dim : colors.yellow
  return [
    ...told.map((text, index) => line(index === 0 ? 'detections' : '', text, paint)),
    ...list(
      (_, text) => line('responses', text, colors.yellow),
      responses,
      (tally) => neutralise(tally.name),
    ),
  ]
}

/** What was refused is told with its rule: that is what whoever wrote the policy has to look at. */
function policyLines(
  policy: SummaryInput['policy'],
  summary: ShownSummary | null,
  line: (label: string, text: string, paint?: (text: string) => string) => string,
  colors: Colors,
): string[] {
  if (policy === null) return [line('policy', 'none: this run was watched, nothing was refused', colors.dim)]
  const { refused = '0', refusals = [] } = summary ?? {}
  const how = policy.enforced ? 'enforced' : 'only monitored'
  const what = `${number(refused)} ${policy.enforced ? 'refused' : 'would have been refused'}`
  const paint = refused === '0' ? colors.dim : colors.yellow
  return [
    line('policy', `${neutralise(policy.name)}, ${how}: ${what}`, paint),
    ...list(
      (label, text) => line(label, text, paint),
      refusals.map(({ target, rule, count }) => ({ name: `${target} (${rule})`, count, failed: '0' })),
      (tally) => neutralise(tally.name),
    ),
  ]
}

/** From the JavaScript string of our own command line to byte text. */
function doubleBackslashes(text: string): string {
  return text.replaceAll('\\', '\\\\')
}

/** `path` is byte text; `workdir` is not. */
function relativeTo(workdir: string, path: string): string {
  const base = doubleBackslashes(workdir.endsWith('/') ? workdir : `${workdir}/`)
  return base !== '/' && path.startsWith(base) && path.length > base.length ? path.slice(base.length) : path
}

/** Thousands apart: `12,345`. */
function number(digits: string): string {
  return neutralise(digits).replace(/\B(?=(\d{3})+(?!\d))/g, ',')
}

function plural(count: string, noun: string): string {
  return `${number(count)} ${noun}${count === '1' ? '' : 's'}`
}

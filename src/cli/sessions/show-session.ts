/**
 * `sluice sessions show`: one session as a story: its tool calls in order with what each ran, changed and reached, what was noticed and done, what is
 * missing. Guards the size of what is held: of each call the first of everything are kept, the rest is counted.
 */
import { writeStderr } from '../../base/stderr.js'
import type { EventJson } from '../../proto/event-json.js'
import { neutralise, neutraliseJson } from '../display-text.js'
import { eventText } from '../event-text.js'
import { readRecordedEvent } from '../events/recorded-event.js'
import { errorLine } from '../report.js'
import type { JournalContext } from './journal-context.js'
import { eventsOf, foundSession } from './journal-events.js'
import { headJson } from './list-sessions.js'

const CALLS_MAX = 10_000
const EACH_MAX = 20
const TIME_FROM = 11
const TIME_TO = 19

/** Something of which only the first are kept. */
interface Some {
  readonly first: string[]
  more: number
}

interface Call {
  readonly id: string
  readonly start: string
  command: string
  how: string
  readonly ran: Some
  readonly changed: Some
  readonly reached: Some
  readonly refused: Some
  readonly noticed: Some
}

/** The exit code: 1 where the journal is not what was written. */
export async function showSession(wanted: string, { dir, json }: JournalContext): Promise<number> {
  const session = foundSession(dir, wanted)
  const story = new Story()
  let exitCode = 0
  try {
    for (const event of eventsOf(session)) story.add(event)
  } catch (error) {
    writeStderr(`${errorLine(error)}\n`)
    exitCode = 1
  }
  if (json) process.stdout.write(`${neutraliseJson(JSON.stringify({ ...headJson(session.head), ...story.json }))}\n`)
  else for (const line of story.lines()) process.stdout.write(`${neutralise(line)}\n`)
  return exitCode
}

class Story {
  private readonly calls = new Map<string, Call>()
  private left = 0
  private readonly frame: string[] = []
  private readonly gaps: Some = some()

  add(event: EventJson): void {
    const shown = readRecordedEvent(JSON.stringify(event))
    if ('sandboxStarted' in event || 'sandboxEnded' in event || 'policyChanged' in event) {
      this.frame.push(`${event.time} ${eventText(shown)}`)
    }
    if ('gap' in event) keep(this.gaps, `${event.time} ${eventText(shown)}`)
    const call = this.callOf(event)
    if (call === null) return
    if ('toolCall' in event) {
      call.command = event.toolCall.command
      call.how = eventText(shown)
      for (const host of event.toolCall.hosts) keep(call.reached, host)
      for (const file of event.toolCall.filesChanged) keep(call.changed, file)
    } else if ('exec' in event) keep(call.ran, eventText(shown))
    else if ('detection' in event || 'response' in event) keep(call.noticed, eventText(shown))
    else if (shown.connect !== undefined) keep(isRefused(shown) ? call.refused : call.reached, eventText(shown))
    else if (isRefused(shown)) keep(call.refused, eventText(shown))
  }

  get json() {
    return { story: this.frame, calls: [...this.calls.values()], callsLeft: this.left, gaps: this.gaps }
  }

  *lines(): Generator<string> {
    yield* this.frame.slice(0, 1)
    for (const call of this.calls.values()) {
      yield `${call.start.slice(TIME_FROM, TIME_TO)} ${call.how || call.command || '(outside of tool calls)'}`
      yield* told('ran', call.ran)
      yield* told('changed', call.changed)
      yield* told('reached', call.reached)
      yield* told('refused', call.refused)
      yield* told('noticed', call.noticed)
    }
    if (this.left > 0) yield `events of ${this.left} more calls are not shown`
    yield* told('missing', this.gaps)
    yield* this.frame.slice(1)
  }

  private callOf({ toolCallId, time }: EventJson): Call | null {
    const known = this.calls.get(toolCallId)
    if (known !== undefined) return known
    if (this.calls.size >= CALLS_MAX) {
      this.left++
      return null
    }
    const call: Call = {
      ...{ id: toolCallId, start: time, command: '', how: '' },
      ...{ ran: some(), changed: some(), reached: some(), refused: some(), noticed: some() },
    }
    this.calls.set(toolCallId, call)
    return call
  }
}

function isRefused(shown: ReturnType<typeof readRecordedEvent>): boolean {
  const verdict = shown.connect?.verdict ?? shown.fileOpen?.verdict ?? shown.dns?.verdict ?? shown.listen?.verdict
  return verdict?.decision === 'DENY' || verdict?.decision === 'WOULD_DENY'
}

function some(): Some {
  return { first: [], more: 0 }
}

function keep(of: Some, what: string): void {
  if (of.first.includes(what)) return
  if (of.first.length < EACH_MAX) of.first.push(what)
  else of.more++
}

function* told(word: string, { first, more }: Some): Generator<string> {
  for (const what of first) yield `  ${word.padEnd(8)} ${what}`
  if (more > 0) yield `  ${word.padEnd(8)} and ${more} more`
}

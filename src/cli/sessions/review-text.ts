/** One session as one screen: what a reviewer needs, the first of each list. Texts are not yet safe to show. Pure. */
import { unixNsToText } from '../../proto/time-text.js'
import { formatDuration, shellLine } from '../display-text.js'
import { describeStatus } from '../exit-code.js'
import type { Reviewed } from './reviewed-session.js'
import type { SessionDigest, Tally } from './session-digest.js'
import { reportText } from './verify-sessions.js'

const LABEL_CHARS = 11
const SECONDS_CHARS = 'YYYY-MM-DDTHH:MM:SS'.length
/** So that it fits a screen. */
const LIST_MAX = 4

export function* reviewLines({ session, digest, report, problem, readers }: Reviewed): Generator<string> {
  const { sessionId, sandbox, startUnixNs } = session.head
  const { start, aspects } = digest
  yield labelled('session', sessionId)
  const of = sandbox === null ? '' : `, sandbox ${sandbox.name} (${sandbox.id})`
  yield labelled('who', `${sandbox?.agent || 'an unnamed agent'} on ${sandbox?.task || 'an unnamed task'}${of}`)
  if (start !== null) yield labelled('command', commandText(start))
  yield labelled('when', `${unixNsToText(startUnixNs).slice(0, SECONDS_CHARS)}Z${durationText(digest)}`)
  yield labelled('policy', digest.policies.join(' → ') || 'unknown')
  for (const degraded of start?.degraded ?? []) yield labelled('', `degraded: ${degraded}`)
  yield labelled('result', resultText(digest))
  const failed = digest.callsFailed === 0 ? '' : `; ${digest.callsFailed} failed`
  yield labelled('tool calls', `${briefly(digest.calls)}${failed}`)
  yield labelled('programs', briefly(aspects.programs))
  yield* listed('changed', aspects.filesChanged)
  yield* listed('reached', aspects.hostsReached)
  yield* listed('denials', aspects.denials)
  yield* listed('detections', digest.reasons)
  yield* listed('responses', aspects.responses)
  yield* listed('gaps', digest.gaps)
  yield labelled('journal', problem ?? (report === null ? 'not checked: there is no public key' : reportText(report)))
  const last = readers.at(-1)
  const more = readers.length > 1 ? ` and ${readers.length - 1} before` : ''
  yield labelled('reviews', last === undefined ? 'none' : `${readerText(last)}${more}`)
}

function commandText({ user, workdir, command }: NonNullable<SessionDigest['start']>): string {
  return command.length === 0 ? `adopted, in ${workdir || '-'}` : `as ${user}, in ${workdir}: ${shellLine(command)}`
}

function durationText({ end }: SessionDigest): string {
  return end === null ? ', its end is not told' : `, ${formatDuration(Number(end.durationMs))}`
}

function resultText({ end, events, lost }: SessionDigest): string {
  if (end === null) return `unknown; ${events} events, ${lost} lost`
  const whole = end.complete ? 'complete' : `incomplete, ${end.lost} lost`
  return `${describeStatus({ code: end.exitCode, signal: end.signal })}; ${end.events} events, ${whole}`
}

function readerText({ time, by, act, note }: Reviewed['readers'][number]): string {
  const what = act === 'READ' ? 'read' : act === 'KEEP' ? 'kept for review' : 'done'
  return `${what} by ${by} ${time.slice(0, SECONDS_CHARS)}Z${note === '' ? '' : `: ${note}`}`
}

function briefly(tally: Tally): string {
  if (tally.total === 0) return 'none'
  const names = tally.sorted.slice(0, LIST_MAX).map(([name, count]) => `${name} ×${count}`)
  const more = tally.counts.size + (tally.left > 0 ? 1 : 0) - names.length
  return `${tally.total}: ${names.join(', ')}${more > 0 ? ' …' : ''}`
}

function* listed(label: string, tally: Tally): Generator<string> {
  const { sorted, left } = tally
  if (sorted.length === 0) yield labelled(label, 'none')
  for (const [index, [name, count]] of sorted.slice(0, LIST_MAX).entries()) {
    yield labelled(index === 0 ? label : '', `${name}${count === 1 ? '' : ` ×${count}`}`)
  }
  const more = sorted.length - LIST_MAX
  if (more > 0) yield labelled('', `and ${more}${left > 0 ? ' or more' : ''} others`)
}

function labelled(label: string, text: string): string {
  return `${label.padEnd(LABEL_CHARS)} ${text}`
}

/**
 * `sluice sessions diff`: what one session did that another didn't, by names that stay the same where the same was done twice. Guards that a list
 * which had no room for all names says so: what is missing there may be no difference.
 */
import { writeStderr } from '../../base/stderr.js'
import { neutralise, neutraliseJson } from '../display-text.js'
import { errorLine } from '../report.js'
import type { JournalContext } from './journal-context.js'
import { eventsOf, type FoundSession, foundSession } from './journal-events.js'
import { headJson } from './list-sessions.js'
import { ASPECTS, type Aspect, SessionDigest, type Tally } from './session-digest.js'

const SECONDS_CHARS = 'YYYY-MM-DDTHH:MM:SS'.length
const TITLES: Readonly<Record<Aspect, string>> = {
  ...{ programs: 'programs', filesChanged: 'files changed', hostsReached: 'hosts reached' },
  ...{ denials: 'denials', detections: 'detections', responses: 'responses' },
}

/** The exit code: 1 where a journal is not what was written. */
export async function diffSessions(a: string, b: string, { dir, json }: JournalContext): Promise<number> {
  const [one, other] = [digested(foundSession(dir, a)), digested(foundSession(dir, b))]
  const parts = ASPECTS.map((aspect) => partOf(aspect, one.digest, other.digest))
  const lines = json ? [jsonLine(one, other, parts)] : textLines(one, other, parts)
  for (const line of lines) process.stdout.write(`${line}\n`)
  for (const { left, aspect } of parts) {
    if (left > 0) writeStderr(`sluice: ${TITLES[aspect]}: ${left} could not be compared: there are too many names\n`)
  }
  return one.isWhole && other.isWhole ? 0 : 1
}

interface Digested {
  readonly session: FoundSession
  readonly digest: SessionDigest
  readonly isWhole: boolean
}

interface Part {
  readonly aspect: Aspect
  readonly onlyA: [name: string, count: number][]
  readonly onlyB: [name: string, count: number][]
  readonly both: number
  readonly left: number
}

function digested(session: FoundSession): Digested {
  const digest = new SessionDigest()
  try {
    for (const event of eventsOf(session)) digest.add(event)
    return { session, digest, isWhole: true }
  } catch (error) {
    writeStderr(`${errorLine(error)}\n`)
    return { session, digest, isWhole: false }
  }
}

function partOf(aspect: Aspect, one: SessionDigest, other: SessionDigest): Part {
  const [a, b] = [one.aspects[aspect], other.aspects[aspect]]
  const onlyA = notIn(a, b)
  return { aspect, onlyA, onlyB: notIn(b, a), both: a.counts.size - onlyA.length, left: a.left + b.left }
}

function notIn(names: Tally, { counts }: Tally): [name: string, count: number][] {
  return names.sorted.filter(([name]) => !counts.has(name))
}

function* textLines(one: Digested, other: Digested, parts: readonly Part[]): Generator<string> {
  yield neutralise(`--- ${titleOf(one)}`)
  yield neutralise(`+++ ${titleOf(other)}`)
  for (const { aspect, onlyA, onlyB, both } of parts) {
    yield `${TITLES[aspect]}: ${both} in both${onlyA.length + onlyB.length === 0 ? ', nothing else' : ''}`
    for (const [name, count] of onlyA) yield neutralise(`- ${name}${times(count)}`)
    for (const [name, count] of onlyB) yield neutralise(`+ ${name}${times(count)}`)
  }
}

function titleOf({ session: { head } }: Digested): string {
  const { sessionId, sandbox } = head
  return `${sessionId} ${headJson(head).start.slice(0, SECONDS_CHARS)}Z ${sandbox?.agent || '-'}/${sandbox?.task || '-'}`
}

function times(count: number): string {
  return count === 1 ? '' : ` ×${count}`
}

function jsonLine(one: Digested, other: Digested, parts: readonly Part[]): string {
  const named = (names: Part['onlyA']) => names.map(([name, count]) => ({ name, count }))
  const differences = parts.map(({ aspect, onlyA, onlyB, both, left }) => [
    aspect,
    { onlyA: named(onlyA), onlyB: named(onlyB), both, left },
  ])
  const sides = { a: headJson(one.session.head), b: headJson(other.session.head) }
  return neutraliseJson(JSON.stringify({ ...sides, ...Object.fromEntries(differences) }))
}

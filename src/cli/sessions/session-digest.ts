/**
 * What a session came to, from its events: who and what it was, the programs it ran, the files it changed, the hosts it reached, what was refused,
 * noticed and done, what is missing. Guards the size of what is held: of each list so many names are kept, what has no room is counted. Not
 * here: how it is shown.
 */
import {
  type EventJson,
  eventKind,
  type SandboxStartedJson,
  type SummaryJson,
  verdictOf,
} from '../../proto/event-json.js'
import { normalHost, normalPath } from './normal-names.js'

export const NAMES_MAX = 20_000
const EINPROGRESS = 115

/** Names with how often each came. */
export class Tally {
  readonly counts = new Map<string, number>()
  /** Of names that there was no room for. */
  left = 0

  add(name: string, count = 1): void {
    const known = this.counts.get(name)
    if (known !== undefined || this.counts.size < NAMES_MAX) this.counts.set(name, (known ?? 0) + count)
    else this.left += count
  }

  /** Most often first; equal ones by name. */
  get sorted(): [name: string, count: number][] {
    return [...this.counts].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
  }

  get total(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, this.left)
  }
}

export const ASPECTS = ['programs', 'filesChanged', 'hostsReached', 'denials', 'detections', 'responses'] as const
export type Aspect = (typeof ASPECTS)[number]

export class SessionDigest {
  start: SandboxStartedJson | null = null
  end: SummaryJson | null = null
  readonly aspects: Readonly<Record<Aspect, Tally>>
  /** By class. */
  readonly calls = new Tally()
  callsFailed = 0
  /** One sentence each, with its severity. */
  readonly reasons = new Tally()
  readonly policies: string[] = []
  readonly gaps = new Tally()
  lost = 0n
  events = 0

  constructor() {
    const all = ASPECTS.map((aspect) => [aspect, new Tally()] as const)
    this.aspects = Object.fromEntries(all) as Record<Aspect, Tally>
  }

  add(event: EventJson): void {
    this.events++
    const { programs, detections, responses } = this.aspects
    if ('sandboxStarted' in event) this.started(event.sandboxStarted)
    else if ('sandboxEnded' in event) this.end = event.sandboxEnded.summary
    else if ('policyChanged' in event) this.policies.push(policyText(event.policyChanged.to))
    else if ('exec' in event) programs.add(this.path(event.process?.exe ?? ''))
    else if ('toolCall' in event) this.call(event.toolCall)
    else if ('detection' in event) {
      const { detector, severity, reason } = event.detection
      detections.add(`${severity.toLowerCase()} ${detector}`)
      this.reasons.add(`${severity.toLowerCase()} ${detector}: ${reason}`)
    } else if ('response' in event) {
      responses.add(`${event.response.action.toLowerCase()} ${event.response.state.toLowerCase()}`)
    } else if ('gap' in event) this.gap(event.gap)
    else this.touch(event)
  }

  private started(start: SandboxStartedJson): void {
    this.start ??= start
    this.policies.push(start.policyName === '' ? 'no policy' : policyText({ ...start, name: start.policyName }))
  }

  private call(call: Extract<EventJson, { toolCall: unknown }>['toolCall']): void {
    this.calls.add(call.class.toLowerCase().replace('_', '-'))
    if (call.exitCode !== 0 || call.signal !== 0) this.callsFailed++
  }

  private gap({ count, kind, stage, cause }: Extract<EventJson, { gap: unknown }>['gap']): void {
    this.lost += BigInt(count)
    this.gaps.add(`${kind === '' ? 'events' : kind} (${stage}): ${cause}`)
  }

  /** Files and hosts, and what was refused of them. */
  private touch(event: EventJson): void {
    const verdict = verdictOf(event)
    const decision = verdict?.decision ?? 'ALLOW'
    if (verdict !== null && (decision === 'DENY' || decision === 'WOULD_DENY')) {
      const would = decision === 'DENY' ? '' : 'would be denied: '
      this.aspects.denials.add(`${would}${eventKind(event)} ${this.target(event)} (${verdict.rule})`, countOf(event))
    }
    if (decision === 'DENY') return
    const { filesChanged, hostsReached } = this.aspects
    if ('fileOpen' in event) {
      const { access, errno, path } = event.fileOpen
      if (access !== 'READ' && access !== 'UNSPECIFIED' && errno === 0)
        filesChanged.add(this.path(path), countOf(event))
    } else if ('fileChange' in event && event.fileChange.errno === 0) {
      for (const path of changedBy(event.fileChange)) filesChanged.add(this.path(path))
    } else if ('connect' in event) {
      const { via, errno, address } = event.connect
      const isReached = errno === 0 || errno === EINPROGRESS
      if (via !== 'SOCKET' && isReached && address !== '') hostsReached.add(normalHost(event.connect), countOf(event))
    }
  }

  private target(event: EventJson): string {
    if ('connect' in event) {
      return event.connect.via === 'SOCKET' ? `${event.connect.protocol} socket` : normalHost(event.connect)
    }
    if ('listen' in event) return normalHost({ ...event.listen, hostname: '' })
    if ('fileOpen' in event) return this.path(event.fileOpen.path)
    if ('fileChange' in event) return this.path(event.fileChange.path)
    if ('dns' in event) return event.dns.name
    return 'limitHit' in event ? event.limitHit.what : ''
  }

  private path(path: string): string {
    return normalPath(path, this.start?.workdir ?? '')
  }
}

/** A source that is read alone is not changed by it. */
function changedBy({ op, path, newPath }: Extract<EventJson, { fileChange: unknown }>['fileChange']): string[] {
  if (op === 'LINK' || op === 'SYMLINK' || op === 'MOUNT') return [newPath]
  return op === 'RENAME' ? [path, newPath] : [path]
}

/** Equal ones in a row are one event. */
function countOf(event: EventJson): number {
  const count = 'fileOpen' in event ? event.fileOpen.count : 'connect' in event ? event.connect.count : '1'
  return Math.max(1, Math.min(Number(count), Number.MAX_SAFE_INTEGER))
}

function policyText(policy: { name: string; mode: string } | undefined): string {
  return policy === undefined ? 'no policy' : `${policy.name} (${policy.mode})`
}

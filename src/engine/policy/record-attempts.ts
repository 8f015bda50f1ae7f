/**
 * What a recorded session tried to reach, attempt by attempt, with what the record knows of each: the names that led to an address, and
 * whether a listener of the session's own was there. It guards that an answer of a name server counts only for later connects of the
 * same session. Lines that are no events are counted, not passed over silently. It judges nothing.
 */
import { messageOf } from '../../base/error.js'
import { readLines } from '../../base/read-lines.js'
import type {
  ConnectJson,
  DnsJson,
  EventJson,
  ListenJson,
  SandboxStartedJson,
  VerdictJson,
} from '../../proto/event-json.js'
import { parseEventLine } from '../../proto/event-line.js'
import { normalizeHostName } from '../../proto/host-pattern.js'

/** Addresses whose names are kept; the oldest go first. */
const ADDRESSES_MAX = 200_000
const NAMES_OF_ONE_MAX = 16
const LISTENERS_MAX = 100_000

interface Tried {
  readonly uid: string
  readonly time: string
  /** The program; empty if the record does not say. */
  readonly exe: string
  /** As recorded. */
  readonly verdict: VerdictJson
}

export interface ConnectAttempt extends Tried {
  readonly kind: 'connect'
  /** TCP, UDP, UNIX, … */
  readonly protocol: string
  readonly address: string
  readonly port: number
  readonly via: string
  readonly errno: number
  readonly count: number
  /** Latest first; empty: the record does not say. */
  readonly names: readonly string[]
  readonly toOwnListener: boolean
}

export interface NameAttempt extends Tried {
  readonly kind: 'name'
  readonly name: string
}

export type Attempt = ConnectAttempt | NameAttempt

/** What a recording is of. */
export interface RecordedPolicy {
  readonly name: string
  readonly digest: string
  readonly mode: string
}

export interface RecordReader {
  readonly attempts: AsyncGenerator<Attempt>
  /** Once the attempts are read. */
  readonly badLines: () => readonly string[]
  readonly policies: () => readonly RecordedPolicy[]
}

/** Files in order, `-` is stdin. Reading throws IO. */
export function readAttempts(files: readonly string[]): RecordReader {
  const bad: string[] = []
  const policies = new Map<string, RecordedPolicy>()
  async function* attempts(): AsyncGenerator<Attempt> {
    const memory = new SessionMemory()
    for (const file of files) {
      for await (const line of readLines({ file, follow: false, signal: new AbortController().signal })) {
        if (line.kind !== 'line' || line.text === '') continue
        try {
          const event = parseEventLine(line.text ?? '')
          if ('sandboxStarted' in event) note(policies, event.sandboxStarted)
          const attempt = memory.take(event)
          if (attempt !== null) yield attempt
        } catch (error) {
          bad.push(`${file}:${line.number}: ${messageOf(error)}`)
        }
      }
    }
  }
  return { attempts: attempts(), badLines: () => bad, policies: () => [...policies.values()] }
}

function note(policies: Map<string, RecordedPolicy>, { policyName, policyHash, mode }: SandboxStartedJson): void {
  if (policyName !== '') policies.set(`${policyName} ${policyHash}`, { name: policyName, digest: policyHash, mode })
}

class SessionMemory {
  /** By session and address. */
  readonly #names = new Map<string, string[]>()
  readonly #listeners = new Set<string>()

  take(event: EventJson): Attempt | null {
    if ('listen' in event) this.#listen(event.sessionId, event.listen)
    if ('dns' in event) return this.#name(event, event.dns)
    return 'connect' in event ? this.#connect(event, event.connect) : null
  }

  #listen(session: string, { protocol, address, port, errno }: ListenJson): void {
    if (errno !== 0) return
    if (this.#listeners.size >= LISTENERS_MAX) this.#listeners.clear()
    this.#listeners.add(listenerKey(session, { protocol, address, port }))
  }

  #name(event: EventJson, { name, answers, verdict }: DnsJson): NameAttempt {
    const normal = normalizeHostName(name)
    if (normal !== null) for (const answer of answers) this.#remember(`${event.sessionId}\0${answer}`, normal)
    return { kind: 'name', ...common(event, verdict), name: normal ?? name }
  }

  #remember(key: string, name: string): void {
    const others = (this.#names.get(key) ?? []).filter((each) => each !== name)
    this.#names.delete(key)
    this.#names.set(key, [name, ...others].slice(0, NAMES_OF_ONE_MAX))
    const [oldest] = this.#names.keys()
    if (this.#names.size > ADDRESSES_MAX && oldest !== undefined) this.#names.delete(oldest)
  }

  #connect(event: EventJson, connect: ConnectJson): ConnectAttempt {
    const { protocol, address, port, via, errno, hostname } = connect
    const known = this.#names.get(`${event.sessionId}\0${address}`) ?? []
    const said = normalizeHostName(hostname)
    return {
      ...{ kind: 'connect', ...common(event, connect.verdict), protocol, address, port, via, errno },
      count: Number(connect.count ?? 1) || 1,
      names: said === null ? known : [said, ...known.filter((name) => name !== said)],
      toOwnListener: this.#listeners.has(listenerKey(event.sessionId, connect)),
    }
  }
}

function common(event: EventJson, verdict: VerdictJson) {
  return { uid: event.uid, time: event.time, exe: event.process?.exe ?? '', verdict }
}

/** A listener on any address of the machine is one on each; the address says most only of a Unix socket. */
function listenerKey(
  session: string,
  { protocol, address, port }: { protocol: string; address: string; port: number },
): string {
  return protocol === 'UNIX' ? `${session}\0UNIX\0${address}` : `${session}\0${protocol}\0${port}`
}

/**
 * What a session came to, kept up to date with every event. Bounded: a list that is full counts the further names in `more` and goes
 * on counting everything in the totals. Not here: text for people.
 */
import {
  Access,
  Decision,
  fromBigInt,
  type IConnect,
  type IDetection,
  type IEvent,
  type IRefusal,
  type IResponse,
  type ISummary,
  type ITally,
  type IVerdict,
  Protocol,
  ResponseState,
  type Severity,
  toBigInt,
  Via,
} from '../proto/codec.js'
import { textToBytes } from '../proto/text.js'
import type { SessionEnd, SummaryBook } from './session.js'

export const PROGRAMS_MAX = 32
export const WRITTEN_PATHS_MAX = 64
export const DESTINATIONS_MAX = 64
export const REFUSALS_MAX = 64
const RESPONSES_MAX = 8
const DETECTORS_MAX = 64
/** Further names that are told apart, so that `more` counts names, not events; above it `more` is a lower bound. */
export const MORE_NAMES_MAX = 4_096

const PROTOCOL_NAMES: ReadonlyMap<Protocol, string> = new Map([
  [Protocol.PROTOCOL_TCP, 'tcp'],
  [Protocol.PROTOCOL_UDP, 'udp'],
  [Protocol.PROTOCOL_ICMP, 'icmp'],
  [Protocol.PROTOCOL_RAW, 'raw'],
  [Protocol.PROTOCOL_UNIX, 'unix'],
  [Protocol.PROTOCOL_PACKET, 'packet'],
  [Protocol.PROTOCOL_VSOCK, 'vsock'],
  [Protocol.PROTOCOL_SCTP, 'sctp'],
])

const RESPONSE_NAMES = ['', 'alert', 'throttle', 'deny', 'freeze', 'kill'] as const

interface Count {
  count: number
  failed: number
}

/** What one detector found. */
interface Found {
  severity: Severity
  count: number
  /** Of the first of that severity. */
  reason: string
}

/** All that a summary knows, for another engine to go on with. */
export interface SummaryState {
  readonly totals: Totals
  readonly programs: ReadonlyMap<string, Count>
  readonly writtenPaths: ReadonlyMap<string, Count>
  readonly destinations: ReadonlyMap<string, Count>
  readonly refusals: ReadonlyMap<string, Count>
  readonly detections: ReadonlyMap<string, Found>
  readonly responses: ReadonlyMap<string, Count>
}

interface Totals {
  execs: number
  filesOpened: number
  filesFailed: number
  filesWritten: number
  connects: number
  refused: number
  lost: bigint
  complete: boolean
}

const NOTHING: Totals = Object.freeze({
  ...{ execs: 0, filesOpened: 0, filesFailed: 0, filesWritten: 0, connects: 0, refused: 0 },
  ...{ lost: 0n, complete: true },
})

class TallyList {
  private readonly listMax: number
  readonly counts: Map<string, Count>

  constructor(listMax: number, counts: ReadonlyMap<string, Count> = new Map()) {
    this.listMax = listMax
    this.counts = new Map(counts)
  }

  /** @param name latin1: one character a byte. */
  add(name: string, failed: boolean, times = 1): void {
    let count = this.counts.get(name)
    if (count === undefined) {
      if (this.counts.size >= this.listMax + MORE_NAMES_MAX) return
      count = { count: 0, failed: 0 }
      this.counts.set(name, count)
    }
    count.count += times
    if (failed) count.failed += times
  }

  get more(): number {
    return Math.max(0, this.counts.size - this.listMax)
  }

  list(order: 'most-first' | 'first-seen'): ITally[] {
    const all = [...this.counts]
    if (order === 'most-first') all.sort((a, b) => b[1].count - a[1].count)
    return all.slice(0, this.listMax).map(([name, { count, failed }]) => ({
      name: Buffer.from(name, 'latin1'),
      count: fromBigInt(BigInt(count)),
      failed: fromBigInt(BigInt(failed)),
    }))
  }
}

export class RunningSummary implements SummaryBook {
  private readonly programs: TallyList
  private readonly writtenPaths: TallyList
  private readonly destinations: TallyList
  private readonly refusals: TallyList
  private readonly responses: TallyList
  /** By detector: there are not many. */
  private readonly detections: Map<string, Found>
  private readonly totals: Totals

  constructor(state?: SummaryState) {
    this.totals = { ...(state?.totals ?? NOTHING) }
    this.programs = new TallyList(PROGRAMS_MAX, state?.programs)
    this.writtenPaths = new TallyList(WRITTEN_PATHS_MAX, state?.writtenPaths)
    this.destinations = new TallyList(DESTINATIONS_MAX, state?.destinations)
    this.refusals = new TallyList(REFUSALS_MAX, state?.refusals)
    this.responses = new TallyList(RESPONSES_MAX, state?.responses)
    this.detections = new Map(state?.detections)
  }

  /** To be kept or sent at once: it is what we work with ourselves. */
  get state(): SummaryState {
    const { totals, programs, writtenPaths, destinations, refusals, responses, detections } = this
    return {
      ...{ totals, programs: programs.counts, writtenPaths: writtenPaths.counts, destinations: destinations.counts },
      ...{ refusals: refusals.counts, responses: responses.counts, detections },
    }
  }

  get lost(): bigint {
    return this.totals.lost
  }

  add(event: IEvent): void {
    if (event.exec) {
      this.totals.execs++
      this.programs.add(latin1(event.process?.exe), false)
    } else if (event.fileOpen) {
      this.fileOpen(event)
    } else if (event.connect) {
      this.connect(event.connect)
    } else if (event.dns) {
      const { name, verdict } = event.dns
      this.judged(verdict, `dns ${latin1(textToBytes(name ?? ''))}`, 1)
    } else if (event.listen) {
      this.judged(event.listen.verdict, `listen ${targetOf(event.listen)}`, 1)
    } else if (event.detection) {
      this.detection(event.detection)
    } else if (event.response) {
      this.response(event.response)
    } else if (event.gap) {
      this.totals.complete = false
      this.totals.lost += toBigInt(event.gap.count)
    }
  }

  close(end: SessionEnd & { durationMs: bigint; events: number; processes: number }): ISummary {
    return {
      durationMs: fromBigInt(end.durationMs),
      exitCode: end.exitCode,
      signal: end.signal,
      events: fromBigInt(BigInt(end.events)),
      lost: fromBigInt(this.totals.lost),
      complete: this.totals.complete,
      processes: fromBigInt(BigInt(end.processes)),
      execs: fromBigInt(BigInt(this.totals.execs)),
      filesOpened: fromBigInt(BigInt(this.totals.filesOpened)),
      filesFailed: fromBigInt(BigInt(this.totals.filesFailed)),
      filesWritten: fromBigInt(BigInt(this.totals.filesWritten)),
      connects: fromBigInt(BigInt(this.totals.connects)),
      killedAtEnd: end.killed,
      programs: this.programs.list('most-first'),
      writtenPaths: this.writtenPaths.list('first-seen'),
      destinations: this.destinations.list('most-first'),
      more: fromBigInt(
        BigInt(this.programs.more + this.writtenPaths.more + this.destinations.more + this.refusals.more),
      ),
      refused: fromBigInt(BigInt(this.totals.refused)),
      refusals: this.refusals.list('most-first').map(refusalOf),
      detections: [...this.detections].map(([detector, { count, ...found }]) => {
        return { detector, ...found, count: fromBigInt(BigInt(count)) }
      }),
      responses: this.responses.list('first-seen'),
    }
  }

  private detection({ detector, severity, reason }: IDetection): void {
    const name = detector ?? ''
    const found = this.detections.get(name)
    if (found === undefined && this.detections.size >= DETECTORS_MAX) return
    const isWorse = found === undefined || (severity ?? 0) > found.severity
    const told = isWorse ? { severity: severity ?? 0, reason: reason ?? '' } : found
    this.detections.set(name, { severity: told.severity, reason: told.reason, count: (found?.count ?? 0) + 1 })
  }

  private response({ action, state }: IResponse): void {
    const failed = state === ResponseState.RESPONSE_STATE_FAILED
    if (!failed && state !== ResponseState.RESPONSE_STATE_APPLIED) return
    this.responses.add(RESPONSE_NAMES[action ?? 0] ?? '', failed)
  }

  private connect(connect: IConnect): void {
    const { errno, verdict } = connect
    const count = Number(toBigInt(connect.count ?? ONE))
    const target = targetOf(connect)
    this.judged(verdict, target, count)
    if (!isConnection(connect)) return
    this.totals.connects += count
    this.destinations.add(target, (errno ?? 0) !== 0 && errno !== EINPROGRESS, count)
  }

  private judged(verdict: IVerdict | null | undefined, target: string, count: number): void {
    const { decision, rule } = verdict ?? {}
    if (decision !== Decision.DECISION_DENY && decision !== Decision.DECISION_WOULD_DENY) return
    this.totals.refused += count
    this.refusals.add(`${rule ?? ''}${RULE_END}${target}`, false, count)
  }

  private fileOpen(event: IEvent): void {
    const { errno, access, path, count } = event.fileOpen ?? {}
    const times = Math.max(1, Number(toBigInt(count)))
    this.totals.filesOpened += times
    if ((errno ?? 0) !== 0) {
      this.totals.filesFailed += times
      return
    }
    if (access !== Access.ACCESS_WRITE && access !== Access.ACCESS_READ_WRITE) return
    this.totals.filesWritten++
    this.writtenPaths.add(latin1(path), false)
  }
}

/** Latin1: "tcp 10.1.2.3:80"; a socket that was only made has no address. */
function targetOf({ protocol, address, port }: Pick<IConnect, 'protocol' | 'address' | 'port'>): string {
  const kind = PROTOCOL_NAMES.get(protocol ?? Protocol.PROTOCOL_OTHER) ?? 'other'
  if (address === '' || address === null || address === undefined) return `${kind} socket`
  if (kind === 'unix') return `${kind} ${latin1(textToBytes(address))}`
  const host = address.includes(':') ? `[${address}]` : address
  return kind === 'other' ? `${kind} ${address}` : `${kind} ${host}:${port}`
}

function refusalOf({ name, count = null }: ITally): IRefusal {
  const key = latin1(name)
  const end = key.indexOf(RULE_END)
  return { rule: key.slice(0, end), target: Buffer.from(key.slice(end + RULE_END.length), 'latin1'), count }
}

/** A socket that was only made reaches nothing, and netlink and crypto sockets reach nothing but the kernel. */
function isConnection({ protocol, via }: IConnect): boolean {
  return via !== Via.VIA_SOCKET && protocol !== Protocol.PROTOCOL_NETLINK && protocol !== Protocol.PROTOCOL_ALG
}

const ONE = fromBigInt(1n)
/** Between the rule, a path in a policy file, and what it refused. */
const RULE_END = '\0'

/** A non-blocking connect that goes on in the background has not failed. */
const EINPROGRESS = 115

function latin1(bytes: Uint8Array | null | undefined): string {
  if (bytes === null || bytes === undefined) return ''
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

/**
 * Events as they are on their way to a session's readers, as detection sees them: the same facts that their JSON form gives (detect/fact-of.ts;
 * a test compares them), without making all of that JSON. Opens, of which there are the most, are read field by field. Guards that what a
 * process is told by is made once, as long as events carry the same object.
 */
import { fromBigInt, type IEvent, type IFileOpen, type IProcess, type Long } from '../proto/codec.js'
import { ACCESSES, DECISIONS, kindToJson } from '../proto/event-json.js'
import { u64 } from '../proto/json-values.js'
import { bytesToText } from '../proto/text.js'
import type { Fact, FactBody, ProcessFact } from './detect/fact.js'
import { bodyOf, isTelling, openBody } from './detect/fact-of.js'

const NO_BYTES = new Uint8Array(0)
const NS_PER_MS = 1_000_000
/** 2^32 ns in whole ms, and what is left of it in ns. */
const HIGH_MS = 4_294
const HIGH_REST_NS = 967_296

export class LiveFacts {
  private readonly processes = new WeakMap<IProcess, ProcessFact>()

  /** Null for an event that says nothing to detection. */
  of(event: IEvent): Fact | null {
    const body = event.fileOpen ? openOf(event.fileOpen) : otherOf(event)
    if (body === null) return null
    const time = event.timeUnixNs ?? ZERO
    const process = event.process ? this.processOf(event.process) : null
    return { uid: event.uid ?? '', timeMs: msOf(time), time, process, ...body }
  }

  private processOf(process: IProcess): ProcessFact {
    const known = this.processes.get(process)
    if (known !== undefined) return known
    const { execId, parentExecId, spawnerExecId, pid, exe, args, cwd } = process
    const made: ProcessFact = {
      ...{ execId: execId ?? '', parentExecId: parentExecId ?? '', spawnerExecId: spawnerExecId ?? '', pid: pid ?? 0 },
      ...{ exe: bytesToText(exe ?? NO_BYTES), args: (args ?? []).map(bytesToText), cwd: bytesToText(cwd ?? NO_BYTES) },
    }
    this.processes.set(process, made)
    return made
  }
}

const ZERO = Object.freeze(fromBigInt(0n))

/** Field by field, and what nobody asks of a read is not made: there are tens of thousands a second. */
function openOf(open: IFileOpen): FactBody | null {
  const errno = open.errno ?? 0
  const verdict = VERDICTS[open.verdict?.decision ?? 0] ?? UNSAID
  if (!isTelling(errno, verdict)) return null
  const access = ACCESSES[open.access ?? 0] ?? ACCESSES[0]
  const path = bytesToText(open.path ?? NO_BYTES)
  const userPath = isSame(open.path, open.userPath) ? path : bytesToText(open.userPath ?? NO_BYTES)
  const isRead = access === 'READ'
  const dev = isRead ? '0' : digits(open.dev)
  const inode = isRead ? '0' : digits(open.inode)
  return openBody({ errno, access, verdict, path, userPath, dev, inode })
}

const UNSAID = Object.freeze({ decision: DECISIONS[0] })
const VERDICTS = DECISIONS.map((decision) => Object.freeze({ decision }))

function isSame(a: Uint8Array | null | undefined, b: Uint8Array | null | undefined): boolean {
  return a instanceof Uint8Array && b instanceof Uint8Array && a.length === b.length && Buffer.compare(a, b) === 0
}

function digits(value: Long | null | undefined): string {
  return value && value.high === 0 ? String(value.low >>> 0) : u64(value)
}

function otherOf(event: IEvent): FactBody | null {
  const { gap, toolCall, detection, response, exit } = event
  if (gap || toolCall || detection || response) return null
  if (exit) return { kind: 'exit', code: exit.code ?? 0, signal: exit.signal ?? 0 }
  return bodyOf(kindToJson(event), event.sandbox ?? {})
}

/** Unix time in ms with a fraction, to the last bit as `timeMsOf` reads it from the text. */
export function msOf({ low, high }: Pick<Long, 'low' | 'high'>): number {
  const [top, bottom] = [high >>> 0, low >>> 0]
  const restNs = top * HIGH_REST_NS + bottom
  return top * HIGH_MS + Math.floor(restNs / NS_PER_MS) + (restNs % NS_PER_MS) / NS_PER_MS
}

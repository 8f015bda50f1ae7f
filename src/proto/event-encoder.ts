/**
 * Public events to wire bytes, many to a RunResponse. What is the same in every event of a session or of a process (node, sandbox,
 * process, verdict) is encoded once and copied from then on; file opens, of which there are the most, are written field by field, all
 * other kinds by the generated code. Guards that what comes out is what the generated code would make of it (a test compares them).
 *
 * It rests on a promise of those who make events: an object that is handed in again has not changed since.
 */
import {
  Event,
  type IEvent,
  type IFileOpen,
  type IProcess,
  type IVerdict,
  Node,
  Process,
  Sandbox,
  Verdict,
} from './codec.js'
import { WireWriter } from './wire-writer.js'

/** Numbers of fields in proto/sluice/v1. */
const RESPONSE_EVENTS = 2
const EVENTS_EVENT = 1
const EVENT = {
  schema: 1,
  source: 2,
  node: 3,
  uid: 4,
  time: 5,
  seq: 6,
  sandbox: 7,
  session: 8,
  toolCall: 9,
  process: 10,
  fileOpen: 24,
}
const OPEN = {
  ...{ path: 1, userPath: 2, resolved: 3, access: 4, flags: 5, created: 6, dev: 7, inode: 8, errno: 9, verdict: 10 },
  ...{ count: 11, lastTime: 12 },
}

const BYTES_FIRST = 64 * 1024
/** Processes whose encoding is kept, by their thread's id. */
const PROCESSES_KEPT = 64

/** The encoding of something, for as long as the same object comes again. */
class Kept<T extends object> {
  private readonly encode: (writer: WireWriter, value: T) => void
  private value: T | null = null
  private bytes: Uint8Array = new Uint8Array(0)

  constructor(encode: (writer: WireWriter, value: T) => void) {
    this.encode = encode
  }

  of(value: T): Uint8Array {
    if (value !== this.value) {
      const writer = new WireWriter(BYTES_FIRST / 64)
      this.encode(writer, value)
      this.bytes = writer.copy()
      this.value = value
    }
    return this.bytes
  }
}

export class EventEncoder {
  private readonly writer = new WireWriter(BYTES_FIRST)
  private readonly node = new Kept<NonNullable<IEvent['node']>>((writer, node) => {
    writer.message(EVENT.node, Node.encode(node).finish())
  })
  private readonly sandbox = new Kept<NonNullable<IEvent['sandbox']>>((writer, sandbox) => {
    writer.message(EVENT.sandbox, Sandbox.encode(sandbox).finish())
  })
  private readonly verdict = new Kept<IVerdict>((writer, verdict) => {
    writer.message(OPEN.verdict, Verdict.encode(verdict).finish())
  })
  private readonly flags = new Kept<string[]>((writer, flags) => {
    for (const flag of flags) writer.text(OPEN.flags, flag, { empty: true })
  })
  private readonly processes = Array.from(
    { length: PROCESSES_KEPT },
    () =>
      new Kept<IProcess>((writer, process) => {
        writer.message(EVENT.process, Process.encode(process).finish())
      }),
  )
  private response: number
  /** Appended since the last `take`. */
  count = 0

  constructor() {
    this.response = this.writer.open(RESPONSE_EVENTS)
  }

  get bytes(): number {
    return this.writer.length
  }

  append(event: IEvent): void {
    const { writer } = this
    const start = writer.open(EVENTS_EVENT)
    writer.uint(EVENT.schema, event.schema)
    writer.text(EVENT.source, event.source)
    if (event.node) writer.raw(this.node.of(event.node))
    writer.text(EVENT.uid, event.uid)
    writer.fixed64(EVENT.time, event.timeUnixNs)
    writer.uint64(EVENT.seq, event.seq)
    if (event.sandbox) writer.raw(this.sandbox.of(event.sandbox))
    writer.text(EVENT.session, event.sessionId)
    writer.text(EVENT.toolCall, event.toolCallId)
    if (event.process) writer.raw(this.processOf(event.process))
    if (event.fileOpen) this.fileOpen(event.fileOpen)
    else writer.raw(Event.encode({ ...event, ...WITHOUT_COMMON }).finish())
    writer.close(start)
    this.count++
  }

  /** One RunResponse with all that was appended since the last call. */
  take(): Buffer {
    const { writer } = this
    writer.close(this.response)
    const bytes = writer.copy()
    writer.clear()
    this.response = writer.open(RESPONSE_EVENTS)
    this.count = 0
    return bytes
  }

  private processOf(process: IProcess): Uint8Array {
    return this.processes[(process.tid ?? 0) % PROCESSES_KEPT]?.of(process) ?? NOTHING
  }

  private fileOpen(open: IFileOpen): void {
    const { writer } = this
    const start = writer.open(EVENT.fileOpen)
    writer.bytes(OPEN.path, open.path)
    writer.bytes(OPEN.userPath, open.userPath)
    writer.bool(OPEN.resolved, open.resolved)
    writer.uint(OPEN.access, open.access)
    if (open.flags && open.flags.length > 0) writer.raw(this.flags.of(open.flags))
    writer.bool(OPEN.created, open.created)
    writer.uint64(OPEN.dev, open.dev)
    writer.uint64(OPEN.inode, open.inode)
    writer.uint(OPEN.errno, open.errno)
    if (open.verdict) writer.raw(this.verdict.of(open.verdict))
    writer.uint64(OPEN.count, open.count)
    writer.fixed64(OPEN.lastTime, open.lastTimeUnixNs)
    writer.close(start)
  }
}

const NOTHING = new Uint8Array(0)

/** Laid over an event, leaves its kind. */
const WITHOUT_COMMON = Object.freeze({
  ...{ schema: null, source: null, node: null, uid: null, timeUnixNs: null, seq: null, sandbox: null },
  ...{ sessionId: null, toolCallId: null, process: null },
})

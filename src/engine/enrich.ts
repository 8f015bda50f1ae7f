/**
 * Turns one kernel fact into the public event (04 §2): adds node, uid, wall-clock time and the process, and reads numbers as what
 * they mean. Guards that what is remembered of a process is copied out of the batch it came in. Not here: the fields of network events
 * (enrich-net.ts), seq, sandbox and session (session.ts), verdicts (policy-verdicts.ts), and order.
 */
import { bootHash, derivedUuid } from '../base/uuid.js'
import { ADDRESS_BYTES } from '../proto/address.js'
import {
  Access,
  addLongs,
  CgroupOp,
  ChangeOp,
  fromBigInt,
  type ICgroupFacts,
  type IConnectFacts,
  type IEvent,
  type IExecFacts,
  type IExecFailedFacts,
  type IFileChangeFacts,
  type IFileOpen,
  type IFileOpenFacts,
  type IKernelEvent,
  type ILimitFacts,
  type INode,
  type IProcessFacts,
  type IStdinFacts,
  type Long,
  toBigInt,
} from '../proto/codec.js'
import { readAnswer } from './dns-event.js'
import { DnsStreams } from './dns-stream.js'
import { connectionClosedOf, connectOf, listenOf } from './enrich-net.js'
import { EventUids } from './event-uids.js'
import {
  CGROUP_BORN,
  EXEC_SECURE,
  INPUT_UNSHOWN,
  O_ACCMODE,
  O_WRONLY,
  openFlagNames,
  PATH_DELETED,
  PATH_DETACHED,
  PATH_FOREIGN,
  PATH_TRUNCATED,
  PATH_UNRESOLVED,
  statDevice,
  VIA_PACKET,
} from './kernel-facts.js'
import { copyShort, lexicalPath } from './lexical-path.js'
import { Memo } from './memo.js'
import { type PolicyVerdicts, UNJUDGED } from './policy-verdicts.js'
import { type Image, ProcessTree } from './process-tree.js'
import { ProcessViews, refOf } from './process-views.js'
import type { Redactor } from './redact.js'

/** Version of the event contract. */
export const EVENT_SCHEMA = 1

const NS_PER_MS = 1_000_000n
const ONE = Object.freeze(fromBigInt(1n))
const ZERO = Object.freeze(fromBigInt(0n))
const SLASH = 0x2f
const NO_BYTES = new Uint8Array(0)
/** There is nothing to make a tag of. */
const UNSHOWN_TEXT = Buffer.from('[redacted]')

const WITH_NEW_PATH: ReadonlySet<ChangeOp> = new Set([
  ChangeOp.CHANGE_OP_RENAME,
  ChangeOp.CHANGE_OP_LINK,
  ChangeOp.CHANGE_OP_MOUNT,
])

const CGROUP_SOURCES: ReadonlyMap<number, string> = new Map([
  [CgroupOp.CGROUP_OP_MKDIR, 'tp_btf/cgroup_mkdir'],
  [CgroupOp.CGROUP_OP_RMDIR, 'tp_btf/cgroup_rmdir'],
  [CgroupOp.CGROUP_OP_ATTACH, 'tp_btf/cgroup_attach_task'],
  [CgroupOp.CGROUP_OP_ESCAPE, 'tp_btf/cgroup_attach_task'],
])

/** Which sensor the facts come from. */
export interface SensorIdentity {
  readonly nodeName: string
  readonly bootId: string
  /** New at every start of a sensor. */
  readonly instance: string
  /** Of batches; outlives a sensor that goes on with it. Empty: there is none beyond this connection. */
  readonly stream: string
  /** Of the kernel's counters, by which events are numbered. Empty: they are as old as the sensor. */
  readonly counters: string
}

export class Enricher {
  readonly tree: ProcessTree
  readonly node: INode
  private readonly uids: EventUids
  private readonly processes: ProcessViews
  /** As a bigint, and its halves. */
  private bootToUnixNs = 0n
  private bootOffset: Long = ZERO
  private readonly redactor: Redactor
  private readonly flagNames = new Memo(openFlagNames)
  private readonly devices = new Memo((device: number) => fromBigInt(statDevice(device)))
  private readonly verdicts: PolicyVerdicts
  private readonly streams = new DnsStreams()

  constructor(sensor: SensorIdentity, redactor: Redactor, verdicts: PolicyVerdicts) {
    this.verdicts = verdicts
    this.tree = new ProcessTree(sensor.bootId)
    this.node = Object.freeze({ name: sensor.nodeName, bootId: sensor.bootId })
    this.uids = new EventUids(bootHash(`${sensor.bootId} ${sensor.counters || sensor.stream || sensor.instance}`))
    this.processes = new ProcessViews(this.tree)
    this.redactor = redactor
  }

  /**
   * Facts must come in time order. Null for a fact that has no event of its own (fork).
   *
   * @param bootToUnixNs what the sensor read at its start
   */
  event(fact: IKernelEvent, bootToUnixNs: bigint): IEvent | null {
    if (fact.fork) {
      const startTimeNs = toBigInt(fact.fork.childStartTimeNs)
      this.tree.forked(refOf(fact), { pid: fact.fork.childPid ?? 0, startTimeNs })
      return null
    }
    if (fact.limit) return this.limitEvent(fact, fact.limit, bootToUnixNs)
    if (fact.exec) this.tree.execed(refOf(fact), this.image(fact.exec))
    if (fact.process) this.tree.adopted(refOf(fact), this.image(fact.process), parentOf(fact.process, fact.ppid ?? 0))
    const timeUnixNs = this.unixTime(fact.timeNs, bootToUnixNs)
    const event: IEvent = {
      schema: EVENT_SCHEMA,
      node: this.node,
      uid: this.uids.of(timeUnixNs, fact.cpu ?? 0, fact.cpuSeq ?? ZERO),
      timeUnixNs,
      process: this.processes.of(fact, bootToUnixNs),
    }
    if (fact.exec) {
      event.source = 'tp_btf/sched_process_exec'
      event.exec = execOf(fact.exec)
    } else if (fact.process) {
      event.source = 'iter/task'
      event.exec = { ...execOf(fact.process), adopted: true }
    } else if (fact.exit) {
      event.source = 'tp_btf/sched_process_exit'
      event.exit = exitOf(fact.exit.status ?? 0, toBigInt(fact.timeNs) - toBigInt(fact.startTimeNs))
      this.tree.exitedAt(refOf(fact))
    } else if (fact.fileOpen) {
      event.source = 'tp_btf/sys_exit'
      // The kernel tells folded opens when they are over: that is their place in the stream, but their time is the first one's.
      if (isFolded(fact.fileOpen)) event.timeUnixNs = this.unixTime(fact.fileOpen.firstTimeNs, bootToUnixNs)
      const lastTimeNs = isFolded(fact.fileOpen) ? fact.fileOpen.lastTimeNs : fact.timeNs
      event.fileOpen = this.fileOpenOf(fact.fileOpen, this.unixTime(lastTimeNs, bootToUnixNs))
    } else if (fact.stdin) {
      event.source = 'tp_btf/sys_exit'
      event.stdin = this.stdinOf(fact.stdin)
    } else if (fact.execFailed) {
      event.source = 'tp_btf/sys_exit'
      event.execFailed = execFailedOf(fact.execFailed)
    } else if (fact.fileChange) {
      event.source = 'tp_btf/sys_exit'
      event.fileChange = { ...fileChangeOf(fact.fileChange), verdict: UNJUDGED }
    } else if (fact.cgroup) {
      event.source = cgroupSource(fact.cgroup)
      event.cgroupChange = cgroupChangeOf(fact.cgroup)
    } else if (fact.quarantine) {
      const { cause, subjectPid, stopped } = fact.quarantine
      event.source = 'bpf'
      event.quarantine = { cause: cause ?? 0, pid: subjectPid ?? 0, stopped: stopped ?? false }
    } else if (fact.connect) {
      event.source = fact.connect.via === VIA_PACKET ? 'cgroup_skb/egress' : 'tp_btf/sys_exit'
      const names = this.namesOf(fact, fact.connect)
      event.connect = {
        ...connectOf(fact.connect, this.tree.bootTag, this.unixTime(fact.connect.lastNs, bootToUnixNs)),
        hostname: names[0] ?? '',
        verdict: this.verdicts.of(toBigInt(fact.sandbox), fact.connect, {
          names,
          exe: Buffer.from(event.process?.exe ?? '').toString(),
        }),
      }
    } else {
      return this.socketEvent(event, fact, bootToUnixNs)
    }
    return event
  }

  /** Of the sandbox as a whole: no process is named. */
  private limitEvent(fact: IKernelEvent, limit: ILimitFacts, bootToUnixNs: bigint): IEvent {
    const timeUnixNs = this.unixTime(fact.timeNs, bootToUnixNs)
    const windowNs = toBigInt(fact.timeNs) - toBigInt(limit.firstNs)
    return {
      ...{ schema: EVENT_SCHEMA, node: this.node, timeUnixNs, source: 'sensor' },
      uid: this.uids.of(timeUnixNs, fact.cpu ?? 0, fact.cpuSeq ?? ZERO),
      limitHit: {
        ...{ what: limit.what ?? '', refused: limit.refused ?? null },
        windowMs: fromBigInt(windowNs > 0n ? windowNs / NS_PER_MS : 0n),
        verdict: this.verdicts.ofLimit(toBigInt(fact.sandbox), limit),
      },
    }
  }

  private socketEvent(event: IEvent, fact: IKernelEvent, bootToUnixNs: bigint): IEvent | null {
    event.source = 'tp_btf/sys_exit'
    if (fact.socket) {
      event.connect = {
        ...connectOf(fact.socket, this.tree.bootTag, this.unixTime(fact.socket.lastNs, bootToUnixNs)),
        verdict: this.verdicts.of(toBigInt(fact.sandbox), fact.socket),
      }
    } else if (fact.listen) {
      event.listen = { ...listenOf(fact.listen, this.tree.bootTag), verdict: UNJUDGED }
    } else if (fact.connectionClosed) {
      event.source = 'tp_btf/inet_sock_set_state'
      event.connectionClosed = connectionClosedOf(fact.connectionClosed, this.tree.bootTag)
    } else {
      return null
    }
    return event
  }

  /** Names that its answers are for are known from here on. Throws PROTOCOL for a packet that can't be put together with those before it. */
  answers(fact: IKernelEvent, bootToUnixNs: bigint): IEvent[] {
    const facts = fact.dns
    if (!facts) return []
    const sandbox = toBigInt(fact.sandbox)
    const timeUnixNs = this.unixTime(fact.timeNs, bootToUnixNs)
    const first = this.uids.of(timeUnixNs, fact.cpu ?? 0, fact.cpuSeq ?? ZERO)
    const unixMs = toBigInt(timeUnixNs) / NS_PER_MS
    return this.streams.read(facts).map((bytes, index) => {
      const answer = readAnswer(bytes, facts)
      this.verdicts.names.learn(sandbox, { ...answer.learnt, toldNs: toBigInt(fact.timeNs) })
      return {
        ...{ schema: EVENT_SCHEMA, node: this.node, timeUnixNs, process: this.processes.of(fact, bootToUnixNs) },
        uid: index === 0 ? first : derivedUuid({ unixMs, parts: [first, String(index)] }),
        source: 'cgroup_skb/ingress',
        dns: { ...answer.dns, verdict: this.verdicts.ofName(sandbox, answer.learnt.name) },
      }
    })
  }

  private namesOf({ sandbox, timeNs }: IKernelEvent, { addr }: IConnectFacts): string[] {
    return addr?.length === ADDRESS_BYTES ? this.verdicts.names.of(toBigInt(sandbox), addr, toBigInt(timeNs)) : []
  }

  /** Not an event: what a fact of the process will be told with if nothing better is known. */
  runs(fact: IKernelEvent): void {
    const { process } = fact
    if (process) this.tree.runs(refOf(fact), this.image(process), parentOf(process, fact.ppid ?? 0))
  }

  private unixTime(bootNs: Long | null | undefined, bootToUnixNs: bigint): Long {
    if (bootToUnixNs !== this.bootToUnixNs) {
      this.bootToUnixNs = bootToUnixNs
      this.bootOffset = fromBigInt(bootToUnixNs)
    }
    return addLongs(bootNs ?? ZERO, this.bootOffset)
  }

  private image(facts: IExecFacts): Image {
    const args = facts.args ?? NO_BYTES
    const argsBytes = Number(toBigInt(facts.argsBytes))
    return {
      exe: copy(facts.exe),
      cwd: copy(facts.cwd),
      args: Object.freeze(this.redactor.redactArgs(splitArgs(args))),
      argsBytes,
      argsTruncated: args.length < argsBytes,
    }
  }

  private stdinOf(facts: IStdinFacts) {
    const text = facts.text ?? NO_BYTES
    const originalBytes = facts.bytes ?? null
    if (((facts.flags ?? 0) & INPUT_UNSHOWN) !== 0) {
      return { text: UNSHOWN_TEXT, originalBytes, truncated: false, unshown: true }
    }
    const truncated = BigInt(text.length) < toBigInt(facts.bytes)
    return { text: this.redactor.redactScript(text), originalBytes, truncated, unshown: false }
  }

  /** Views into the batch: the event is encoded before the next batch is read. */
  private fileOpenOf(facts: IFileOpenFacts, lastTimeUnixNs: Long): IFileOpen {
    const flags = facts.flags ?? 0
    const userPath = facts.userPath ?? NO_BYTES
    // A path that is cut at its start is no more absolute than what was passed.
    const resolved = ((facts.pathFlags ?? 0) & (PATH_UNRESOLVED | PATH_TRUNCATED | PATH_FOREIGN)) === 0
    return {
      path: resolved ? (facts.path ?? NO_BYTES) : openPath(facts, userPath),
      userPath,
      resolved,
      access: accessOf(flags),
      flags: this.flagNames.of(flags),
      created: facts.created ?? false,
      dev: this.devices.of(facts.dev ?? 0),
      inode: facts.inode ?? null,
      errno: facts.error ?? 0,
      verdict: UNJUDGED,
      count: isFolded(facts) ? (facts.repeats ?? ONE) : ONE,
      lastTimeUnixNs,
    }
  }
}

function parentOf(facts: IProcessFacts, ppid: number): { pid: number; startTimeNs: bigint } | null {
  const startTimeNs = toBigInt(facts.parentStartTimeNs)
  return startTimeNs === 0n ? null : { pid: ppid, startTimeNs }
}

/** Each argument ends with a NUL, but for a last one that was cut. Copies. */
export function splitArgs(args: Uint8Array): Uint8Array[] {
  const whole = copy(args)
  const split: Uint8Array[] = []
  for (let start = 0; start < whole.length; ) {
    const end = whole.indexOf(0, start)
    split.push(whole.subarray(start, end < 0 ? whole.length : end))
    start = end < 0 ? whole.length : end + 1
  }
  return split
}

function execOf(facts: IExecFacts) {
  const flags = facts.exeFlags ?? 0
  const name = Buffer.from(facts.exe ?? NO_BYTES).toString('latin1')
  return {
    exeInode: facts.exeInode ?? null,
    exeDev: fromBigInt(statDevice(facts.exeDev ?? 0)),
    setuid: ((facts.flags ?? 0) & EXEC_SECURE) !== 0,
    memfd: (flags & PATH_DETACHED) !== 0 && /(?:^|\/)memfd:[^/]*$/s.test(name),
    deleted: (flags & PATH_DELETED) !== 0,
    interpreter: copyShort(facts.interpreter),
    script: scriptOf(facts),
  }
}

/** A script as passed, from where it starts: the descriptor it was named by, or the directory that the process is in. */
function scriptOf(facts: IExecFacts): Uint8Array {
  const script = facts.script ?? NO_BYTES
  const base = facts.scriptBase ?? NO_BYTES
  if (script.length === 0 && base.length === 0) return NO_BYTES
  return lexicalPath(base.length > 0 ? base : facts.cwd, script)
}

function exitOf(status: number, runtimeNs: bigint) {
  const runtimeMs = runtimeNs > 0n ? runtimeNs / NS_PER_MS : 0n
  return { code: (status >> 8) & 0xff, signal: status & 0x7f, runtimeMs: fromBigInt(runtimeMs) }
}

function isFolded({ repeats }: IFileOpenFacts): boolean {
  return repeats !== null && repeats !== undefined && (repeats.low !== 0 || repeats.high !== 0)
}

function execFailedOf(facts: IExecFailedFacts) {
  return { path: lexicalPath(facts.base, facts.path), errno: facts.error ?? 0 }
}

function fileChangeOf(facts: IFileChangeFacts) {
  const op: ChangeOp = facts.op ?? ChangeOp.CHANGE_OP_UNSPECIFIED
  const isSymlink = op === ChangeOp.CHANGE_OP_SYMLINK
  const hasNewPath = isSymlink || WITH_NEW_PATH.has(op)
  return {
    op,
    // What a symlink points to is text: it need not exist, and means something else from everywhere.
    path: isSymlink ? copyShort(facts.path) : lexicalPath(facts.base, facts.path),
    newPath: hasNewPath ? lexicalPath(facts.newBase, facts.newPath) : NO_BYTES,
    errno: facts.error ?? 0,
  }
}

function cgroupSource({ op, flags }: ICgroupFacts): string {
  if (((flags ?? 0) & CGROUP_BORN) !== 0) return 'tp_btf/sched_process_fork'
  return CGROUP_SOURCES.get(op ?? 0) ?? ''
}

function cgroupChangeOf(facts: ICgroupFacts) {
  return {
    op: facts.op ?? CgroupOp.CGROUP_OP_UNSPECIFIED,
    path: copyShort(facts.path),
    cgroupId: facts.target ?? null,
    actorPid: facts.actorPid ?? 0,
  }
}

/** The path of an open whose file could not be asked, or whose real path is cut. */
function openPath(facts: IFileOpenFacts, userPath: Uint8Array): Uint8Array {
  if (((facts.pathFlags ?? 0) & PATH_UNRESOLVED) !== 0) return lexicalPath(facts.path, userPath)
  // By mounts that are not the process's own it begins somewhere else, but nothing says more.
  if (((facts.pathFlags ?? 0) & PATH_TRUNCATED) === 0) return copyShort(facts.path)
  // Resolved but cut: the end of the real path is worth more than a relative name.
  return userPath[0] === SLASH ? lexicalPath(null, userPath) : copyShort(facts.path)
}

function accessOf(flags: number): Access {
  const mode = flags & O_ACCMODE
  if (mode === 0) return Access.ACCESS_READ
  // Mode 3 asks for both permissions (and then allows ioctl only).
  return mode === O_WRONLY ? Access.ACCESS_WRITE : Access.ACCESS_READ_WRITE
}

/** Decoded byte fields are views into the batch. */
function copy(bytes: Uint8Array | null | undefined): Uint8Array {
  return bytes === null || bytes === undefined ? NO_BYTES : Uint8Array.prototype.slice.call(bytes)
}

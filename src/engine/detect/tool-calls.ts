/**
 * A session's tool calls: what the harness starts is a call, with all that comes of it, until its first process exits. Fed with facts in
 * the order of the session. Guards that a wrapper takes the class of what it runs, that inputs of a shell that stays are calls of their
 * own, and that what is remembered has a limit. Not here: what is odd about calls (the detectors).
 */
import { clipped } from './bounded.js'
import { classOf, isShell, readsItsInput, shellRuns } from './classify.js'
import type { Fact, ProcessFact } from './fact.js'
import { isHarness } from './harness.js'
import {
  EXITED,
  FIRST,
  HARNESS,
  INSTALLS,
  type Key,
  keyOf,
  ProcessTable,
  type ProcessTableState,
  shellsOf,
  TOLD,
  withShells,
} from './process-table.js'
import { isBuilder, isInstaller } from './programs.js'
import { TextRoom } from './text-room.js'
import type { ToolCall } from './tool-call.js'

export { PROCESSES_MAX } from './process-table.js'

/** Those that go on, and ended ones of which something still runs. */
export const CALLS_MAX = 20
/** Of each call. */
const LISTED_MAX = 256
/** Of all calls together; what a place in a list takes besides its text. */
const LISTED_BYTES = 6 * 1024
const PLACE_BYTES = 56
const COMMAND_BYTES = 12 * 1024
/** Of a call that is over. */
const OVER_CHARS = 64
const INPUTS_MAX = 8

interface Input {
  /** Since it last started something. */
  text: string
  /** The call that it made is known to begin, and was not given out. */
  isNew: boolean
}

/** Where a process comes from. */
export interface Lineage {
  /** Shells with a command, one started by the other, that it is or is below of. */
  readonly shells: number
  /** An installer or a builder, or started by one. */
  readonly installs: boolean
}

export interface CallChange {
  /** The call that the fact belongs to. */
  readonly call: ToolCall | null
  /** It began, and what it runs is known. */
  readonly began: ToolCall | null
  readonly ended: readonly ToolCall[]
  readonly lineage: Lineage
}

const NO_LINEAGE: Lineage = Object.freeze({ shells: 0, installs: false })
const NO_CALLS: readonly ToolCall[] = Object.freeze([])
const NOTHING: CallChange = Object.freeze({ call: null, began: null, ended: NO_CALLS, lineage: NO_LINEAGE })

/** For whoever goes on with the session. To be kept or sent at once: it is what we work with ourselves. */
export interface ToolCallsState {
  readonly table: ProcessTableState
  readonly inputs: ReadonlyMap<Key, Input>
  readonly calls: ReadonlyMap<number, ToolCall>
  readonly open: ReadonlySet<ToolCall>
  readonly unknown: ReadonlySet<ToolCall>
  readonly workdir: string
  readonly count: number
}

export class ToolCalls {
  private readonly table: ProcessTable
  private readonly inputs: Map<Key, Input>
  /** By number, in the order in which they began. */
  private readonly calls: Map<number, ToolCall>
  private readonly open: Set<ToolCall>
  /** Of a wrapper, or a shell that is told nothing by its arguments, that has not run anything yet. */
  private readonly unknown: Set<ToolCall>
  /** Told with the latest fact, so that nobody needs what they list any more. */
  private over: ToolCall[] = []
  private readonly listed = new TextRoom(LISTED_BYTES)
  private readonly texts = new TextRoom(COMMAND_BYTES)
  private workdir: string
  private count: number
  private forgottenCalls = 0

  constructor(goOn: ToolCallsState | null = null) {
    this.table = new ProcessTable(goOn?.table)
    this.inputs = new Map(goOn?.inputs)
    this.calls = new Map(goOn?.calls)
    this.open = new Set(goOn?.open)
    this.unknown = new Set(goOn?.unknown)
    this.workdir = goOn?.workdir ?? ''
    this.count = goOn?.count ?? 0
    for (const { command, changed, hosts } of this.calls.values()) {
      this.texts.hold(command)
      for (const item of [...changed, ...hosts]) this.listed.hold(`${item}${PLACE}`)
    }
    for (const { text } of this.inputs.values()) this.texts.hold(text)
  }

  get state(): ToolCallsState {
    const { table, inputs, calls, open, unknown, workdir, count } = this
    return { table: table.state, inputs, calls, open, unknown, workdir, count }
  }

  /** Processes and calls that were forgotten while they went on. */
  get forgotten(): number {
    return this.table.forgotten + this.forgottenCalls
  }

  /** Characters of commands that had no room. */
  get cut(): number {
    return this.texts.cut
  }

  take(fact: Fact): CallChange {
    if (this.over.length > 0) this.release()
    const { process } = fact
    if (fact.kind === 'started') this.workdir = fact.workdir
    if (fact.kind === 'ended') return { ...NOTHING, ended: this.endAll(fact) }
    if (process === null) return NOTHING
    const key = keyOf(process.execId)
    if (fact.kind === 'exec') return this.exec(fact, process, key)
    const own = this.table.find(key)
    const at = own === -1 ? this.parentOf(process) : own
    if (fact.kind === 'stdin') return this.told(fact.text, process, { key, at })
    const call = at === -1 ? null : this.callAt(at)
    if (call !== null) this.note(call, fact)
    if (fact.kind === 'exit') return this.exit(fact, own, key)
    return at === -1 ? NOTHING : { call, began: null, ended: NO_CALLS, lineage: lineageOf(this.table.flags(at)) }
  }

  private callAt(at: number): ToolCall | null {
    return this.calls.get(this.table.call(at)) ?? null
  }

  private exec(fact: Fact, process: ProcessFact, key: Key): CallChange {
    const known = this.table.find(key)
    if (known !== -1) return this.execAgain(fact, process, { key, at: known })
    const parent = this.parentOf(process)
    const parentKey = parent === -1 ? 0 : this.table.key(parent)
    const flags = this.flagsOf(process, parent === -1 ? 0 : this.table.flags(parent))
    const isFirstSeen = this.table.isEmpty && this.count === 0
    if (isHarness(process) || isFirstSeen || process.parentExecId === '') {
      this.table.put(key, 0, flags | HARNESS)
      return NOTHING
    }
    // A parent that never exec'd is not known by name: then it is the latest call's.
    const call = parent === -1 ? this.latest() : this.callBelow(parent, parentKey, fact)
    if (call === null) return this.begin(fact, process, { key, flags })
    this.table.put(key, call.number, flags)
    call.processes += 1
    const input = this.inputs.get(parentKey)
    const isNew = input?.isNew ?? false
    if (input !== undefined) input.isNew = false
    const began = this.unknown.has(call) ? this.nowKnown(call, process) : isNew ? call : null
    return { call, began, ended: NO_CALLS, lineage: lineageOf(flags) }
  }

  /** Who started it: a fork of a program that started none itself, as a subshell is, acts for that program. */
  private parentOf({ parentExecId, spawnerExecId }: ProcessFact): number {
    const parent = this.table.find(keyOf(parentExecId))
    return parent === -1 ? this.table.find(keyOf(spawnerExecId)) : parent
  }

  /** What it inherits, and what it is itself. */
  private flagsOf(process: ProcessFact, inherited: number): number {
    const { workdir } = this
    const shells = shellsOf(inherited)
    const isNested = isShell(process) && shellRuns(process.args) !== null
    const installs =
      (inherited & INSTALLS) !== 0 || isInstaller(process, workdir) || isBuilder(process, workdir) ? INSTALLS : 0
    return withShells(installs, isNested ? shells + 1 : classOf(process) === null ? shells : 0)
  }

  /** The call of a shell's input, begun by what it starts; else its own. Null: the parent's are calls of their own. */
  private callBelow(parent: number, key: Key, fact: Fact): ToolCall | null {
    const input = this.inputs.get(key)
    const told = input?.text.trim() ?? ''
    if (input === undefined || told === '') return this.callAt(parent)
    const call = this.newCall(fact, { class: 'shell', command: told })
    this.texts.give(input.text)
    input.text = ''
    input.isNew = true
    const again = this.table.find(key)
    if (again !== -1) this.table.set(again, call.number, this.table.flags(again))
    return call
  }

  private begin(fact: Fact, process: ProcessFact, { key, flags }: { key: Key; flags: number }): CallChange {
    const kind = classOf(process)
    const call = this.newCall(fact, { class: kind ?? 'program', command: commandOf(process) })
    call.processes = 1
    this.table.put(key, call.number, flags | FIRST)
    const isKnown = kind !== null && !readsItsInput(process)
    if (!isKnown) this.unknown.add(call)
    return { call, began: isKnown ? call : null, ended: NO_CALLS, lineage: lineageOf(flags) }
  }

  /** In the place of what it was. */
  private execAgain(fact: Fact, process: ProcessFact, { key, at }: { key: Key; at: number }): CallChange {
    const call = this.callAt(at)
    const before = this.table.flags(at)
    const flags = this.flagsOf(process, before) | (before & (HARNESS | FIRST | TOLD))
    const lineage = lineageOf(flags)
    const isFirst = (before & FIRST) !== 0
    if (call !== null && isFirst && isHarness(process)) {
      this.withdraw(call)
      this.table.set(at, 0, (flags & ~FIRST) | HARNESS)
      return NOTHING
    }
    this.table.set(at, this.table.call(at), flags)
    if ((before & HARNESS) !== 0 || call === null)
      return { call: this.inputs.has(key) ? call : null, began: null, ended: NO_CALLS, lineage }
    this.note(call, fact)
    return { call, began: this.unknown.has(call) ? this.nowKnown(call, process) : null, ended: NO_CALLS, lineage }
  }

  /** What a wrapper runs. Null: it is a wrapper again. */
  private nowKnown(call: ToolCall, process: ProcessFact): ToolCall | null {
    const isWrapper = call.class !== 'shell'
    const kind = isWrapper ? classOf(process) : call.class
    if (kind === null) return null
    this.unknown.delete(call)
    if (!isWrapper) return call
    call.class = kind
    this.texts.give(call.command)
    call.command = this.texts.take(commandOf(process))
    return call
  }

  private told(text: string, process: ProcessFact, { key, at }: { key: Key; at: number }): CallChange {
    const call = at === -1 ? null : this.callAt(at)
    if (at === -1 || classOf(process) !== 'shell' || shellRuns(process.args) !== null) return { ...NOTHING, call }
    const flags = this.table.flags(at)
    const input = this.inputs.get(key)
    const ended: ToolCall[] = []
    if (input === undefined) {
      // Itself it only waits: what it is told are the calls.
      if (call !== null && (flags & FIRST) !== 0) this.withdraw(call)
    } else if (call !== null) {
      ended.push(call)
      this.finish(call)
    }
    this.table.set(at, 0, flags | TOLD)
    const before = input?.text ?? ''
    this.texts.give(before)
    this.inputs.delete(key)
    this.inputs.set(key, { text: this.texts.take(`${before}${text}\n`), isNew: false })
    if (this.inputs.size > INPUTS_MAX) this.forgetInput()
    return { ...NOTHING, ended }
  }

  private exit(fact: Fact & { kind: 'exit' }, at: number, key: Key): CallChange {
    if (at === -1) return NOTHING
    const flags = this.table.flags(at)
    const call = this.callAt(at)
    this.table.set(at, this.table.call(at), flags | EXITED)
    const input = this.inputs.get(key)
    if (input !== undefined) {
      this.texts.give(input.text)
      this.inputs.delete(key)
    }
    const isFirst = (flags & FIRST) !== 0
    const lineage = lineageOf(flags)
    if (call === null || !(isFirst || input !== undefined) || !this.open.has(call)) {
      return { call, began: null, ended: NO_CALLS, lineage }
    }
    const began = this.unknown.delete(call) ? call : null
    if (isFirst) call.exit = { code: fact.code, signal: fact.signal }
    call.endTime = fact.time
    this.finish(call)
    return { call, began, ended: [call], lineage }
  }

  /** The session is over, and with it what had no end of its own. */
  private endAll(fact: Fact): ToolCall[] {
    const ended = [...this.open]
    for (const call of ended) {
      call.endTime = fact.time
      this.finish(call)
    }
    this.unknown.clear()
    return ended
  }

  private finish(call: ToolCall): void {
    this.open.delete(call)
    this.over.push(call)
  }

  /** Of what is over only the name is kept, for what it left running. */
  private release(): void {
    for (const call of this.over) {
      this.unlist(call)
      this.texts.give(call.command)
      call.command = this.texts.take(clipped(call.command, OVER_CHARS, ''))
    }
    this.over = []
  }

  private unlist(call: ToolCall): void {
    for (const item of call.changed) this.listed.give(`${item}${PLACE}`)
    for (const item of call.hosts) this.listed.give(`${item}${PLACE}`)
    call.changed = NO_ITEMS
    call.hosts = NO_ITEMS
  }

  private note(call: ToolCall, fact: Fact): void {
    call.endTime = fact.time
    if (fact.kind === 'mutation') for (const path of fact.paths) call.changed = this.list(call, call.changed, path)
    else if (fact.kind === 'attempt') {
      call.hosts = this.list(call, call.hosts, fact.host === '' ? fact.target : fact.host)
    }
  }

  private list(call: ToolCall, set: ReadonlySet<string>, item: string): ReadonlySet<string> {
    if (set.has(item)) return set
    if (!this.open.has(call) || set.size >= LISTED_MAX || !this.listed.has(`${item}${PLACE}`)) {
      call.unlisted += 1
      return set
    }
    return set === NO_ITEMS ? new Set([item]) : (set as Set<string>).add(item)
  }

  private newCall(fact: Fact, of: Pick<ToolCall, 'class' | 'command'>): ToolCall {
    this.count += 1
    const { uid, timeMs, time, process } = fact
    const call: ToolCall = {
      uid,
      number: this.count,
      startMs: timeMs,
      startTime: time,
      endTime: time,
      class: of.class,
      command: this.texts.take(of.command),
      cwd: process?.cwd ?? '',
      processes: 0,
      exit: null,
      changed: NO_ITEMS,
      hosts: NO_ITEMS,
      unlisted: 0,
    }
    this.open.add(call)
    this.calls.set(call.number, call)
    if (this.calls.size > CALLS_MAX) this.forgetOldest()
    return call
  }

  private latest(): ToolCall | null {
    return [...this.open].at(-1) ?? null
  }

  private withdraw(call: ToolCall): void {
    this.open.delete(call)
    this.unknown.delete(call)
    this.calls.delete(call.number)
    this.unlist(call)
    this.texts.give(call.command)
  }

  private forgetOldest(): void {
    for (const call of this.calls.values()) {
      if (this.open.has(call) || this.over.includes(call)) continue
      this.withdraw(call)
      return
    }
    const [oldest] = this.open
    if (oldest === undefined) return
    this.forgottenCalls += 1
    this.withdraw(oldest)
  }

  private forgetInput(): void {
    const [key] = this.inputs.keys()
    if (key === undefined) return
    this.forgottenCalls += 1
    this.texts.give(this.inputs.get(key)?.text ?? '')
    this.inputs.delete(key)
  }
}

const NO_ITEMS: ReadonlySet<string> = Object.freeze(new Set<string>())
const PLACE = ' '.repeat(PLACE_BYTES)

function lineageOf(flags: number): Lineage {
  return flags < INSTALLS ? NO_LINEAGE : { shells: shellsOf(flags), installs: (flags & INSTALLS) !== 0 }
}

/** As it would be typed. */
export function commandOf({ args, exe }: Pick<ProcessFact, 'args' | 'exe'>): string {
  const given = isShell({ exe, args }) ? shellRuns(args) : null
  return given ?? (args.length === 0 ? [exe] : args).map(word).join(' ')
}

function word(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`
}

/**
 * The processes of a session, each under the one that started it: what it exec'd, how it ended, which tool call it belongs to. Guards the size
 * of what is held, and that a journal of anybody's making gives a tree: a process is put under one that was there before it, or under one that
 * has no place yet. Not here: how it is shown.
 */
import type { EventJson, ProcessJson } from '../../proto/event-json.js'

export const PROCESSES_MAX = 50_000
export const EXECS_MAX = 20
/** Of a process's parents that are walked to see that none is the process itself. */
const DEPTH_MAX = 10_000

export interface ExecNode {
  readonly execId: string
  readonly time: string
  readonly exe: string
  readonly args: readonly string[]
  readonly argsTruncated: boolean
}

export interface ProcessNode {
  readonly key: string
  pid: number
  readonly execs: ExecNode[]
  execsMore: number
  /** Of the first event that names it. */
  readonly time: string
  exit: { readonly time: string; readonly code: number; readonly signal: number; readonly runtimeMs: string } | null
  toolCallId: string
  readonly children: ProcessNode[]
  parent: ProcessNode | null
}

export interface ToolCallNode {
  readonly id: string
  /** From 1, as they came. */
  readonly number: number
  class: string
  exitCode: number
  signal: number
  ended: boolean
}

/** `boot-pid-start-count`: the process is all but the count of its execs. */
function processKey(execId: string): string {
  return execId.slice(0, Math.max(0, execId.lastIndexOf('-')))
}

export class ProcessForest {
  readonly roots: ProcessNode[] = []
  readonly calls = new Map<string, ToolCallNode>()
  private readonly nodes = new Map<string, ProcessNode>()
  /** Known only as parents so far: their own place may be told later. */
  private readonly placeless = new Set<ProcessNode>()
  /** Processes that there was no room for. */
  left = 0

  add(event: EventJson): void {
    if ('toolCall' in event) this.call(event)
    const { process, toolCallId, time } = event
    if (process === undefined) return
    const node = this.nodeOf(process, time)
    if (node === null) return
    if (toolCallId !== '' && node.toolCallId === '') {
      node.toolCallId = toolCallId
      this.callOf(toolCallId)
    }
    if ('exec' in event) this.exec(node, process, time)
    if ('exit' in event) {
      const { code, signal, runtimeMs } = event.exit
      node.exit = { time, code, signal, runtimeMs }
    }
  }

  get processes(): number {
    return this.nodes.size
  }

  private call({ toolCallId, toolCall }: Extract<EventJson, { toolCall: unknown }>): void {
    const call = this.callOf(toolCallId)
    if (call === null) return
    const { exitCode, signal, ended } = toolCall
    Object.assign(call, { class: toolCall.class, exitCode, signal, ended })
  }

  private callOf(id: string): ToolCallNode | null {
    const known = this.calls.get(id)
    if (known !== undefined) return known
    if (this.calls.size >= PROCESSES_MAX) return null
    const call = { id, number: this.calls.size + 1, class: '', exitCode: 0, signal: 0, ended: false }
    this.calls.set(id, call)
    return call
  }

  private exec(node: ProcessNode, process: ProcessJson, time: string): void {
    if (node.execs.length >= EXECS_MAX) node.execsMore++
    else {
      const { execId, exe, args, argsTruncated } = process
      node.execs.push({ execId, time, exe, args, argsTruncated })
    }
  }

  private nodeOf(process: ProcessJson, time: string): ProcessNode | null {
    const key = processKey(process.execId)
    const known = this.nodes.get(key)
    if (known !== undefined) {
      if (this.placeless.delete(known)) this.place(known, process, time)
      return known
    }
    const node = this.make(key, process.pid, time)
    if (node !== null) this.place(node, process, time)
    return node
  }

  private make(key: string, pid: number, time: string): ProcessNode | null {
    if (this.nodes.size >= PROCESSES_MAX) {
      this.left++
      return null
    }
    const node: ProcessNode = {
      ...{ key, pid, time, execs: [], execsMore: 0, exit: null, toolCallId: '', children: [], parent: null },
    }
    this.nodes.set(key, node)
    this.roots.push(node)
    return node
  }

  /** Under its parent, if it names one. */
  private place(node: ProcessNode, { parentExecId, ppid }: ProcessJson, time: string): void {
    const key = processKey(parentExecId)
    if (parentExecId === '' || key === node.key) return
    const known = this.nodes.get(key)
    const parent = known ?? this.make(key, ppid, time)
    if (parent === null || isUnder(parent, node)) return
    if (known === undefined) this.placeless.add(parent)
    // A root that is moved is nearly always the last one.
    this.roots.splice(this.roots.lastIndexOf(node), 1)
    node.parent = parent
    parent.children.push(node)
  }
}

/** @returns true also where it would take too long to say */
function isUnder(node: ProcessNode, above: ProcessNode): boolean {
  let at: ProcessNode | null = node
  for (let depth = 0; at !== null; depth++) {
    if (at === above || depth > DEPTH_MAX) return true
    at = at.parent
  }
  return false
}

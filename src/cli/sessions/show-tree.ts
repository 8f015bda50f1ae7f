/**
 * `sluice sessions tree`: which process of a session started which, what each exec'd and how it ended, with the tool calls and times. Guards that
 * no depth of a tree is too much for us, and that what its lines show stays on a line.
 */
import { writeStderr } from '../../base/stderr.js'
import { formatDuration, neutralise, neutraliseJson, shellLine, shellWord } from '../display-text.js'
import { describeStatus } from '../exit-code.js'
import { errorLine } from '../report.js'
import type { JournalContext } from './journal-context.js'
import { eventsOf, foundSession } from './journal-events.js'
import { type ExecNode, ProcessForest, type ProcessNode, type ToolCallNode } from './process-forest.js'

const TIME_FROM = 11
const TIME_TO = 23
/** What is deeper is no further to the right. */
const INDENTS_MAX = 40

/** The exit code: 1 where the journal is not what was written. */
export async function showTree(wanted: string, { dir, json }: JournalContext): Promise<number> {
  const session = foundSession(dir, wanted)
  const forest = new ProcessForest()
  let exitCode = 0
  try {
    for (const event of eventsOf(session)) forest.add(event)
  } catch (error) {
    writeStderr(`${errorLine(error)}\n`)
    exitCode = 1
  }
  const lines = json ? treeJsonLines(forest) : treeLines(forest)
  for (const line of lines) process.stdout.write(`${line}\n`)
  if (forest.left > 0) writeStderr(`sluice: events of more processes than ${forest.processes} are not shown\n`)
  return exitCode
}

interface Placed {
  readonly node: ProcessNode
  readonly depth: number
  /** Of those above it that have more children behind it. */
  readonly rails: string
  readonly isLast: boolean
}

/** In the order of a tree's lines. */
function* placed(roots: readonly ProcessNode[]): Generator<Placed> {
  const stack: Placed[] = roots.map((node) => ({ node, depth: 0, rails: '', isLast: true })).reverse()
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    yield at
    const { node, depth, rails, isLast } = at
    const own = depth === 0 || depth > INDENTS_MAX ? rails : `${rails}${isLast ? '   ' : '│  '}`
    for (const [index, child] of [...node.children.entries()].reverse()) {
      const isLastChild = index === node.children.length - 1
      stack.push({ node: child, depth: depth + 1, rails: own, isLast: isLastChild })
    }
  }
}

export function* treeLines(forest: ProcessForest): Generator<string> {
  for (const { node, depth, rails, isLast } of placed(forest.roots)) {
    const branch = depth === 0 ? '' : isLast ? '└─ ' : '├─ '
    const call = firstOfCall(node, forest)
    const [first, ...more] = node.execs
    const what = first === undefined ? '(forked)' : execText(first)
    const said = call === null ? '' : `  [${callText(call)}]`
    yield neutralise(
      `${clock(first?.time ?? node.time)} ${rails}${branch}${node.pid} ${what} → ${endText(node)}${said}`,
    )
    const under = depth === 0 ? '' : isLast ? '   ' : '│  '
    for (const exec of more) yield neutralise(`${clock(exec.time)} ${rails}${under}   then ${execText(exec)}`)
    if (node.execsMore > 0) yield `${' '.repeat(TIME_TO - TIME_FROM)} ${rails}${under}   then ${node.execsMore} more`
  }
}

/** One line a process, parents before their children. */
export function* treeJsonLines(forest: ProcessForest): Generator<string> {
  for (const { node, depth } of placed(forest.roots)) {
    const { pid, parent, execs, execsMore, exit, toolCallId, time } = node
    const call = forest.calls.get(toolCallId)
    const toolCall = call === undefined || firstOfCall(node, forest) === null ? null : call
    const of = { id: node.key, parentId: parent?.key ?? null, depth, pid, time, execs, execsMore, exit, toolCallId }
    yield neutraliseJson(JSON.stringify({ ...of, toolCall }))
  }
}

/** The call that begins with this process. */
function firstOfCall({ toolCallId, parent }: ProcessNode, { calls }: ProcessForest): ToolCallNode | null {
  return toolCallId === parent?.toolCallId ? null : (calls.get(toolCallId) ?? null)
}

function callText(call: ToolCallNode): string {
  const kind = call.class === '' ? '' : ` ${call.class.toLowerCase().replace('_', '-')}`
  return `call ${call.number}${kind}${call.ended ? '' : ', not ended'}`
}

function execText({ exe, args, argsTruncated }: ExecNode): string {
  const line = args.length === 0 ? shellWord(exe) : shellLine(args)
  return argsTruncated ? `${line} …` : line
}

function endText({ exit }: ProcessNode): string {
  return exit === null ? 'not ended' : `${describeStatus(exit)} after ${formatDuration(Number(exit.runtimeMs))}`
}

function clock(time: string): string {
  return time.slice(TIME_FROM, TIME_TO)
}

/**
 * A YAML file that a schema says everything about, the one user of the parser: one typed value, or every mistake with its line and
 * column. Guards against what the schema does not know, and against documents that unfold without end. What a value means beyond the
 * schema is the caller's, who asks for places with `at`.
 */
import { type Document, isMap, LineCounter, type Node, parseDocument } from 'yaml'
import type { z } from 'zod'
import { messageOf } from './error.js'
import { mistakesOf, type Path, pathText } from './schema-issues.js'
import { withoutRuns, type YamlRun } from './yaml-runs.js'

/** Told of one file; the rest is only counted. */
const PROBLEMS_MAX = 100

export interface Place {
  readonly line: number
  readonly column: number
}

export interface Problem extends Place {
  /** One sentence, with the path of the key where there is one. */
  readonly message: string
}

export type YamlFile<T> =
  | { readonly ok: true; readonly value: T; readonly at: (path: Path) => Place }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/** Nobody writes it. */
const RUN_MARK = 'run-of-plain-items-'
/** Shorter ones are the parser's. */
const RUN_ITEMS_MIN = 256

/** An empty file, or one of comments, is an empty map. Problems are in the order of the file. @param itemsMin of a run that is read line by line */
export function readYaml<S extends z.ZodType>(
  text: string,
  schema: S,
  itemsMin = RUN_ITEMS_MIN,
): YamlFile<z.output<S>> {
  const { text: shorter, runs } = withoutRuns(text, { mark: RUN_MARK, itemsMin })
  const short = runs.length === 0 ? null : readParsed(shorter, { schema, runs })
  return short ?? readParsed(text, { schema, runs: [] }) ?? { ok: false, problems: [] }
}

/** Null: the runs are not what they look like. */
function readParsed<S extends z.ZodType>(
  text: string,
  { schema, runs }: { schema: S; runs: readonly YamlRun[] },
): YamlFile<z.output<S>> | null {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false })
  const placeOf = (offset: number): Place => {
    const { line, col } = lines.linePos(offset)
    return { line, column: col }
  }
  if (document.errors.length > 0) {
    return refused(document.errors.map(({ pos, message }) => ({ ...placeOf(pos[0]), message })))
  }
  const root = document.contents
  const content = unfold(document)
  if ('problem' in content) return refused([{ ...placeOf(startOf(root)), message: content.problem }])
  const lists = runs.length === 0 ? [] : unfoldRuns(content.value, runs)
  if (lists === null) return null
  const at = (path: Path) => placeInRun(lists, path) ?? placeOf(offsetOf(root, shortened(lists, path).map(String)))
  const parsed = schema.safeParse(content.value)
  if (parsed.success) return { ok: true, value: parsed.data, at }
  const mistakes = mistakesOf(parsed.error.issues, schema, content.value)
  return refused(mistakes.map(({ path, message }) => ({ ...at(path), message: about(path, message) })))
}

/** `egress[2].host: is missing`. */
export function about(path: Path, message: string): string {
  return message.startsWith('unknown key') ? message : `${pathText(path) || 'the file'}: ${message}`
}

/** `file:line:column: message`, as editors and compilers have it. */
export function problemLine(file: string, { line, column, message }: Problem): string {
  return `${file}:${line}:${column}: ${message}`
}

function refused(problems: readonly Problem[]): YamlFile<never> {
  const sorted = [...problems].sort((a, b) => a.line - b.line || a.column - b.column)
  const [last] = sorted.slice(PROBLEMS_MAX)
  if (last === undefined) return { ok: false, problems: sorted }
  const rest = { ...last, message: `${sorted.length - PROBLEMS_MAX} more mistakes` }
  return { ok: false, problems: [...sorted.slice(0, PROBLEMS_MAX), rest] }
}

/** A document may refer to itself, or to so much of itself that no memory would hold it. */
function unfold(document: Document): { value: unknown } | { problem: string } {
  try {
    return { value: document.toJS() ?? {} }
  } catch (error) {
    return { problem: messageOf(error) }
  }
}

/** A list right below the top, some of whose items are of runs. */
interface RunList {
  readonly key: string
  /** Where each run begins in it, in order, and which it is. */
  readonly runs: readonly { readonly from: number; readonly run: YamlRun }[]
}

/** Puts the items in. Null where a mark is anything but an item of a list right below the top, or not there. */
function unfoldRuns(value: unknown, runs: readonly YamlRun[]): RunList[] | null {
  if (typeof value !== 'object' || value === null) return null
  const byMark = new Map(runs.map((run) => [run.mark, run]))
  const lists: RunList[] = []
  for (const [key, list] of Object.entries(value)) {
    if (!Array.isArray(list)) continue
    const items: unknown[] = []
    const found: { from: number; run: YamlRun }[] = []
    for (const item of list) {
      const run = byMark.get(item)
      if (run === undefined) items.push(item)
      else {
        found.push({ from: items.length, run })
        byMark.delete(run.mark)
        for (const each of run.items) items.push(each)
      }
    }
    if (found.length === 0) continue
    Reflect.set(value, key, items)
    lists.push({ key, runs: found })
  }
  return byMark.size === 0 ? lists : null
}

function placeInRun(lists: readonly RunList[], [key, index, ...inner]: Path): Place | null {
  const { runs = [] } = lists.find((list) => list.key === key) ?? {}
  const at = Number(index)
  const held = runs.find(({ from, run }) => at >= from && at < from + run.items.length)
  return held === undefined ? null : held.run.place(at - held.from, inner.map(String))
}

/** As the document has it, where one item stands for a run. */
function shortened(lists: readonly RunList[], path: Path): Path {
  const [key, index, ...inner] = path
  const { runs = [] } = lists.find((list) => list.key === key) ?? {}
  if (index === undefined || runs.length === 0) return path
  const before = runs.filter(({ from }) => from < Number(index))
  return [key ?? '', before.reduce((at, { run }) => at - run.items.length + 1, Number(index)), ...inner]
}

/** Where a key is written; for one that is not, where what should hold it begins. */
function offsetOf(root: Node | null, where: readonly string[]): number {
  let node: unknown = root
  let offset = startOf(root)
  for (const key of where) {
    if (isMap(node)) {
      const pair = node.items.find((item) => String(item.key) === key)
      if (pair === undefined) return offset
      offset = startOf(pair.key)
      node = pair.value
    } else {
      node = itemOf(node, key)
      offset = node === undefined ? offset : startOf(node)
    }
  }
  return offset
}

function itemOf(node: unknown, index: string): unknown {
  const items = typeof node === 'object' && node !== null ? Reflect.get(node, 'items') : undefined
  return Array.isArray(items) ? items[Number(index)] : undefined
}

function startOf(node: unknown): number {
  const range = typeof node === 'object' && node !== null ? Reflect.get(node, 'range') : undefined
  return Array.isArray(range) && typeof range[0] === 'number' ? range[0] : 0
}

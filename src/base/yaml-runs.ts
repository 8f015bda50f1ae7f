/**
 * Long runs of plain list items in a YAML text (`- cidr: 10.1.0.0/16`, `  ports: [443]`), read line by line: of fifty thousand of them the
 * parser would make a tree of a million objects. Each run is put aside and one item stands in its place; lines stay where they are.
 * Guards that only what can be read in one way alone is taken; whether the place was an item of a list is for the caller to see. Not here:
 * everything else that YAML is.
 */

const ITEM = /^( *)- ([a-z_]+): (.*)$/
const MORE = /^( *)([a-z_]+): (.*)$/
const LIST = /^\[((?:\d|-|, )+)\]$/
const NUMBER = /^(?:0|[1-9]\d{0,14})$/
const NUMBERS = /^\d+-\d+$/
const RANGE = /^[0-9a-fA-F][0-9a-fA-F.:]*\/\d{1,3}$/
const WORD = /^[a-z][a-z0-9.*-]*$/
const NO_STRINGS: ReadonlySet<string> = new Set(['true', 'false', 'null'])

type Plain = string | number | (string | number)[]

export interface YamlRun {
  /** Stands in its place. */
  readonly mark: string
  readonly items: readonly Readonly<Record<string, Plain>>[]
  /** Where a key of an item is written, or what is in its list; what should hold it where it is not there. From 1. */
  place(item: number, inner: readonly string[]): { line: number; column: number }
}

interface Found {
  readonly indent: number
  readonly items: Record<string, Plain>[]
  /** Of each item, from 0. */
  readonly lines: number[]
}

/** @param mark begins every mark; it must not be in the text. @param itemsMin shorter runs stay where they are */
export function withoutRuns(
  text: string,
  { mark, itemsMin }: { mark: string; itemsMin: number },
): { text: string; runs: readonly YamlRun[] } {
  if (text.includes(mark)) return { text, runs: [] }
  const lines = text.split('\n')
  const runs: YamlRun[] = []
  for (let at = 0; at < lines.length; ) {
    const { found, end } = runAt(lines, at)
    // The last one may go on in what is behind the run.
    const endsAt = found?.lines.at(-1) ?? at
    if (found !== null && found.items.length > itemsMin) {
      const name = `${mark}${runs.length}`
      lines[at] = `${' '.repeat(found.indent)}- ${name}`
      lines.fill('', at + 1, endsAt)
      runs.push(runOf(name, { ...found, items: found.items.slice(0, -1) }))
    }
    at = Math.max(end, at + 1)
  }
  return { text: runs.length === 0 ? text : lines.join('\n'), runs }
}

function runOf(mark: string, { indent, items, lines }: Found): YamlRun {
  return {
    mark,
    items,
    place(item, [key = '', index]) {
      const fields = items[item] ?? {}
      const line = (lines[item] ?? 0) + 1 + Math.max(0, Object.keys(fields).indexOf(key))
      const column = indent + '- '.length + 1
      const value = Object.hasOwn(fields, key) ? fields[key] : null
      const isInList = index !== undefined && Array.isArray(value) && value[Number(index)] !== undefined
      return { line, column: isInList ? column + `${key}: [${before(value, Number(index))}`.length : column }
    },
  }
}

function before(list: readonly (string | number)[], index: number): string {
  return list
    .slice(0, index)
    .map((each) => `${each}, `)
    .join('')
}

/** `end`: the first line behind it. */
function runAt(lines: readonly string[], from: number): { found: Found | null; end: number } {
  const [, spaces = ''] = ITEM.exec(lines[from] ?? '') ?? []
  const found: Found = { indent: spaces.length, items: [], lines: [] }
  let end = from
  for (; end < lines.length; end++) {
    if (!take(found, lines[end] ?? '', end)) break
  }
  return { found: found.items.length === 0 ? null : found, end }
}

/** False: the line is none of the run's. */
function take({ indent, items, lines }: Found, line: string, at: number): boolean {
  const begins = ITEM.exec(line)
  if (begins !== null) {
    const [, spaces = '', key = '', text = ''] = begins
    const value = plain(text)
    if (spaces.length !== indent || value === null || NO_STRINGS.has(key)) return false
    items.push({ [key]: value })
    lines.push(at)
    return true
  }
  const item = items.at(-1)
  const [, spaces = '', key = '', text = ''] = MORE.exec(line) ?? []
  const value = plain(text)
  if (item === undefined || spaces.length !== indent + 2 || value === null) return false
  if (NO_STRINGS.has(key) || Object.hasOwn(item, key)) return false
  item[key] = value
  return true
}

/** Null: it is not plain. */
function plain(text: string): Plain | null {
  const inside = LIST.exec(text)?.[1]
  if (inside === undefined) return scalar(text)
  const values = inside.split(', ').map(scalar)
  return values.every((value) => value !== null) ? values : null
}

function scalar(text: string): string | number | null {
  if (NUMBER.test(text)) return Number(text)
  return NUMBERS.test(text) || RANGE.test(text) || (WORD.test(text) && !NO_STRINGS.has(text)) ? text : null
}

/**
 * A command reduced to what makes it the same as another: quoting, comments, `cd X &&` in front and whatever changes from one time to the
 * next (numbers, hashes, ids, times, names of temporary files) do not count. Remembered by its text, a bounded number of them.
 */

import { type Sketch, sketchOf } from './alike.js'
import { clipped, copied } from './bounded.js'
import { hash53 } from './hash.js'
import { type Way, wayOf } from './hidden-code.js'
import { WRAPPING_WORDS } from './programs.js'
import { readShellText, type ShellSyntax, type SimpleCommand } from './shell-text.js'
import type { ToolCall } from './tool-call.js'

export interface Command {
  /** Equal for commands that do the same. */
  readonly key: number
  /** How alike it is to another one (alike.ts). */
  readonly sketch: Sketch
  /** What it does, in one or two words: `git status`, `pytest`. */
  readonly verb: string
  /** As long as a person would read. */
  readonly said: string
  /** How code that it runs comes to be, where that is hidden; null: it is not. */
  readonly way: Way | null
}

const BETWEEN_TOKENS = /[^\w<>]+/
const VERB_CHARS_MAX = 40
const SAID_CHARS_MAX = 80
/** For all sessions together. */
const KEPT_MAX = 16_384
/** Of the texts that are kept. */
const KEPT_CHARS_MAX = 8 * 1024 * 1024
/** Programs whose first word says what they do. */
const WITH_VERB: ReadonlySet<string> = new Set([
  ...[
    'git',
    'npm',
    'pnpm',
    'yarn',
    'cargo',
    'go',
    'docker',
    'kubectl',
    'pip',
    'pip3',
    'make',
    'mvn',
    'gradle',
    'dotnet',
  ],
  ...['python', 'python3', 'node', 'bash', 'sh'],
])
const VOLATILE: readonly (readonly [RegExp, string])[] = [
  [/[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}/g, '<uuid>'],
  [/\d{4}-\d{2}-\d{2}(?:[T_ ]\d{2}[:.-]?\d{2}(?:[:.-]?\d{2}(?:[.,]\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?/g, '<time>'],
  [
    /((?:^|[/\s'"=(])(?:\/var)?\/tmp\/)(?=[^/\s'"]*[0-9A-Z])[A-Za-z]*[._-]?[A-Za-z0-9_-]{6,}(?=$|[/\s'".)])/g,
    '$1<name>',
  ],
  [/\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{7,64}\b/gi, '<hex>'],
  [/\b(?=(?:[a-z_-]*\d[\d]*){2})(?=(?:\d*[a-z]+){3})[a-z\d]{8,}\b/gi, '<name>'],
  [/\d{4,}/g, '<number>'],
]

export class Commands {
  private readonly syntax: ShellSyntax
  private readonly kept = new Map<string, Command>()
  private keptChars = 0
  /** Texts that were parsed. */
  parsed = 0

  constructor(syntax: ShellSyntax) {
    this.syntax = syntax
  }

  of({ command }: Pick<ToolCall, 'command'>): Command {
    const known = this.kept.get(command)
    if (known !== undefined) return known
    const made = this.read(command)
    this.keep(command, made)
    return made
  }

  private read(text: string): Command {
    this.parsed += 1
    const { commands, words } = readShellText(text, this.syntax)
    const { doing, from } = withoutCd(commands)
    const said = words.slice(from).map(masked)
    const tokens = said.flatMap((word) => word.split(BETWEEN_TOKENS)).filter((token) => token !== '')
    const line = text.slice(0, 4 * SAID_CHARS_MAX).replace(/\s+/g, ' ')
    return {
      key: hash53(said.join(' ')),
      sketch: sketchOf(tokens),
      // Both may be views into the text, which is much longer.
      verb: copied(clipped(verbOf(doing), VERB_CHARS_MAX)),
      said: copied(clipped(line, SAID_CHARS_MAX)),
      way: wayOf(commands, text),
    }
  }

  private keep(text: string, made: Command): void {
    this.kept.set(text, made)
    this.keptChars += text.length
    for (const oldest of this.kept.keys()) {
      if (this.kept.size <= KEPT_MAX && this.keptChars <= KEPT_CHARS_MAX) return
      this.kept.delete(oldest)
      this.keptChars -= oldest.length
    }
  }
}

/** Where it is done is told by the call itself. `from`: words of the commands in front. */
function withoutCd(commands: readonly SimpleCommand[]): { doing: SimpleCommand | null; from: number } {
  let from = 0
  for (const command of commands) {
    if (command.words[0] !== 'cd' || commands.length === 1) return { doing: command, from }
    from += command.words.length
  }
  return { doing: commands[0] ?? null, from: 0 }
}

/** Lines of a file: who reads on does not do the same again. */
const LINES = /^\d+,[+~]?\d+[pd](?:;\d+q)?$/

/** With what changes from one time to the next left out. */
export function masked(word: string): string {
  if (LINES.test(word)) return word
  return VOLATILE.reduce((text, [pattern, instead]) => text.replace(pattern, instead), word)
}

function verbOf(command: SimpleCommand | null): string {
  const words = [...(command?.words ?? [])]
  while (WRAPPING_WORDS.has(words[0] ?? '') && words.length > 1) {
    words.shift()
    while (/^-|^\d+[smhd]?$|=/.test(words[0] ?? '') && words.length > 1) words.shift()
  }
  const [program = '', ...rest] = words
  const name = program.slice(program.lastIndexOf('/') + 1)
  if (!WITH_VERB.has(name)) return name
  if (rest[0] === '-m' && rest[1] !== undefined) return `${name} -m ${rest[1]}`
  const verb = rest.find((word) => !word.startsWith('-'))
  return verb === undefined ? name : `${name} ${masked(verb)}`
}

/**
 * What a shell is told, reduced to what it does: its commands as words, without comments, quotes and where it was said. Guards that a text
 * that is too long or no shell language is taken as it is, by its words. The grammar is handed in.
 */

export interface SyntaxNode {
  readonly type: string
  readonly text: string
  readonly children: readonly SyntaxNode[]
}

/** Parses and lets `read` look at the root, which is gone after that. Null: it could not be parsed. */
export type ShellSyntax = <T>(text: string, read: (root: SyntaxNode) => T) => T | null

export interface SimpleCommand {
  /** Without quotes; the first one is the program. */
  readonly words: readonly string[]
  /** It reads what the one before it writes. */
  readonly isPiped: boolean
}

export interface ShellText {
  /** In the order in which they are written, those in loops and substitutions too. */
  readonly commands: readonly SimpleCommand[]
  /** Everything that is said, word by word, operators left out. */
  readonly words: readonly string[]
}

/** Longer ones are split at white space. */
const PARSED_CHARS_MAX = 32 * 1024
const WORDS_MAX = 2_048
const COMMANDS_MAX = 256
/** What is one word to the shell. */
const WORDS: ReadonlySet<string> = new Set([
  ...['word', 'string', 'raw_string', 'ansi_c_string', 'concatenation', 'number', 'simple_expansion', 'expansion'],
  ...['regex', 'heredoc_body', 'test_operator', 'variable_name', 'extglob_pattern', 'translated_string'],
])
const DEPTH_MAX = 100

export function readShellText(text: string, syntax: ShellSyntax): ShellText {
  const parsed = text.length <= PARSED_CHARS_MAX ? syntax(text, (root) => new Reader().read(root)) : null
  if (parsed !== null && parsed.commands.length > 0) return parsed
  const words = text.split(/\s+/, WORDS_MAX).filter((word) => word !== '')
  return { commands: words.length === 0 ? [] : [{ words, isPiped: false }], words }
}

class Reader {
  private readonly commands: { words: string[]; isPiped: boolean }[] = []
  private readonly words: string[] = []

  read(root: SyntaxNode): ShellText {
    this.visit(root, { depth: 0, isPiped: false })
    return { commands: this.commands, words: this.words }
  }

  private visit(node: SyntaxNode, at: { depth: number; isPiped: boolean }): void {
    if (node.type === 'comment' || at.depth > DEPTH_MAX) return
    if (node.type === 'command' && this.commands.length < COMMANDS_MAX) {
      this.commands.push({ words: commandWords(node), isPiped: at.isPiped })
    }
    if (WORDS.has(node.type)) {
      this.say(plain(node.text))
      // What runs inside of a word is a command of its own.
      for (const child of node.children) this.inside(child, at.depth + 1)
      return
    }
    node.children.forEach((child, index) => {
      this.visit(child, { depth: at.depth + 1, isPiped: node.type === 'pipeline' ? index > 0 : at.isPiped })
    })
  }

  private inside(node: SyntaxNode, depth: number): void {
    if (depth > DEPTH_MAX) return
    if (node.type === 'command_substitution' || node.type === 'process_substitution') {
      for (const child of node.children) this.visit(child, { depth, isPiped: false })
    } else {
      for (const child of node.children) this.inside(child, depth + 1)
    }
  }

  private say(word: string): void {
    if (this.words.length < WORDS_MAX) this.words.push(word)
  }
}

function commandWords(command: SyntaxNode): string[] {
  return command.children.flatMap((child) => {
    if (child.type === 'variable_assignment' || child.type.endsWith('_redirect')) return []
    return [plain(child.text)]
  })
}

/** Without the quotes around it and those inside that only join. */
function plain(text: string): string {
  return text.replace(/^\$?(['"])([\s\S]*)\1$/, '$2').replace(/\\\n/g, '')
}

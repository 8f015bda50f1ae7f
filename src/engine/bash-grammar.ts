/**
 * The grammar of bash: tree-sitter's, as WebAssembly. Loaded once, then it only parses. Guards that what it allocates outside of our heap
 * is given back. What a tree means is detect/shell-text.ts's.
 */
import { fileURLToPath } from 'node:url'
import { Language, type Node, Parser } from 'web-tree-sitter'
import type { ShellSyntax, SyntaxNode } from './detect/shell-text.js'

const GRAMMAR = 'tree-sitter-bash/tree-sitter-bash.wasm'

/** Rejects where the installation is not complete. */
export async function loadBashGrammar(): Promise<ShellSyntax> {
  await Parser.init()
  const language = await Language.load(fileURLToPath(import.meta.resolve(GRAMMAR)))
  const parser = new Parser()
  parser.setLanguage(language)
  return (text, read) => {
    const tree = parser.parse(text)
    if (tree === null) return null
    try {
      return read(view(tree.rootNode))
    } finally {
      tree.delete()
    }
  }
}

function view(node: Node): SyntaxNode {
  return {
    type: node.type,
    get text() {
      return node.text
    },
    get children() {
      return node.namedChildren.flatMap((child) => (child === null ? [] : [view(child)]))
    },
  }
}

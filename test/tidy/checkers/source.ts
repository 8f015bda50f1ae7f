/** What the checkers look at: files as text, so that a test can hand them a violating example without touching the disk. */
import ts from 'typescript'

export interface SourceFile {
  /** Relative to the checkout, with forward slashes. */
  readonly path: string
  readonly text: string
}

/** A problem as people read it: `path:line: what is wrong and what to do`. Line 0 means the whole file. */
export function problem(file: SourceFile, line: number, message: string): string {
  return `${file.path}${line > 0 ? `:${line}` : ''}: ${message}`
}

/** Parses TypeScript or JavaScript with parent links set. */
export function parse(file: SourceFile): ts.SourceFile {
  const kind = /\.[mc]?js$/.test(file.path) ? ts.ScriptKind.JS : ts.ScriptKind.TS
  return ts.createSourceFile(file.path, file.text, ts.ScriptTarget.ES2023, true, kind)
}

/** 1-based line of a node's first token. */
export function lineOf(tree: ts.SourceFile, node: ts.Node): number {
  return tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1
}

/** Calls `visit` for every node below and including `root`. */
export function walk(root: ts.Node, visit: (node: ts.Node) => void): void {
  visit(root)
  root.forEachChild((child) => walk(child, visit))
}

/** Number of lines, however the last one ends. */
export function lineCount(text: string): number {
  if (text === '') return 0
  return text.split('\n').length - (text.endsWith('\n') ? 1 : 0)
}

/**
 * Every import of a TypeScript file: static, re-export, dynamic, require and `import('x').T`. TypeScript's own
 * preProcessFile finds them; the syntax tree only adds which of them are types and vanish from the output.
 */
import { posix } from 'node:path'
import ts from 'typescript'
import { lineOf, parse, type SourceFile, walk } from './source.js'

export interface Import {
  readonly specifier: string
  /** 1-based. */
  readonly line: number
  /** Gone after compilation: `import type`, `export type … from`, `import('x').T`. */
  readonly typeOnly: boolean
}

/** All imports of a file, in the order of the text; one that appears both as type and as value is a value. */
export function importsOf(file: SourceFile): Import[] {
  const tree = parse(file)
  const types = typeOnlyPositions(tree)
  const seen = ts.preProcessFile(file.text, true, true).importedFiles
  const positions = new Map(seen.map((each) => [each.pos, each.fileName]))
  for (const [position, specifier] of types) positions.set(position, specifier)
  return [...positions]
    .sort(([left], [right]) => left - right)
    .map(([position, specifier]) => ({
      specifier,
      line: tree.getLineAndCharacterOfPosition(position).line + 1,
      typeOnly: types.has(position),
    }))
}

/** The file of this project that a relative specifier names (`./x.js` is `x.ts`), or null for packages and built-ins. */
export function resolveImport(from: string, specifier: string, exists: (path: string) => boolean): string | null {
  if (!specifier.startsWith('.')) return null
  const named = posix.join(posix.dirname(from), specifier)
  const source = named.replace(/\.js$/, '.ts')
  return exists(source) ? source : named
}

/** `@scope/name/deep` and `name/deep` are the packages `@scope/name` and `name`. */
export function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

/** Line of the first mention of one of these identifiers or of a string with this ending, or null. */
export function firstMention(file: SourceFile, identifiers: readonly string[], ending: string): number | null {
  const tree = parse(file)
  const lines: number[] = []
  walk(tree, (node) => {
    const isNamed = ts.isIdentifier(node) && identifiers.includes(node.text)
    const isEnding = ts.isStringLiteralLike(node) && node.text.endsWith(ending)
    if (isNamed || isEnding) lines.push(lineOf(tree, node))
  })
  return lines[0] ?? null
}

/** Start of the specifier's text (as preProcessFile reports it) → specifier. */
function typeOnlyPositions(tree: ts.SourceFile): Map<number, string> {
  const found = new Map<number, string>()
  const add = (literal: ts.Node | undefined): void => {
    if (literal !== undefined && ts.isStringLiteralLike(literal)) found.set(literal.getStart(tree), literal.text)
  }
  walk(tree, (node) => {
    if (ts.isImportDeclaration(node) && node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword)
      add(node.moduleSpecifier)
    if (ts.isExportDeclaration(node) && node.isTypeOnly) add(node.moduleSpecifier)
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal)
  })
  return found
}

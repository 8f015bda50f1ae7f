/** Sizes from the house style: files that want to be split, functions that don't fit a screen. */
import ts from 'typescript'
import { lineCount, lineOf, parse, problem, type SourceFile, walk } from './source.js'

const SCRIPT_LINES_MAX = 450
const C_LINES_MAX = 400
const FUNCTION_LINES_MAX = 70

/** These group tests; their callback is a chapter, not a function. */
const CHAPTERS = ['describe', 'suite']

export function checkSizes(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    const isScript = /\.[cm]?[jt]s$/.test(file.path)
    const isC = /\.(c|h|cc)$/.test(file.path)
    const limit = isScript ? SCRIPT_LINES_MAX : C_LINES_MAX
    const lines = lineCount(file.text)
    const tooLong = (isScript || isC) && lines > limit
    return [
      ...(tooLong ? [problem(file, 0, `has ${lines} lines, split it by ${limit}`)] : []),
      ...(isScript ? longFunctions(file) : []),
    ]
  })
}

function longFunctions(file: SourceFile): string[] {
  const tree = parse(file)
  const found: string[] = []
  walk(tree, (node) => {
    if (!ts.isFunctionLike(node) || isChapter(node)) return
    const first = lineOf(tree, node)
    const last = tree.getLineAndCharacterOfPosition(node.end).line + 1
    const lines = last - first + 1
    if (lines <= FUNCTION_LINES_MAX) return
    found.push(problem(file, first, `a function of ${lines} lines, at most ${FUNCTION_LINES_MAX} fit a screen`))
  })
  return found
}

function isChapter(node: ts.Node): boolean {
  const call = node.parent
  if (!ts.isCallExpression(call)) return false
  const callee = call.expression.getText()
  return CHAPTERS.some((name) => callee === name || callee.startsWith(`${name}.`))
}

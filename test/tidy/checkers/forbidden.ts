/** Words and constructs that don't belong into the project, whatever they are used for. */
import ts from 'typescript'
import { lineOf, parse, problem, type SourceFile, walk } from './source.js'

interface Word {
  readonly pattern: RegExp
  readonly why: string
}

/** Written so that no pattern matches its own text. */
const WORDS: readonly Word[] = [
  { pattern: /\b(?:TO(?:DO)|FIX(?:ME)|X{3})\b/, why: 'unfinished work is finished, or said to be missing in the docs' },
  { pattern: /(?<![\w.])\/(?:work|builds|workspaces|Users)\/\w/, why: 'a path of one machine' },
  { pattern: /\/root\/\.(?:nvm|pyenv|npm|cache)/, why: 'a path of one machine' },
  {
    pattern: /\b(?:generated|written|authored) (?:with|by) (?:an? )?(?:AI|LLM|Claude|ChatGPT|Copilot)\b/i,
    why: 'the code speaks of itself alone',
  },
  { pattern: /^co-authored-(?:by):/im, why: 'authors are in the history' },
]

/** The one place that reads the environment. */
const ENVIRONMENT_HOME = 'src/cli/environment.ts'

/** Checks any text file, tests and docs included. */
export function checkWords(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) =>
    file.text.split('\n').flatMap((text, index) =>
      WORDS.flatMap(({ pattern, why }) => {
        const word = pattern.exec(text)?.[0]
        return word === undefined ? [] : [problem(file, index + 1, `"${word}": ${why}`)]
      }),
    ),
  )
}

/** Checks TypeScript files of src/ and test/: no `any`; in src/ no environment, no state at module level and no endless mkdir either. */
export function checkConstructs(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    const tree = parse(file)
    const isSource = file.path.startsWith('src/')
    return [
      ...findAny(file, tree),
      ...(isSource && file.path !== ENVIRONMENT_HOME ? findEnvironment(file, tree) : []),
      ...(isSource ? [...findModuleState(file, tree), ...findRecursiveMkdir(file, tree)] : []),
    ]
  })
}

function findAny(file: SourceFile, tree: ts.SourceFile): string[] {
  const found: string[] = []
  walk(tree, (node) => {
    if (node.kind === ts.SyntaxKind.AnyKeyword)
      found.push(problem(file, lineOf(tree, node), '`any`: say what it is, or unknown'))
  })
  return found
}

function findEnvironment(file: SourceFile, tree: ts.SourceFile): string[] {
  const found: string[] = []
  const message = `reads the environment; only ${ENVIRONMENT_HOME} does, everyone else is handed what it read`
  walk(tree, (node) => {
    const isProperty = ts.isPropertyAccessExpression(node) && node.name.text === 'env' && isProcess(node.expression)
    const isElement =
      ts.isElementAccessExpression(node) &&
      /['"]env['"]/.test(node.argumentExpression.getText(tree)) &&
      isProcess(node.expression)
    const isTaken =
      ts.isBindingElement(node) && (node.propertyName ?? node.name).getText(tree) === 'env' && takesFromProcess(node)
    const isImported =
      ts.isImportSpecifier(node) &&
      (node.propertyName ?? node.name).text === 'env' &&
      /['"](node:)?process['"]/.test(node.parent.parent.parent.moduleSpecifier.getText(tree))
    if (isProperty || isElement || isTaken || isImported) found.push(problem(file, lineOf(tree, node), message))
  })
  return found
}

function isProcess(node: ts.Node): boolean {
  return /^(globalThis\.)?process$/.test(node.getText())
}

function takesFromProcess(node: ts.BindingElement): boolean {
  const declaration = node.parent.parent
  return (
    ts.isVariableDeclaration(declaration) && declaration.initializer !== undefined && isProcess(declaration.initializer)
  )
}

function findRecursiveMkdir(file: SourceFile, tree: ts.SourceFile): string[] {
  const found: string[] = []
  walk(tree, (node) => {
    if (!ts.isCallExpression(node) || !/\bmkdir(Sync)?$/.test(node.expression.getText(tree))) return
    if (!node.arguments.some((each) => /\brecursive\b/.test(each.getText(tree)))) return
    found.push(problem(file, lineOf(tree, node), 'a recursive mkdir may never end: src/base/make-folders.ts does'))
  })
  return found
}

/** `let` and `var` at module level, and constants that start empty and can only be there to be filled. */
function findModuleState(file: SourceFile, tree: ts.SourceFile): string[] {
  return tree.statements.filter(ts.isVariableStatement).flatMap((statement) => {
    const line = lineOf(tree, statement)
    const isConst = (statement.declarationList.flags & ts.NodeFlags.Const) !== 0
    const isFilledLater = statement.declarationList.declarations.some(({ initializer }) => startsEmpty(initializer))
    if (isConst && !isFilledLater) return []
    return [problem(file, line, 'state at module level: give it to an object that is made and handed on')]
  })
}

function startsEmpty(initializer: ts.Expression | undefined): boolean {
  if (initializer === undefined) return false
  if (ts.isArrayLiteralExpression(initializer)) return initializer.elements.length === 0
  if (!ts.isNewExpression(initializer)) return false
  const name = initializer.expression.getText()
  return (
    name.startsWith('Weak') || (['Map', 'Set', 'Array'].includes(name) && (initializer.arguments ?? []).length === 0)
  )
}

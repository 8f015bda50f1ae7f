/**
 * What a program is to the agent that starts it, by its name and arguments: a shell, an interpreter with code, a tool server, anything
 * else. Guards that a wrapper is not mistaken for what it runs: then the next program of the same call says it.
 */
import type { ProcessFact } from './fact.js'
import { WRAPPERS } from './programs.js'
import type { CallClass } from './tool-call.js'

const SHELLS: ReadonlySet<string> = new Set([
  'sh',
  'bash',
  'zsh',
  'dash',
  'ash',
  'fish',
  'ksh',
  'mksh',
  'rbash',
  'csh',
  'tcsh',
])
/** Options by which an interpreter is given code. */
const CODE_OPTIONS: readonly (readonly [name: RegExp, option: RegExp])[] = [
  [/^python[\d.]*$|^pypy[\d.]*$/, /^-[A-Za-z]*c$/],
  [/^(?:node|nodejs|bun)$/, /^(?:-e|-p|-pe|--eval|--print)(?:$|=)/],
  [/^deno$/, /^eval$/],
  [/^perl[\d.]*$/, /^-[A-Za-z0-9]*[eE]$/],
  [/^ruby[\d.]*$/, /^-[A-Za-z]*e$/],
  [/^php[\d.]*$/, /^-r$/],
  [/^lua[\d.]*$|^luajit$/, /^-e$/],
  [/^Rscript$/, /^-e$/],
]
/** Options of those that take a value, which is not a script. */
const VALUED = /^(?:-m|-W|-X|-Q|-r|--require|--import|--loader|--conditions|-C|-I|-M|-S|-d|-x)$/
/** Programs that run others by name, or scripts. */
const RUNNERS = /^(?:npx|npm|pnpm|yarn|bunx|uvx|uv|pipx|docker|podman|node|nodejs|bun|deno|python[\d.]*|java)$/
const TOOL_SERVER = /(?:^|[-_/@.])mcp(?:$|[-_/.])|modelcontextprotocol/i

/** Null: a wrapper, whatever it runs says what it is. */
export function classOf({ exe, args }: Pick<ProcessFact, 'exe' | 'args'>): CallClass | null {
  const name = programOf(exe, args)
  if (name === 'busybox') return SHELLS.has(args[0] ?? '') || SHELLS.has(args[1] ?? '') ? 'shell' : 'program'
  if (SHELLS.has(name)) return shellRuns(args)?.startsWith('exec ') ? null : 'shell'
  if (WRAPPERS.has(name)) return null
  if (isToolServer(name, args)) return 'mcp'
  return hasInlineCode(name, args) ? 'inline-code' : 'program'
}

/** By its name, or busybox with one. */
export function isShell({ exe, args }: Pick<ProcessFact, 'exe' | 'args'>): boolean {
  const name = programOf(exe, args)
  return SHELLS.has(name) || (name === 'busybox' && (SHELLS.has(args[0] ?? '') || SHELLS.has(args[1] ?? '')))
}

/** What a shell was given with -c; null if it was not. */
export function shellRuns(args: readonly string[]): string | null {
  for (let at = 1; at < args.length; at += 1) {
    const argument = args[at] ?? ''
    if (/^-[A-Za-z]*c[A-Za-z]*$/.test(argument)) return args.slice(at + 1).find((rest) => !/^[-+]/.test(rest)) ?? ''
    if (!/^[-+]/.test(argument)) return null
    if (argument === '-o' || argument === '+o' || argument === '-O') at += 1
  }
  return null
}

/** A shell that is given neither a command nor a script. */
export function readsItsInput(process: Pick<ProcessFact, 'exe' | 'args'>): boolean {
  return classOf(process) === 'shell' && process.args.slice(1).every((argument) => /^[-+](?!c)/.test(argument))
}

/** A command that takes what it is to run from its standard input. */
export function readsCode(words: readonly string[]): boolean {
  const [exe = '', ...rest] = words
  const name = programOf(exe, words)
  // `-s` and what follows it are the code's own arguments.
  if (SHELLS.has(name)) return rest.includes('-s') || rest.every((argument) => /^[-+](?!\w*c)|^-$/.test(argument))
  const isInterpreter = CODE_OPTIONS.some(([program]) => program.test(name)) && name !== 'deno'
  const options = rest.slice(0, rest.includes('-') ? rest.indexOf('-') : rest.length)
  return isInterpreter && options.every((argument) => /^-[uBEsSIOiwW]*$/.test(argument))
}

/** The program's name without its folder; a login shell's argument says `-bash`. */
export function programOf(exe: string, args: readonly string[]): string {
  const path = exe === '' ? (args[0] ?? '') : exe
  return path.slice(path.lastIndexOf('/') + 1).replace(/^-/, '')
}

/** By its own name or by that of what it is to run: a file that a tool works on says nothing. */
function isToolServer(name: string, args: readonly string[]): boolean {
  if (TOOL_SERVER.test(name)) return true
  if (!RUNNERS.test(name)) return false
  return args.slice(1, 4).some((argument) => TOOL_SERVER.test(argument))
}

function hasInlineCode(name: string, args: readonly string[]): boolean {
  const option = CODE_OPTIONS.find(([program]) => program.test(name))?.[1]
  if (option === undefined) return false
  for (let at = 1; at < args.length; at += 1) {
    const argument = args[at] ?? ''
    if (option.test(argument)) return true
    if (argument === '-') return true
    if (!argument.startsWith('-')) return false
    if (argument === '-m') return false
    if (VALUED.test(argument)) at += 1
  }
  // No script: what it runs comes by its standard input, but for what only tells about itself.
  return !args.slice(1).some((argument) => /^(?:-V+|--version|-v|-h|--help|-m)$/.test(argument))
}

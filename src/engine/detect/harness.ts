/**
 * Which program drives the model: one that the catalogue names, by its own name or that of what an interpreter runs; where there is none,
 * the session's first process is (tool-calls.ts).
 */
import { programOf } from './classify.js'
import type { ProcessFact } from './fact.js'

const CATALOGUE: ReadonlySet<string> = new Set([
  ...[
    'claude',
    'claude-code',
    'codex',
    'gemini',
    'gemini-cli',
    'opencode',
    'aider',
    'goose',
    'cursor-agent',
    'openhands',
  ],
  ...[
    'amp',
    'crush',
    'qwen',
    'qwen-code',
    'mini',
    'mini-swe-agent',
    'swe-agent',
    'sweagent',
    'cline',
    'copilot',
    'kiro-cli',
  ],
])
const INTERPRETER = /^(?:node|nodejs|bun|deno|python[\d.]*|ruby[\d.]*)$/
const PACKAGES = '/node_modules/'

export function isHarness({ exe, args }: Pick<ProcessFact, 'exe' | 'args'>): boolean {
  const name = programOf(exe, args)
  if (CATALOGUE.has(name)) return true
  if (!INTERPRETER.test(name)) return false
  const at = args.findIndex((argument, index) => index > 0 && (argument === '-m' || !argument.startsWith('-')))
  const script = args[at] === '-m' ? (args[at + 1] ?? '') : (args[at] ?? '')
  return namesOf(script).some((each) => CATALOGUE.has(each))
}

/** A script's name without folder and ending; of one in an installed package the package's. */
function namesOf(path: string): string[] {
  const own = path.slice(path.lastIndexOf('/') + 1).replace(/\.(?:[cm]?js|py|rb|ts)$/, '')
  const packages = path.lastIndexOf(PACKAGES)
  return packages === -1
    ? [own]
    : [
        own,
        ...path
          .slice(packages + PACKAGES.length)
          .split('/')
          .slice(0, 2),
      ]
}

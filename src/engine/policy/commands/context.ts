/** What every command of `sluice policy` works with: where its words go, the policies it is given, and the machine they are for. */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { reasonOf, SluiceError } from '../../../base/error.js'
import { problemLine } from '../../../base/yaml-file.js'
import type { Machine } from '../bundles/tool-config.js'
import { readToolHosts } from '../bundles/tool-hosts.js'
import type { Here } from '../here.js'
import { compilePolicies, type LoadedPolicy, loadPolicy } from '../load-policy.js'

/** Fifty thousand ranges with a reason each are far below. */
const POLICY_BYTES_MAX = 32 * 1024 * 1024
const STDIN = 0

export const EXIT_OK = 0
export const EXIT_FOUND = 1
/** Something that was allowed would be denied. */
export const EXIT_DENIES_MORE = 3

export interface Context {
  readonly machine: Machine
  /** Where what is enforced has to hold; null: it is not asked whether it does. */
  readonly here: Here | null
  /** One line of data, without its line end. */
  readonly out: (line: string) => void
  /** One line for people. */
  readonly err: (line: string) => void
}

/** `-` is stdin. `isOthers`: whoever wrote it may not say by a link what else we read. Throws IO, LIMIT. */
export function loadFile(path: string, { machine, here }: Context, of = { isOthers: false }): LoadedPolicy {
  const text = readText(path, of.isOthers)
  return loadPolicy({ name: path === '-' ? 'stdin' : path, text }, (bundles) => readToolHosts(machine, bundles), here)
}

/** Loads and compiles; null, and told, where one has errors. */
export function compileFiles(paths: readonly string[], context: Context): ReturnType<typeof compilePolicies> | null {
  const loaded = paths.map((path) => loadFile(path, context))
  for (const policy of loaded) tellFindings(policy, context.err)
  return loaded.every(({ rules }) => rules !== null) ? compilePolicies(loaded) : null
}

/** `file:line:column: error: message`. */
export function tellFindings({ source, findings }: LoadedPolicy, tell: (line: string) => void): void {
  for (const { severity, message, ...place } of findings) {
    tell(problemLine(source.name, { ...place, message: `${severity}: ${message}` }))
  }
}

function readText(path: string, isOthers: boolean): string {
  try {
    const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY | (isOthers ? constants.O_NOFOLLOW : 0)
    const fd = path === '-' ? STDIN : openSync(path, flags)
    try {
      const found = fstatSync(fd)
      if (path !== '-' && !found.isFile()) throw new SluiceError('IO', `${path} is no regular file`)
      if (found.size > POLICY_BYTES_MAX)
        throw new SluiceError('LIMIT', `${basename(path)} has more than ${POLICY_BYTES_MAX} bytes`)
      return readFileSync(fd, 'utf8')
    } finally {
      if (path !== '-') closeSync(fd)
    }
  } catch (error) {
    if (error instanceof SluiceError) throw error
    throw new SluiceError('IO', `${path}: ${reasonOf(error)}`, { cause: error })
  }
}

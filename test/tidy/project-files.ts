/** The project's files as git sees them: committed or about to be, without what is ignored. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { SourceFile } from './checkers/source.js'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** Paths that match, sorted. `committed`: only what git tracks. */
export function projectPaths(pattern: RegExp, options: { committed: boolean } = { committed: false }): string[] {
  const which = options.committed ? ['--cached'] : ['--cached', '--others', '--exclude-standard']
  // The checkout may belong to another user than the one who tests it.
  const args = ['-c', 'safe.directory=*', 'ls-files', '-z', ...which]
  const paths = execFileSync('git', args, { cwd: root, encoding: 'utf8' }).split('\0')
  return [...new Set(paths)].filter((path) => path !== '' && pattern.test(path) && existsSync(join(root, path))).sort()
}

export function projectFiles(pattern: RegExp): SourceFile[] {
  return projectPaths(pattern).map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))
}

export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(join(root, path), 'utf8')) as T
}

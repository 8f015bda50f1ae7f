/** Puts one of the small C programs of test/support/programs, which tests watch, into a folder of the test's own. */
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { compiledC } from './compiled.mjs'

/** Path of the program in `dir`. */
export function compileC(name: string, dir: string): string {
  const program = join(dir, name)
  copyFileSync(compiledC(name), program)
  return program
}

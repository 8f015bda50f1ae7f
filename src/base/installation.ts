/** Where the parts of this installation are: those of a checkout, and of a copy of what it built, from whichever of them is asked. */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The nearest folder above this file that has a manifest. */
const ROOT = folderWith('package.json', dirname(fileURLToPath(import.meta.url)))

/** Its package.json. */
export const MANIFEST = join(ROOT, 'package.json')

/** What the native build makes. */
export const NATIVE_DIR = join(ROOT, 'build/Release')

/** A program of ours, by its main module, such as `engine/main`. */
export function programFile(name: string): string {
  return join(ROOT, 'dist', `${name}.js`)
}

function folderWith(name: string, from: string): string {
  if (existsSync(join(from, name))) return from
  const above = dirname(from)
  if (above === from) throw new Error(`the installation is not whole: no folder above its programs has a ${name}`)
  return folderWith(name, above)
}

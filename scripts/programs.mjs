/**
 * Writes dist/: the programs, each with what it needs of our modules and of its packages in few files, since a run starts four of them and
 * most of a start went into finding and reading some 400 modules. What a program loads only when it is asked for stays a file of its own.
 * Packages with binaries stay where they are. Names are kept as they are written: an error's stack must tell where it came from.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'

/** Our programs by their main modules; what they share is put in files beside them. */
export const PROGRAMS = [
  'cli/main',
  'engine/main',
  'engine/baselines-main',
  'engine/policy/main',
  'engine/replay/main',
  'gateway/main',
  'sensor/main',
  'sensor/clean-main',
  'sensor/probe-main',
  'sensor/sweep-main',
  'sinks/main',
  'sinks/trial-main',
]
const WITH_BINARIES = ['@photostructure/sqlite', 'tree-sitter-bash', 'web-tree-sitter']

/** @param {{ root: string, modules: string }} places the checkout, and where in it the compiled modules are */
export async function writePrograms({ root, modules }) {
  const { rolldown } = await import('rolldown')
  rmSync(join(root, 'dist'), { recursive: true, force: true })
  const bundle = await rolldown({
    input: Object.fromEntries(PROGRAMS.map((name) => [name, join(root, modules, `${name}.js`)])),
    platform: 'node',
    external: WITH_BINARIES,
  })
  await bundle.write({
    dir: join(root, 'dist'),
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: 'parts/[name]-[hash].js',
  })
  await bundle.close()
}

/**
 * The build's steps and their freshness. A step is fresh when the hash of what it reads and the hash of what it wrote are
 * those of its last success; times of files mean nothing, so a checkout, a copy or a restored cache builds only what it must.
 * How a step is run in turn, under a lock and with messages, is build.mjs's.
 */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join, relative } from 'node:path'
import { PROGRAMS, writePrograms } from './programs.mjs'
import { root } from './project.mjs'
import { captureOrFail } from './run-command.mjs'

const MODULES = 'build/js'
const GENERATED = 'src/proto/generated'
const CODEC_FILES = [`${GENERATED}/codec.js`, `${GENERATED}/codec.d.ts`]
const NATIVE_FILES = ['build/Release/sluice.node', 'build/Release/launch', 'src/native/generated/abi.ts']

/**
 * In the order of the build. `inputs` and `outputs` return paths relative to the checkout.
 * @typedef {{ name: string, inputs: () => string[], outputs: () => string[], run: () => Promise<void> }} Step
 * @type {readonly Step[]}
 */
export const STEPS = [
  {
    name: 'codec',
    inputs: () => [...filesBelow('proto'), 'scripts/codec.mjs', versionOf('protobufjs-cli')],
    outputs: () => CODEC_FILES,
    async run() {
      // It goes by times and would keep a file that was edited by hand.
      for (const path of CODEC_FILES) rmSync(join(root, path), { force: true })
      const { generateCodec } = await import('./codec.mjs')
      await generateCodec({ root })
    },
  },
  {
    name: 'native',
    inputs: () => [
      ...filesBelow('bpf'),
      ...filesBelow('native'),
      'package.json',
      ...['cmake-js', 'node-addon-api', 'node-api-headers'].map(versionOf),
    ],
    outputs: () => NATIVE_FILES,
    async run() {
      // What is there already may be newer than its sources and still not made from them.
      for (const path of NATIVE_FILES) rmSync(join(root, path), { force: true })
      const cmakeJs = join(root, 'node_modules/cmake-js/bin/cmake-js')
      await captureOrFail(
        process.execPath,
        // An own folder: cmake-js empties it when a build fails. Relative ones would start from the working directory.
        [cmakeJs, 'compile', '--directory', join(root, 'native'), '--out', join(root, 'build/native')],
        'build: the native addon could not be built: see above',
        { cwd: root },
      )
    },
  },
  {
    name: 'typescript',
    inputs: () => [...filesBelow('src'), 'tsconfig.json', versionOf('typescript')],
    outputs: () => [...filesBelow('src').filter(isCompiled).map(compiledName), ...CODEC_FILES.map(compiledName)],
    async run() {
      const compiled = new Set(this.outputs())
      const leftOver = filesBelow(MODULES).filter(
        (path) => /\.js(\.map)?$/.test(path) && !compiled.has(path.replace(/\.map$/, '')),
      )
      for (const path of leftOver) rmSync(join(root, path))
      // tsc trusts its build info: without it, it writes everything again.
      if (!areOutputsUntouched(this)) rmSync(join(root, 'build/tsc.tsbuildinfo'), { force: true })
      await captureOrFail(
        process.execPath,
        [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.json', '--noEmitOnError', '--pretty', 'false'],
        'build: the TypeScript sources do not compile: see above',
        { cwd: root },
      )
      for (const path of CODEC_FILES) cpSync(join(root, path), join(root, compiledName(path)))
    },
  },
  {
    name: 'programs',
    inputs: () => [
      ...filesBelow(MODULES).filter((path) => path.endsWith('.js')),
      'package-lock.json',
      'scripts/programs.mjs',
      versionOf('rolldown'),
    ],
    outputs: () => [...new Set([...PROGRAMS.map((name) => `dist/${name}.js`), ...filesBelow('dist')])],
    async run() {
      await writePrograms({ root, modules: MODULES })
      const bin = join(root, 'bin/sluice')
      if (existsSync(bin)) chmodSync(bin, 0o755)
    },
  },
]

/** Why a step has to run, or null when it is fresh. @param {Step} step */
export function staleness(step) {
  const absent = step.outputs().find((path) => !existsSync(join(root, path)))
  if (absent !== undefined) return `${absent} is missing`
  const stamp = readStamp(step)
  if (stamp === null) return 'it was never built here'
  if (stamp.inputs !== hashOf(step.inputs())) return 'its sources changed'
  return areOutputsUntouched(step) ? null : 'what it wrote was changed by hand'
}

/** Hash of a step's inputs, taken before it runs: a file that is edited meanwhile leaves it stale. @param {Step} step */
export function inputsHash(step) {
  return hashOf(step.inputs())
}

/** Records a success. @param {Step} step @param {string} inputs `inputsHash` from before the run */
export function writeStamp(step, inputs) {
  mkdirSync(join(root, 'build/stamps'), { recursive: true })
  writeFileSync(stampPath(step), `${JSON.stringify({ inputs, outputs: hashOf(step.outputs()) })}\n`)
}

/** The first output that a step should have written and didn't, or null. @param {Step} step */
export function missingOutput(step) {
  return step.outputs().find((path) => !existsSync(join(root, path))) ?? null
}

function areOutputsUntouched(step) {
  return readStamp(step)?.outputs === hashOf(step.outputs())
}

function readStamp(step) {
  try {
    return JSON.parse(readFileSync(stampPath(step), 'utf8'))
  } catch {
    return null
  }
}

function stampPath(step) {
  return join(root, 'build/stamps', `${step.name}.json`)
}

/** Paths count as well as contents, and a missing file is part of the hash. */
function hashOf(paths) {
  const hash = createHash('sha256')
  for (const path of [...paths].sort()) {
    const absolute = join(root, path)
    const content = existsSync(absolute) ? readFileSync(absolute) : null
    hash.update(`${path}\0${content === null ? 'absent' : content.length}\0`)
    if (content !== null) hash.update(content)
  }
  return hash.digest('hex')
}

function filesBelow(folder) {
  const absolute = join(root, folder)
  if (!existsSync(absolute)) return []
  return readdirSync(absolute, { recursive: true })
    .map((name) => join(absolute, name))
    .filter((path) => statSync(path).isFile())
    .map((path) => relative(root, path))
    .sort()
}

function versionOf(name) {
  return `node_modules/${name}/package.json`
}

function isCompiled(path) {
  return path.endsWith('.ts') && !path.endsWith('.d.ts')
}

function compiledName(path) {
  return path.replace(/^src\//, `${MODULES}/`).replace(/\.ts$/, '.js')
}

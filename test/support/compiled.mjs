/**
 * Compiles the small programs that tests watch, and the BPF objects that they load: each once, as long as nothing that it is made from
 * changes, into build/test-programs. Guests find there what their host compiled, since a compiler takes minutes in one.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const CACHE = join(ROOT, 'build/test-programs')
const C_SOURCES = join(ROOT, 'test/support/programs')
const BPF_SOURCES = join(ROOT, 'test/support/bpf')
const PRODUCT_BPF = join(ROOT, 'bpf')

const C_OPTIONS = ['-O1', '-Wall', '-Werror', '-pthread']
const BPF_OPTIONS = [
  '-g',
  '-O2',
  '-target',
  'bpf',
  '-mcpu=v3',
  '-D__TARGET_ARCH_x86',
  '-Wno-gnu-variable-sized-type-not-at-end',
]
/** What single programs need besides. */
const MORE_OPTIONS = {
  // It needs no 32-bit C library, and must not get one.
  compat32: ['-m32', '-nostdlib', '-static', '-ffreestanding', '-no-pie', '-fno-pic', '-fno-stack-protector'],
  loads: ['-lbpf'],
  quarantine: ['-lbpf'],
}

/** Path of the program made from test/support/programs/NAME.c. @param {string} name */
export function compiledC(name) {
  const source = join(C_SOURCES, `${name}.c`)
  const line = (target) => [...C_OPTIONS, '-o', target, source, ...(MORE_OPTIONS[name] ?? [])]
  return compiled({ name, source, compiler: 'gcc', line })
}

/** Path of the object made from test/support/bpf/NAME.bpf.c. @param {string} name */
export function compiledBpf(name) {
  const source = join(BPF_SOURCES, `${name}.bpf.c`)
  const line = (target) => [...BPF_OPTIONS, '-I', PRODUCT_BPF, '-c', source, '-o', target]
  return compiled({ name: `${name}.bpf.o`, source, compiler: 'clang', line })
}

/** All that there are: what a test in a guest finds made already. */
export function compileAll() {
  for (const name of namesIn(C_SOURCES, '.c')) compiledC(name)
  for (const name of namesIn(BPF_SOURCES, '.bpf.c')) compiledBpf(name)
}

function compiled({ name, source, compiler, line }) {
  const target = join(CACHE, `${name}-${keyOf(source, compiler, line(''))}`)
  if (existsSync(target)) return target
  if (process.env.SLUICE_TEST_NO_COMPILER) throw new Error(`${source} was not compiled beforehand: no ${target}`)
  mkdirSync(CACHE, { recursive: true })
  const dir = mkdtempSync(join(CACHE, 'new-'))
  try {
    const made = join(dir, name)
    execFileSync(compiler, line(made), { stdio: ['ignore', 'ignore', 'inherit'] })
    // Others may be at it too: whoever comes last replaces one by its like.
    renameSync(made, target)
  } finally {
    rmSync(dir, { recursive: true })
  }
  for (const old of readdirSync(CACHE).filter((file) => isOtherOf(name, file, target))) rmSync(join(CACHE, old))
  return target
}

const isOtherOf = (name, file, target) =>
  /^-[0-9a-f]{16}$/.test(file.slice(name.length)) && file.startsWith(name) && !target.endsWith(`/${file}`)

/** Of everything in the checkout that could be included, the compiler itself, and how it is called. */
function keyOf(source, compiler, line) {
  const hash = createHash('sha256')
  const sources = [
    source,
    ...readdirSync(PRODUCT_BPF)
      .sort()
      .map((file) => join(PRODUCT_BPF, file)),
  ]
  for (const path of sources) hash.update(readFileSync(path)).update('\0')
  const { size, mtimeMs } = statSync(pathOf(compiler))
  return hash
    .update(JSON.stringify([size, mtimeMs, line.map((word) => word.replace(ROOT, ''))]))
    .digest('hex')
    .slice(0, 16)
}

function pathOf(command) {
  const dir = (process.env.PATH ?? '').split(delimiter).find((folder) => existsSync(join(folder, command)))
  if (dir === undefined) throw new Error(`${command} is not installed: npm run setup gets it`)
  return realpathSync(join(dir, command))
}

function namesIn(folder, suffix) {
  return readdirSync(folder)
    .filter((file) => file.endsWith(suffix))
    .map((file) => file.slice(0, -suffix.length))
}

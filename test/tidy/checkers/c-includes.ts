/** What the C and C++ sources may include: bpf/ stays free of user space, native/ knows only the shared layouts of bpf/. */
import { posix } from 'node:path'
import { problem, type SourceFile } from './source.js'

/** The one file that joins the concerns into an object. */
const UNITY_FILE = 'bpf/core.bpf.c'

/** Checks files of bpf/ and native/. */
export function checkIncludes(files: readonly SourceFile[]): string[] {
  const ofBpf = new Set(files.filter((file) => file.path.startsWith('bpf/')).map((file) => posix.basename(file.path)))
  return files.flatMap((file) =>
    includesOf(file).flatMap(({ name, line }) => {
      const refusal = file.path.startsWith('bpf/') ? refuseInBpf(file.path, name) : refuseInNative(name, ofBpf)
      return refusal === null ? [] : [problem(file, line, `includes ${name}: ${refusal}`)]
    }),
  )
}

function refuseInBpf(path: string, name: string): string | null {
  if (!/\.bpf\.[ch]$/.test(path)) return null
  const isUnit = path === UNITY_FILE && name.endsWith('.bpf.c')
  const isOurs = /^[\w-]+(\.bpf|_abi)\.h$/.test(name) || name === 'vmlinux_min.h' || name === 'vmlinux.h'
  if (isUnit || isOurs || name.startsWith('bpf/')) return null
  return 'BPF programs include *.bpf.h, *_abi.h, vmlinux_min.h and <bpf/…> only'
}

function refuseInNative(name: string, ofBpf: ReadonlySet<string>): string | null {
  const isOfBpf = ofBpf.has(posix.basename(name)) && !name.startsWith('bpf/bpf')
  return isOfBpf && !name.endsWith('_abi.h') ? 'native/ knows only the *_abi.h of bpf/' : null
}

function includesOf(file: SourceFile): { name: string; line: number }[] {
  return file.text.split('\n').flatMap((text, index) => {
    const name = /^\s*#\s*include\s*[<"]([^>"]+)[>"]/.exec(text)?.[1]
    return name === undefined ? [] : [{ name, line: index + 1 }]
  })
}

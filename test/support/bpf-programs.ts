/** Asks the kernel, not us, which BPF programs it still has. */
import { execFileSync } from 'node:child_process'
import { compileC } from './c-program.js'

/** A function that tells whether the program with an id is still there; its tool is compiled in `dir`. */
export function programLookup(dir: string): (id: number) => boolean {
  const tool = compileC('bpf-ids', dir)
  return (id) => execFileSync(tool, [String(id)], { encoding: 'utf8' }).trim() === String(id)
}

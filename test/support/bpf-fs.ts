/** A BPF file system of a test's own, so that no pin of it can meet anybody else's. */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { loadAddon } from '../../src/native/addon.js'

export interface OwnBpfFs {
  /** For pins; not made. */
  readonly pinDir: string
  /** With all that is pinned there. */
  unmount(): void
}

export function mountOwnBpfFs(dir: string): OwnBpfFs {
  const path = join(dir, 'bpf')
  mkdirSync(path)
  loadAddon().mountBpfFs(path)
  return ownBpfFs(dir)
}

/** One that is mounted there already. */
export function ownBpfFs(dir: string): OwnBpfFs {
  const path = join(dir, 'bpf')
  return { pinDir: join(path, 'sluice'), unmount: () => void execFileSync('umount', [path]) }
}
